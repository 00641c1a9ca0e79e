//! What the steps of an action leave behind while it runs: outputs, services, captures.

use super::{
    known::Kind,
    resolve::{Resolved, Unseen, inside, of_fields, seen, unseen},
    view::{ActionView, Moment, Output, StepView, View},
};
use crate::{
    hook::Available,
    language::{model::Phase, shape::Type, step::Step, suggest},
};

pub(super) fn of_step(name: &str, rest: &[&str], view: &View<'_>) -> Resolved {
    let Some(action) = view.action else { return Ok(seen(Kind::Any)) };
    let Some(step) = action.step(name) else {
        let names = action.steps.iter().filter_map(|step| step.step.name.as_deref());
        let remedy = suggest::remedy(name, "named step", names);
        return unseen("unknown-step", format!("`{}` has no step `{name}`", action.name), remedy);
    };
    if step.step.service.is_some() || step.step.snapshot.is_some() {
        let place = if step.step.service.is_some() { "services" } else { "captures" };
        let message = format!("the step `{name}` puts nothing out under `steps`");
        return unseen("unknown-output", message, format!("Use `{place}.{name}.…`."));
    }
    if step.at >= view.at {
        return too_early(name, step, view.at);
    }
    let Some(outputs) = &step.outputs else { return Ok(seen(Kind::Any)) };
    let [key, inner @ ..] = rest else { return Ok(seen(Kind::Is(Type::Map))) };
    let Some(output) = outputs.get(key) else {
        let remedy = suggest::remedy(key, "output", outputs.keys().copied());
        return unseen("unknown-output", format!("the step `{name}` has no output `{key}`"), remedy);
    };
    if !is_there(output, action, view.at) {
        let message = format!("the output `{key}` of `{name}` is there only after the release");
        let remedy = "Use it in `recover`, `store` or `cleanup`.";
        return unseen("output-too-early", message, remedy);
    }
    inside(&format!("steps.{name}"), key, output.kind, inner)
}

/// Whether an output of a step that was done before is there.
fn is_there(output: &Output, action: &ActionView<'_>, at: Moment) -> bool {
    match output.available {
        Available::Acquired => true,
        Available::Released => {
            Phase::of_action(action.name).get(at.phase).is_none_or(|phase| *phase > Phase::Capture)
        }
    }
}

fn too_early(name: &str, step: &StepView<'_>, at: Moment) -> Resolved {
    if step.at == at {
        let message = format!("the step `{name}` uses its own output, which is not there before it is done");
        return unseen("output-too-early", message, "Use what an earlier step puts out.");
    }
    let phase = step.phase.name();
    let message = format!("the step `{name}` is done later, in `{phase}`");
    unseen(
        "output-too-early",
        message,
        "Move the step that uses it behind it, or use what an earlier step puts out.",
    )
}

pub(super) fn of_service(name: &str, rest: &[&str], view: &View<'_>) -> Resolved {
    let fields = [("host", Kind::TEXT), ("port", Kind::INTEGER), ("socketDir", Kind::TEXT)];
    match service(name, view) {
        Ok(()) => of_fields(&format!("services.{name}"), &fields, rest),
        Err(unseen) => Err(unseen),
    }
}

/// Whether a service runs where the view is; its own step sees it too.
pub(super) fn service(name: &str, view: &View<'_>) -> Result<(), Unseen> {
    let Some(action) = view.action else { return Ok(()) };
    let found = action.named(is_service).find(|(known, _)| *known == name);
    let (code, message, remedy) = match found {
        Some((_, step)) if step.at <= view.at => return Ok(()),
        Some(_) => (
            "output-too-early",
            format!("the service `{name}` is started later"),
            "Move the step that starts it before this one.".to_owned(),
        ),
        None => {
            let names = action.named(is_service).map(|(name, _)| name);
            let remedy = suggest::remedy(name, "service", names);
            ("unknown-service", format!("`{}` starts no service `{name}`", action.name), remedy)
        }
    };
    Err(Unseen { code, message, remedy })
}

const fn is_service(step: &Step) -> bool {
    step.service.is_some()
}

pub(super) fn of_capture(name: &str, rest: &[&str], view: &View<'_>) -> Resolved {
    match capture(name, view) {
        Ok(()) => of_fields(&format!("captures.{name}"), &[("path", Kind::TEXT), ("mode", Kind::TEXT)], rest),
        Err(unseen) => Err(unseen),
    }
}

/// Whether a volume was captured where the view is.
pub(super) fn capture(name: &str, view: &View<'_>) -> Result<(), Unseen> {
    let Some(action) = view.action else { return Ok(()) };
    let (code, message, remedy) = match action.captures().find(|(known, _)| *known == name) {
        Some((_, step)) if step.at < view.at => return Ok(()),
        Some(_) => (
            "output-too-early",
            format!("the capture `{name}` is not there yet"),
            "Use it in `store`.".to_owned(),
        ),
        None => {
            let remedy = suggest::remedy(name, "capture", action.captures().map(|(name, _)| name));
            ("unknown-capture", format!("`{}` captures no `{name}`", action.name), remedy)
        }
    };
    Err(Unseen { code, message, remedy })
}
