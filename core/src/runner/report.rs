//! The report of a run: what the command line prints, as people or programs read it.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    COMMIT, TARGET,
    commit::Gathered,
    execution::UndoneSteps,
    members::Members,
    proof::{Proof, holds},
    transfer::step_of,
    world::locked,
};
use crate::{
    ErrorKind, Result,
    hook::Undone,
    journal::{Event, Failure},
    language::Phase,
    point::{
        Check, CheckOutcome, Consistency, Fact, Freeze, HoldReport, RunId, StoredArtifact, Verification,
    },
    units::milliseconds,
};

/// How long a phase took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PhaseReport {
    /// Its name.
    pub name: String,
    /// When it started.
    pub started_at: Timestamp,
    /// How long it took.
    pub milliseconds: u64,
}

/// An error, and where it happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReportedError {
    /// The phase: one of the language's, or `commit`.
    pub phase: String,
    /// The step, or `target` or `commit`.
    pub step: String,
    /// What happened.
    pub message: String,
    /// What to do next.
    pub remedy: Option<String>,
}

/// The report of a backup, printed by `backup --output json` whether it succeeded or not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackupReport {
    /// The run.
    pub run: RunId,
    /// The recovery point, if it was committed.
    pub recovery_point: Option<RunId>,
    /// The blueprint's name.
    pub blueprint: String,
    /// The application's name.
    pub name: String,
    /// What was proven; null without a recovery point.
    pub consistency: Option<Consistency>,
    /// How long writes waited.
    pub freeze: Freeze,
    /// The phases that ran.
    pub phases: Vec<PhaseReport>,
    /// The holds that were acquired.
    pub holds: Vec<HoldReport>,
    /// What was stored.
    pub artifacts: Vec<StoredArtifact>,
    /// What was counted.
    pub facts: Vec<Fact>,
    /// What went wrong first.
    pub error: Option<ReportedError>,
}

/// The report of a verification, printed by `verify --output json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VerifyReport {
    /// The run.
    pub run: RunId,
    /// What was verified.
    pub recovery_point: Option<RunId>,
    /// Whether every check passed and there was at least one.
    pub outcome: CheckOutcome,
    /// The checks.
    pub checks: Vec<Check>,
    /// From the start of the restore to a serving database.
    pub rto_milliseconds: Option<u64>,
    /// The age of the data when the verification ended.
    pub data_age_seconds: Option<u64>,
    /// What went wrong first, if it was not a check.
    pub error: Option<ReportedError>,
}

/// Everything about a run that has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RunReport {
    /// The backup, as reported. For other actions `recoveryPoint` is the one that was worked on.
    pub backup: BackupReport,
    /// The verification, if the action is `verify`.
    pub verify: Option<VerifyReport>,
    /// The kind of what went wrong, which decides the exit status; `None` on success.
    pub failure: Option<ErrorKind>,
    /// What could not be removed, one sentence each.
    pub warnings: Vec<String>,
    /// What was undone because the run did not finish.
    pub undone: Vec<String>,
}

/// Reports a run that has ended; a verification is recorded beside its recovery point.
///
/// # Errors
/// When the verification cannot be recorded.
pub(super) async fn report(members: &Members, undone: UndoneSteps) -> Result<RunReport> {
    let events = members.first().ledger.events();
    let (mut failure, error) = failure(members, &events);
    let mut report = RunReport {
        backup: backup(members, &events, error.clone()),
        verify: None,
        failure,
        warnings: warnings(members, &events),
        undone: undone
            .into_iter()
            .filter(|(_, undone)| *undone == Undone::LetGo)
            .map(|(step, _)| step)
            .collect(),
    };
    if members.plan.request.action == "verify" {
        let verified = verify(members, &events, error, &mut failure);
        if let (Some(point), false) = (&verified.recovery_point, verified.checks.is_empty()) {
            record(members, point.clone(), &verified).await?;
        }
        report.failure = failure;
        report.verify = Some(verified);
    }
    Ok(report)
}

