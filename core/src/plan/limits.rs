//! How long things may take.

use std::time::Duration;

use crate::{
    Result,
    language::{Action, Group, Scope, StepKind, Template, render_text},
    plan::Plan,
    units::parse_duration,
};

/// The ceilings of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For the time that writes wait.
    pub max_freeze: Duration,
    /// For holds that block no writes.
    pub max_hold: Duration,
    /// How long a hold may outlive the runner.
    pub lease: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_freeze: Duration::from_secs(30),
            max_hold: Duration::from_hours(6),
            lease: Duration::from_secs(10),
        }
    }
}

impl Limits {
    /// The ceilings that an action declares, defaults for the rest.
    pub(super) fn of(action: &Action, scope: &Scope) -> Result<Self> {
        let default = Self::default();
        let read = |template: &Option<Template>, default| duration(template.as_ref(), default, scope);
        Ok(Self {
            max_freeze: read(&action.max_freeze, default.max_freeze)?,
            max_hold: read(&action.max_hold, default.max_hold)?,
            lease: read(&action.lease, default.lease)?.max(Duration::from_secs(1)),
        })
    }
}

impl Limits {
    /// The ceilings over a whole group: what it declares, else the widest of its members', for each of which its own
    /// stay in force. Its lease is the shortest: what a runner starts is ended in time for every member.
    pub(super) fn of_group(group: &Group, members: &[Plan]) -> Result<Self> {
        let widest = |of: fn(&Self) -> Duration| members.iter().map(|plan| of(&plan.limits)).max();
        let shortest = members.iter().map(|plan| plan.limits.lease).min();
        let default = Self::default();
        let declared = |text: &Option<String>| text.as_deref().map(parse_duration).transpose();
        Ok(Self {
            max_freeze: declared(&group.spec.max_freeze)?
                .or_else(|| widest(|limits| limits.max_freeze))
                .unwrap_or(default.max_freeze),
            max_hold: widest(|limits| limits.max_hold).unwrap_or(default.max_hold),
            lease: declared(&group.spec.lease)?
                .or(shortest)
                .unwrap_or(default.lease)
                .max(Duration::from_secs(1)),
        })
    }
}

/// Renders a duration, or takes the default.
pub(crate) fn duration(template: Option<&Template>, default: Duration, scope: &Scope) -> Result<Duration> {
    match template {
        None => Ok(default),
        Some(template) => parse_duration(&render_text(template, scope)?),
    }
}

/// How long a step may take when its author says nothing.
pub(super) const fn step_timeout(kind: &StepKind<'_>) -> Duration {
    match kind {
        StepKind::Check(_) => Duration::from_secs(10),
        StepKind::Hook(_) | StepKind::Query(_) | StepKind::Pair(_) | StepKind::Session(_) => {
            Duration::from_mins(10)
        }
        StepKind::Service(_) | StepKind::Wait(_) | StepKind::Scale(_) | StepKind::Kube(_) => {
            Duration::from_mins(5)
        }
        StepKind::Exec(_) | StepKind::Pod(_) => Duration::from_hours(1),
        StepKind::Snapshot(_)
        | StepKind::Volume(_)
        | StepKind::Files(_)
        | StepKind::Stream(_)
        | StepKind::Action(_) => Duration::from_hours(24),
    }
}
