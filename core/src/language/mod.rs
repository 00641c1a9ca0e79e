//! The blueprint language: types, parsing with positions, lint, templates, JSON Schema.
//!
//! ```text
//!   text ──source──▶ tree with positions ──shape──▶ typed model ──lint──▶ diagnostics
//!                                                        └──template──▶ rendered values
//! ```

mod model;
mod scope;
mod step;
mod suggest;
mod template;

pub use model::*;
pub use scope::Scope;
pub use step::*;
pub use template::{
    evaluate, holds, is_template, references, references_of_expression, render, render_text, render_value,
};
