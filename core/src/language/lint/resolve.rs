//! What a dotted path in a template stands for, or why it stands for nothing.

use super::{
    Linter,
    doing::{of_capture, of_service, of_step},
    known::Kind,
    view::View,
};
use crate::language::{
    model::{ParameterType, Template},
    shape::Type,
    suggest,
    template::references,
};

/// What a path stands for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// What is known of the value.
    pub kind: Kind,
    /// Whether there may be no value: an optional parameter.
    pub optional: bool,
}

/// Why a path stands for nothing.
pub(super) struct Unseen {
    pub code: &'static str,
    pub message: String,
    pub remedy: String,
}

pub(super) type Resolved = Result<Seen, Unseen>;

pub(super) const fn seen(kind: Kind) -> Seen {
    Seen { kind, optional: false }
}

pub(super) fn unseen(code: &'static str, message: impl Into<String>, remedy: impl Into<String>) -> Resolved {
    Err(Unseen { code, message: message.into(), remedy: remedy.into() })
}

impl Linter<'_> {
    /// What a path stands for where the view is.
    pub(super) fn resolve(&self, path: &[String], view: &View<'_>) -> Resolved {
        let names: Vec<&str> = path.iter().map(String::as_str).collect();
        let [root, rest @ ..] = names.as_slice() else { return Ok(seen(Kind::Any)) };
        match (*root, view.item, view.result) {
            ("item", Some(item), _) => return of_item(item, rest),
            ("result", _, Some(fields)) => return of_fields("result", fields, rest),
            _ => {}
        }
        if !view.roots.contains(root) {
            return not_here(root, view);
        }
        let [name, rest @ ..] = rest else {
            let remedy = format!("Name one of its values: `{root}.…`.");
            return unseen("whole-scope", format!("`{root}` as a whole is not a value"), remedy);
        };
        match *root {
            "params" => self.of_parameter(name, rest),
            "point" => self.of_point(name, rest, view),
            "target" => of_target(name, rest),
            "run" => of_fields("run", &[("id", Kind::TEXT), ("scratchDir", Kind::TEXT)], &names[1..]),
            "connections" => self.of_connection(name, rest),
            "volumes" => self.of_volume(name, rest, view),
            "programs" => self.of_program(name, rest, view),
            "steps" => of_step(name, rest, view),
            "services" => of_service(name, rest, view),
            "captures" => of_capture(name, rest, view),
            _ => Ok(seen(Kind::Any)),
        }
    }

    fn of_parameter(&self, name: &str, rest: &[&str]) -> Resolved {
        let parameters = &self.blueprint.spec.parameters;
        let Some(parameter) = parameters.get(name) else {
            let open = parameters.iter().filter(|(_, parameter)| parameter.ty != ParameterType::Secret);
            let remedy = suggest::remedy(name, "parameter", open.map(|(name, _)| name.as_str()));
            return unseen("unknown-parameter", format!("there is no parameter `{name}`"), remedy);
        };
        if parameter.ty == ParameterType::Secret {
            let message = format!("the secret parameter `{name}` is in no template");
            let remedy = format!(
                "Pass it by `env: {{NAME: {{parameter: {name}}}}}`, or as a secret setting of a connection."
            );
            return unseen("secret-in-template", message, remedy);
        }
        leaf(&format!("params.{name}"), rest)?;
        let optional = parameter.optional && parameter.default.is_none();
        Ok(Seen { kind: parameter.ty.into(), optional })
    }

    fn of_point(&self, name: &str, rest: &[&str], view: &View<'_>) -> Resolved {
        if view.action_name() == Some("backup") {
            let message = "a backup has no recovery point yet";
            let remedy = "Use `point` in `restore` and `verify`, and what steps put out in `backup`.";
            return unseen("point-in-backup", message, remedy);
        }
        match (name, rest) {
            ("id" | "cutAt", rest) => leaf(&format!("point.{name}"), rest).map(|()| seen(Kind::TEXT)),
            ("facts", _) => Ok(seen(Kind::Items(&["name", "value", "bound"]))),
            ("version", rest) => of_version("point.version", rest),
            ("parameters", [parameter, rest @ ..]) => {
                let found = self.of_parameter(parameter, rest)?;
                Ok(Seen { optional: found.optional, ..found })
            }
            ("outputs", [step, rest @ ..]) => self.of_recorded(step, rest),
            ("artifacts", [artifact, rest @ ..]) => self.of_artifact(artifact, rest),
            ("parameters" | "outputs" | "artifacts", []) => Ok(seen(Kind::Is(Type::Map))),
            (other, _) => {
                let known = ["id", "cutAt", "artifacts", "facts", "outputs", "parameters", "version"];
                let remedy = suggest::remedy(other, "value", known);
                unseen("unknown-name", format!("a recovery point has no `{other}`"), remedy)
            }
        }
    }

    /// `point.outputs.STEP.KEY`: what `backup` records.
    fn of_recorded(&self, step: &str, rest: &[&str]) -> Resolved {
        let recorded = &self.stored.recorded;
        if !self.stored.by_backup {
            return Ok(seen(Kind::Any));
        }
        let Some(keys) = recorded.get(step) else {
            let remedy = suggest::remedy(step, "step with `record`", recorded.keys().map(String::as_str));
            return unseen("unknown-step", format!("`backup` records nothing of a step `{step}`"), remedy);
        };
        let [key, ..] = rest else { return Ok(seen(Kind::Is(Type::Map))) };
        if keys.iter().any(|known| known == key) {
            return Ok(seen(Kind::Any));
        }
        let message = format!("`backup` does not record `{key}` of the step `{step}`");
        let remedy = match suggest::nearest(key, keys.iter().map(String::as_str)) {
            Some(near) => format!("Did you mean `{near}`?"),
            None => format!("Add `{key}` to `record` of that step."),
        };
        unseen("unknown-output", message, remedy)
    }

    fn of_artifact(&self, name: &str, rest: &[&str]) -> Resolved {
        if !self.stored.may_hold(name) {
            let remedy = suggest::remedy(name, "artifact", self.stored.names());
            return unseen("unknown-artifact", format!("`backup` stores no artifact `{name}`"), remedy);
        }
        of_fields("an artifact", &[("name", Kind::TEXT), ("bytes", Kind::INTEGER)], rest)
    }

    fn of_connection(&self, name: &str, rest: &[&str]) -> Resolved {
        let connections = &self.blueprint.spec.connections;
        let Some(connection) = connections.get(name) else {
            let remedy = suggest::remedy(name, "connection", connections.keys().map(String::as_str));
            return unseen("unknown-connection", format!("there is no connection `{name}`"), remedy);
        };
        let [setting, ..] = rest else { return Ok(seen(Kind::Is(Type::Map))) };
        let open =
            |(key, value): &(&String, &serde_json::Value)| *key != "hook" && value.get("parameter").is_none();
        if connection.0.iter().any(|entry| open(&entry) && entry.0 == setting) {
            return Ok(seen(Kind::Any));
        }
        if connection.0.get(*setting).is_some_and(|value| value.get("parameter").is_some()) {
            let message =
                format!("the setting `{setting}` of the connection `{name}` is a secret, and in no template");
            let remedy = "Pass the parameter itself by `env: {NAME: {parameter: …}}`.";
            return unseen("secret-in-template", message, remedy);
        }
        let message = format!("the connection `{name}` has no setting `{setting}`");
        let settings = connection.0.iter().filter(open).map(|(key, _)| key.as_str());
        unseen("unknown-setting", message, suggest::remedy(setting, "setting", settings))
    }

    fn of_volume(&self, name: &str, rest: &[&str], view: &View<'_>) -> Resolved {
        let known = self.volumes(view);
        if !known.contains(&name) {
            let remedy = suggest::remedy(name, "volume", known);
            return unseen("unknown-volume", format!("there is no volume `{name}` here"), remedy);
        }
        of_fields("a volume", &[("path", Kind::TEXT)], rest)
    }

    /// The volumes that a place sees.
    pub(super) fn volumes<'s>(&'s self, view: &View<'s>) -> Vec<&'s str> {
        let declared = self.blueprint.spec.volumes.keys();
        let places = view.action.into_iter().flat_map(|action| action.action.volumes.keys());
        declared.chain(places).map(String::as_str).collect()
    }

    fn of_program(&self, name: &str, rest: &[&str], view: &View<'_>) -> Resolved {
        let programs = &self.blueprint.spec.programs;
        let Some(program) = programs.get(name) else {
            let remedy = suggest::remedy(name, "program", programs.keys().map(String::as_str));
            return unseen("unknown-program", format!("there is no program `{name}`"), remedy);
        };
        leaf(&format!("programs.{name}"), rest)?;
        let uses_point = |place: &Template| {
            references(&place.0).iter().any(|path| path.first().is_some_and(|root| root == "point"))
        };
        if view.action_name() == Some("backup") && program.search.iter().any(uses_point) {
            let message = format!(
                "the program `{name}` is looked for by the recovery point, which a backup has not yet"
            );
            let remedy = "Look for it by `target.version` instead, or declare another program for `backup`.";
            return unseen("point-in-backup", message, remedy);
        }
        Ok(seen(Kind::TEXT))
    }
}