/// The failure that decides: a hold that is still on wins over all others, then the first.
fn failure(members: &Members, events: &[Event]) -> (Option<ErrorKind>, Option<ReportedError>) {
    let committed = events.iter().any(|event| matches!(event, Event::Committed { .. }));
    let mut first: Option<(&str, &Failure)> = None;
    let mut held: Option<(&str, &Failure)> = None;
    for event in events {
        match event {
            Event::StillHeld { step, error } => held = held.or(Some((step, error))),
            Event::Failed { step, error } if !cleans_up(members, step) => {
                first = first.or(Some((step, error)));
            }
            Event::CommitUnseen { error } => first = first.or(Some((COMMIT, error))),
            Event::Stopped { error } if !committed => first = first.or(Some((running(events), error))),
            _ => {}
        }
    }
    let Some((step, error)) = held.or(first) else { return (None, None) };
    let step = step_of(step);
    let phase = match step {
        TARGET => "preflight".to_owned(),
        COMMIT => "commit".to_owned(),
        step => members.step(step).map_or("", |step| step.phase.name()).to_owned(),
    };
    let reported = ReportedError {
        phase,
        step: step.to_owned(),
        message: error.message.clone(),
        remedy: error.remedy.clone(),
    };
    (Some(error.kind), Some(reported))
}

/// The step that was on when the run was stopped: the last one that had begun.
fn running(events: &[Event]) -> &str {
    let before = events.iter().take_while(|event| !matches!(event, Event::Stopped { .. }));
    let last = before.filter_map(|event| match event {
        Event::Intent { step, .. } | Event::Done { step, .. } => Some(step.as_str()),
        _ => None,
    });
    last.last().unwrap_or(TARGET)
}

fn cleans_up(members: &Members, step: &str) -> bool {
    members.step(step).is_some_and(|step| step.phase == Phase::Cleanup)
}

fn warnings(members: &Members, events: &[Event]) -> Vec<String> {
    let warning = |event: &Event| match event {
        Event::LeftBehind { step, error } => Some(format!("{step} could not be removed: {}", error.message)),
        Event::Failed { step, error } if cleans_up(members, step) => {
            Some(format!("{step} failed: {}", error.message))
        }
        _ => None,
    };
    events.iter().filter_map(warning).collect()
}

fn backup(members: &Members, events: &[Event], error: Option<ReportedError>) -> BackupReport {
    let (plan, world) = (&members.plan, members.first());
    let committed = events.iter().find_map(|event| match event {
        Event::Committed { point } => Some(point.clone()),
        _ => None,
    });
    let consistency = committed.as_ref().and_then(|_| Proof::of(members).ok()).map(|proof| proof.consistency);
    let gathered = Gathered::of(members);
    let holds = members.iter().flat_map(|world| holds(world)).collect();
    let meter = locked(&world.meter);
    let phase = |measured: &super::meter::Measured| PhaseReport {
        name: measured.phase.name().to_owned(),
        started_at: measured.started.at,
        milliseconds: milliseconds(measured.ended.saturating_duration_since(measured.started.instant)),
    };
    BackupReport {
        run: world.run.clone(),
        recovery_point: committed.or_else(|| plan.request.point.clone()),
        blueprint: plan.name.clone(),
        name: plan.request.application.clone(),
        consistency,
        freeze: Freeze {
            milliseconds: milliseconds(meter.freeze()),
            maximum_milliseconds: milliseconds(plan.limits.max_freeze),
        },
        phases: meter.phases().iter().map(phase).collect(),
        holds,
        artifacts: gathered.artifacts,
        facts: gathered.facts,
        error,
    }
}

