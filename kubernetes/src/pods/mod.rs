//! Pods that a run starts: how they stand, until they run, and why they do not.
//!
//! - [`standing`]: a pure judgement of a pod's status; [`begin`]: waiting for its program
//! - [`made`]: making them once, and waiting for their end
//! - [`log`]: what its program says, line by line
//! - [`words`]: what else the cluster says about what is in its way

mod begin;
mod log;
mod made;
mod standing;
mod words;

pub(crate) use begin::{Start, deleted};
pub(crate) use log::Log;
pub(crate) use made::{ended, make};
pub(crate) use standing::{End, Standing, from_outside, standing, why_not_ready};
pub(crate) use words::{Refusal, refusal};
