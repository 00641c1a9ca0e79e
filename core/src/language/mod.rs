//! The blueprint language: types, parsing with positions, lint, templates, JSON Schema.
//!
//! ```text
//!   text ──source──▶ tree with positions ──shape──▶ typed model ──lint──▶ diagnostics
//!                                                        └──template──▶ rendered values
//! ```

mod model;
mod step;

pub use model::*;
pub use step::*;