/// A name at the top that is not there.
fn not_here(root: &str, view: &View<'_>) -> Resolved {
    match root {
        "item" => {
            unseen("item-outside-for-each", "there is no `item` here", "Use it in a `stream` with `forEach`.")
        }
        "result" => {
            let remedy = "Use it in `expect`, and in `until` of a `wait`.";
            unseen("result-outside-expect", "there is no `result` here", remedy)
        }
        "secrets" | "secret" => {
            let remedy = "Pass a secret by `env: {NAME: {parameter: NAME}}`.";
            unseen("secret-in-template", "secrets are in no template", remedy)
        }
        _ if super::view::STEP.contains(&root) => {
            let message = format!("`{root}` is not known yet where this is rendered");
            let remedy = match view.roots {
                [] => "Only `result` is known here.".to_owned(),
                roots => format!("Known here: {}.", roots.join(", ")),
            };
            unseen("not-yet-known", message, remedy)
        }
        _ => {
            let extra = [view.item.map(|_| "item"), view.result.map(|_| "result")];
            let names = view.roots.iter().copied().chain(extra.into_iter().flatten());
            unseen("unknown-name", format!("there is no `{root}`"), suggest::remedy(root, "name", names))
        }
    }
}

fn of_target(name: &str, rest: &[&str]) -> Resolved {
    match (name, rest) {
        ("version", rest) => of_version("target.version", rest),
        ("identity" | "role", rest) => leaf(&format!("target.{name}"), rest).map(|()| seen(Kind::TEXT)),
        (other, _) => {
            let remedy = suggest::remedy(other, "value", ["version", "identity", "role"]);
            unseen("unknown-name", format!("the target has no `{other}`"), remedy)
        }
    }
}

