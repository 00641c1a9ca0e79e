//! `standstill plan`.

use std::collections::BTreeMap;

use standstill_core::{
    Result,
    hook::{HoldKind, Hooks},
    journal::RunRequest,
    plan::{Given, RunPlan, ShownPlan, Values, bind},
    units::show_duration,
};

use crate::{
    arguments::{self, Global, On},
    blueprint::{Text, find, is_group, load},
    group, kubernetes, output,
    values::given,
    wiring,
};

/// What an action is asked to do.
pub fn request(text: &Text, action: &str, application: &str, values: Values) -> RunRequest {
    RunRequest {
        blueprint_text: text.text.clone(),
        blueprint_origin: text.origin.clone(),
        action: action.to_owned(),
        application: application.to_owned(),
        parameters: values.parameters,
        secrets: values.secrets,
        repository: None,
        point: None,
        member: None,
        members: Vec::new(),
    }
}

/// What is asked of a blueprint or a group that is backed up, or of another of their actions.
pub fn asked(
    text: &Text,
    action: &str,
    name: Option<&str>,
    given: &BTreeMap<String, Given>,
    hooks: &dyn Hooks,
) -> Result<RunRequest> {
    if is_group(text) {
        return group::to_back_up(text, action, name, given, hooks);
    }
    let blueprint = load(text, hooks)?;
    let values = bind(&blueprint, given)?;
    Ok(request(text, action, name.unwrap_or(&blueprint.metadata.name), values))
}

/// Shows what would run. Nothing is touched.
pub fn plan(global: &Global, arguments: &arguments::Plan) -> Result<u8> {
    let hooks = wiring::hooks();
    let text = find(&arguments.blueprint)?;
    let request = asked(&text, &arguments.action, None, &given(&arguments.values)?, hooks.as_ref())?;
    let plan = RunPlan::make(request, None, hooks.as_ref())?;
    if arguments.place.on == On::Kubernetes {
        return kubernetes::plan(global, &plan, arguments.from_here.then_some(&arguments.values), render);
    }
    super::backup::only_in_a_cluster(arguments.from_here)?;
    let shown = plan.show("local")?;
    output::result(global, &shown, || render(&shown))?;
    Ok(output::DONE)
}

fn render(plan: &ShownPlan) -> String {
    let duration = |milliseconds| show_duration(std::time::Duration::from_millis(milliseconds));
    let mut text = format!(
        "{} of {}, on {}\nceilings: writes wait at most {}, other holds last at most {}; lease {}\n",
        plan.action,
        plan.blueprint,
        if plan.runtime == "local" { "this machine" } else { &plan.runtime },
        duration(plan.max_freeze_milliseconds),
        duration(plan.max_hold_milliseconds),
        duration(plan.lease_milliseconds),
    );
    let mut phase = None;
    for step in &plan.steps {
        if phase != Some(step.phase) {
            phase = Some(step.phase);
            text.push_str(&format!("\n{}\n", step.phase.name()));
        }
        let hold = step.hold.map_or_else(String::new, |hold| {
            let kind = match hold.kind {
                HoldKind::Session => "session",
                HoldKind::Lease => "lease",
                HoldKind::Moment => "moment",
            };
            let writes = if hold.blocks_writes { "writes wait" } else { "writes go on" };
            format!("   [hold: {kind}, {writes}]")
        });
        text.push_str(&format!("  {:24} {} {}{hold}\n", step.id, step.kind, plain(&step.does)));
    }
    text
}

/// A value as a person would write it on one line of a blueprint.
fn plain(value: &serde_json::Value) -> String {
    use serde_json::Value;
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(plain).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let pairs: Vec<String> =
                map.iter().map(|(key, value)| format!("{key}: {}", plain(value))).collect();
            format!("{{{}}}", pairs.join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn a_step_is_shown_as_it_would_be_written() {
        let does = serde_json::json!({"use": "postgresql/ready", "with": {"covers": ["data"], "port": 5}});
        assert_eq!(plain(&does), "{use: postgresql/ready, with: {covers: [data], port: 5}}");
    }
}
