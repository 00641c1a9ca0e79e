//! `--on kubernetes`: what runs outside of the cluster, and what runs in the pod.
//!
//! ```text
//!   outside   here: the run itself, with the user's own rights
//!             launch: plan ──▶ objects ──▶ follow ──▶ report, as a run on this machine prints it
//!   in a pod  install: the program into a volume;  runner: the run itself
//! ```

mod here;
mod install;
mod launch;
mod mounts;
mod outside;
mod placing;
mod roles;
mod runner;
mod seams;
mod secrets;
mod target;

pub use here::run_from_here;
pub use install::install_main;
pub use launch::{Asked, run};
pub use outside::{find_kept, journals, plan, recover, remove_kept};
pub use runner::runner_main;
