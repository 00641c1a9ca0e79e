//! The runner: a pure machine inside an effectful shell.
//!
//! ```text
//!          ┌──────────── events ────────────┐
//!          ▼                                │
//!   machine::next ──▶ execution (the shell) ──▶ ledger ──▶ journal
//!                        │
//!                        ├─ members  one for each target: a group has several, which share all but their own steps' view
//!                        ├─ target   find, lock, choose how to capture
//!                        ├─ roles    which of several places is the target; asked again before anything is held
//!                        ├─ steps/   one file for each kind of step
//!                        ├─ tasks    steps that are done at the same time
//!                        ├─ transfer data, by this process or by another
//!                        ├─ temporary what a step makes elsewhere for its own work alone
//!                        ├─ holds    acquire, renew, confirm, release: on a thread of their own
//!                        └─ proof    what may be claimed
//! ```
//!
//! [`run`] is a new run; [`recover`] finishes a dead one by the same loop over the journal that was found.

mod commit;
mod execution;
mod holds;
mod ledger;
mod locks;
mod machine;
mod members;
mod meter;
mod proof;
mod recover;
mod release;
mod report;
mod roles;
mod scope;
mod steps;
mod target;
mod tasks;
mod temporary;
mod transfer;
mod world;

pub use execution::run;
pub use machine::{Next, Outline, StepOutline, next};
pub use recover::{Means, Recovered, recover};
pub use report::{BackupReport, PhaseReport, ReportedError, RunReport, VerifyReport};
pub use roles::{AskedRole, PlaceRole, asked_role, choose, described, roles};
pub use world::{Host, NoObserver, Observer};

/// The id under which a failed commit is noted.
pub const COMMIT: &str = "commit";
/// The id of the run's own scratch directory.
pub const SCRATCH: &str = "run.scratch";
/// The id of artifacts that are not committed yet.
pub const STRAYS: &str = "run.artifacts";
/// The id under which a target that could not be found or locked is noted.
pub const TARGET: &str = "target";
