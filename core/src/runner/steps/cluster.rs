//! `scale` and `kube`: changes of the cluster around the target, which are put back once everything is let go.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{Performed, exec::with_result, own_words};
use crate::{
    Error, Result,
    cluster::{Change, ObjectName, Surroundings},
    journal::Undo,
    language::{KubeStep, ScaleStep, holds, render_text, render_value},
    plan::Plan,
    runner::world::StepContext,
    runtime::Runtime,
};

/// How often an object that is waited for is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Refuses a plan with steps that need a cluster where there is none, before anything is done.
pub(in crate::runner) fn check(plan: &Plan, runtime: &dyn Runtime) -> Result<()> {
    if runtime.surroundings().is_some() {
        return Ok(());
    }
    let needs = |step: &&crate::plan::PlannedStep| step.kind().is_ok_and(|kind| kind.needs_cluster());
    match plan.steps.iter().find(needs) {
        None => Ok(()),
        Some(step) => Err(Error::input(format!(
            "the step {} changes the cluster around its target (`{}`), and on this machine there is none",
            step.id,
            step.what()
        ))
        .remedy("Run it with `--on kubernetes`, or take a blueprint without such steps.")),
    }
}

/// Changes how many pods a workload has.
pub(super) async fn scale(context: &StepContext, step: &ScaleStep) -> Result<Performed> {
    let workload = render_text(&step.workload, &context.scope)?;
    let replicas = render_value(&step.replicas.0, &context.scope)?;
    let number = replicas.as_u64().and_then(|number| u32::try_from(number).ok());
    let replicas = number.ok_or_else(|| {
        Error::input(format!("{replicas} is not a number of pods that {workload} could have"))
            .remedy("Give a whole number from 0 on.")
    })?;
    change(context, &Change::Scale { workload, replicas }, step.keep).await
}

/// Changes an object, or waits for one.
pub(super) async fn kube(context: &StepContext, step: &KubeStep) -> Result<Performed> {
    let object = ObjectName {
        api_version: step.api_version.clone(),
        kind: step.kind.clone(),
        plural: step.plural.clone(),
        name: render_text(&step.name, &context.scope)?,
    };
    let fields = |fields: &serde_json::Map<String, Value>| -> Result<_> {
        match render_value(&Value::Object(fields.clone()), &context.scope)? {
            Value::Object(fields) => Ok(fields),
            _ => Ok(serde_json::Map::new()),
        }
    };
    let change_of = match step {
        KubeStep { apply: Some(apply), .. } => Change::Apply { object, fields: fields(apply)? },
        KubeStep { patch: Some(patch), .. } => Change::Patch { object, fields: fields(patch)? },
        KubeStep { delete: true, .. } => Change::Delete { object },
        KubeStep { until: Some(until), .. } => return wait(context, &object, until).await,
        _ => return Err(Error::input(format!("it is not said what {} does", context.step.id))),
    };
    change(context, &change_of, step.keep).await
}

fn surroundings(context: &StepContext) -> Result<Arc<dyn Surroundings>> {
    context
        .world
        .host
        .runtime
        .surroundings()
        .ok_or_else(|| Error::input(format!("there is no cluster that {} could change", context.step.id)))
}

/// What it was before is in the journal before it is changed. Another attempt goes on with the first one's record: what
/// it would find is no longer what there was.
async fn change(context: &StepContext, change: &Change, keep: bool) -> Result<Performed> {
    let (surroundings, ledger) = (surroundings(context)?, &context.world.ledger);
    let record = if let Some(record) = ledger.open(&context.step.id) {
        record
    } else {
        let record = surroundings.intend(change, &context.world.run).await?;
        let undo = Undo::Runtime { record: record.clone(), secrets: BTreeMap::new() };
        ledger.intend(&context.step.id, undo, keep).await?;
        record
    };
    let outputs = surroundings.make(&record, own_words(context.step.timeout), &context.cancel).await?;
    Ok(Performed { outputs, ..Performed::default() })
}

/// Looks until the expression holds. What an object has not yet got is waited for, too.
async fn wait(context: &StepContext, object: &ObjectName, until: &str) -> Result<Performed> {
    let surroundings = surroundings(context)?;
    let deadline = tokio::time::Instant::now() + own_words(context.step.timeout);
    loop {
        let found = surroundings.look(object).await?;
        let result = match &found {
            Some(object) => json!({"found": true, "object": object}),
            None => json!({"found": false}),
        };
        let why = match holds(until, &with_result(&context.scope, result)) {
            Ok(true) => return Ok(Performed::default()),
            Ok(false) => format!("`{until}` does not hold"),
            Err(error) => error.to_string(),
        };
        if tokio::time::Instant::now() + LOOK > deadline {
            let what = if found.is_some() { why } else { "it is not there".to_owned() };
            return Err(Error::failed(format!(
                "{} {} is not as it is waited for: {what}",
                object.kind, object.name
            ))
            .remedy("Look at it by `kubectl describe`; give it more time by the step's `timeout`."));
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = context.cancel.cancelled() => return Err(Error::cancelled("the wait was ended")),
        }
    }
}