fn of_version(what: &str, rest: &[&str]) -> Resolved {
    of_fields(what, &[("major", Kind::INTEGER), ("full", Kind::TEXT)], rest)
}

/// A value that has nothing inside it.
fn leaf(what: &str, rest: &[&str]) -> Result<(), Unseen> {
    let Some(name) = rest.first() else { return Ok(()) };
    let message = format!("`{what}` has no `{name}`: it is a single value");
    Err(Unseen { code: "unknown-name", message, remedy: format!("Write `{what}`.") })
}

/// A map with fixed fields, whose values have nothing inside them that is known.
pub(super) fn of_fields(what: &str, fields: &[(&str, Kind)], rest: &[&str]) -> Resolved {
    let [name, rest @ ..] = rest else { return Ok(seen(Kind::Is(Type::Map))) };
    let Some((_, kind)) = fields.iter().find(|(known, _)| known == name) else {
        let remedy = suggest::remedy(name, "value", fields.iter().map(|(name, _)| *name));
        let what = if what.contains(' ') { what.to_owned() } else { format!("`{what}`") };
        return unseen("unknown-name", format!("{what} has no `{name}`"), remedy);
    };
    inside(what, name, *kind, rest)
}

/// What is inside a value of some kind.
pub(super) fn inside(what: &str, name: &str, kind: Kind, rest: &[&str]) -> Resolved {
    match kind.ty() {
        Some(Type::List | Type::Map) | None => {}
        Some(_) => leaf(&format!("{what}.{name}"), rest)?,
    }
    Ok(seen(if rest.is_empty() { kind } else { Kind::Any }))
}

fn of_item(item: Kind, rest: &[&str]) -> Resolved {
    match (item, rest) {
        (Kind::Items(fields), [name, ..]) if !fields.is_empty() && !fields.contains(name) => {
            let remedy = suggest::remedy(name, "field", fields.iter().copied());
            unseen("unknown-name", format!("`item` has no `{name}`"), remedy)
        }
        (Kind::Items(_), []) => Ok(seen(Kind::Is(Type::Map))),
        (Kind::Texts, rest) => leaf("item", rest).map(|()| seen(Kind::TEXT)),
        _ => Ok(seen(Kind::Any)),
    }
}