fn verify(
    members: &Members,
    events: &[Event],
    error: Option<ReportedError>,
    failure: &mut Option<ErrorKind>,
) -> VerifyReport {
    let mut checks: Vec<Check> = Vec::new();
    for event in events {
        match event {
            Event::Done { step, checks: made, .. } => {
                let plan = &members.of(step).plan;
                let named = |check: &Check| Check { name: plan.qualified(&check.name), ..check.clone() };
                checks.extend(made.iter().map(named));
            }
            // What a verification cannot do with the copy speaks against the copy.
            Event::Failed { step, error } if tells_of_damage(members, step, error.kind) => {
                let plan = &members.of(step).plan;
                let name = plan.step(step).map_or_else(|| step.clone(), |step| plan.qualified(step.label()));
                checks.push(Check { name, outcome: CheckOutcome::Failed, detail: error.message.clone() });
            }
            _ => {}
        }
    }
    if failure.is_none() && checks.is_empty() {
        let detail = "nothing was checked: there is nothing in the copy that this blueprint checks";
        checks.push(Check { name: "checks".into(), outcome: CheckOutcome::Failed, detail: detail.into() });
    }
    let passed = failure.is_none()
        && checks.iter().all(|check| check.outcome != CheckOutcome::Failed)
        && checks.iter().any(|check| check.outcome == CheckOutcome::Passed);
    let failed_check = checks.iter().any(|check| check.outcome == CheckOutcome::Failed);
    if !passed && (failed_check || failure.is_none()) && *failure != Some(ErrorKind::StillHeld) {
        *failure = Some(ErrorKind::Damaged);
    }
    let world = members.first();
    let point = world.plan.point.as_ref();
    let age = point.map(|point| Timestamp::now().duration_since(point.cut_at).as_secs());
    VerifyReport {
        run: world.run.clone(),
        recovery_point: point.map(|point| point.id.clone()),
        outcome: if passed { CheckOutcome::Passed } else { CheckOutcome::Failed },
        checks,
        rto_milliseconds: locked(&world.meter).recovery_time(),
        data_age_seconds: age.and_then(|age| u64::try_from(age).ok()),
        error,
    }
}

fn tells_of_damage(members: &Members, step: &str, kind: ErrorKind) -> bool {
    let checked = members.step(step).is_some_and(|step| step.phase == Phase::Steps);
    checked && matches!(kind, ErrorKind::Failed | ErrorKind::Temporary | ErrorKind::Damaged)
}

async fn record(members: &Members, point: RunId, verified: &VerifyReport) -> Result<()> {
    let world = members.first();
    let verification = Verification {
        run: world.run.clone(),
        recovery_point: point,
        member: members.plan.request.member.clone(),
        outcome: verified.outcome,
        checks: verified.checks.clone(),
        rto_milliseconds: verified.rto_milliseconds,
        data_age_seconds: verified.data_age_seconds.unwrap_or_default(),
        at: Timestamp::now(),
    };
    world.repository()?.record_verification(&verification).await
}

impl BackupReport {
    /// The report of a backup that was refused before its run began.
    pub fn refused(run: RunId, blueprint: &str, name: &str, error: &crate::Error) -> Self {
        Self {
            run,
            recovery_point: None,
            blueprint: blueprint.to_owned(),
            name: name.to_owned(),
            consistency: None,
            freeze: Freeze::default(),
            phases: Vec::new(),
            holds: Vec::new(),
            artifacts: Vec::new(),
            facts: Vec::new(),
            error: Some(ReportedError::refused(error)),
        }
    }
}

impl VerifyReport {
    /// The report of a verification that was refused before its run began.
    pub fn refused(run: RunId, error: &crate::Error) -> Self {
        Self {
            run,
            recovery_point: None,
            outcome: CheckOutcome::Failed,
            checks: Vec::new(),
            rto_milliseconds: None,
            data_age_seconds: None,
            error: Some(ReportedError::refused(error)),
        }
    }
}

impl ReportedError {
    fn refused(error: &crate::Error) -> Self {
        Self {
            phase: Phase::Preflight.name().to_owned(),
            step: TARGET.to_owned(),
            message: error.chain(),
            remedy: error.remedy_text().map(str::to_owned),
        }
    }
}
