//! The plan: a blueprint, values and an action become an explicit list of steps.
//!
//! ```text
//!   blueprint + values ──bind──▶ Values ──Plan::make──▶ Plan { steps, limits } ─┐
//!                                            one for each member of a group ─┴▶ RunPlan ──show──▶ what would run
//! ```

mod capture;
mod limits;
mod make;
mod places;
mod run;
mod show;
mod values;

pub use capture::{Capturing, choose};
pub use limits::Limits;
pub(crate) use limits::duration;
pub use make::{Plan, PlannedStep, Point};
pub use run::RunPlan;
pub use show::{ShownPlan, ShownStep};
pub use values::{Given, Values, bind, bind_member};
pub(crate) use values::{check_value, is_left_out};
