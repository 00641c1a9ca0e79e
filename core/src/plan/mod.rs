//! The plan: a blueprint, values and an action become an explicit list of steps.
//!
//! ```text
//!   blueprint + values ──bind──▶ Values ──Plan::make──▶ Plan { steps, limits } ──show──▶ what would run
//! ```

mod capture;
mod limits;
mod make;
mod show;
mod values;

pub use capture::{Capturing, choose};
pub use limits::Limits;
pub(crate) use limits::duration;
pub use make::{Plan, PlannedStep, Point};
pub use show::{ShownPlan, ShownStep};
pub use values::{Given, Values, bind};
