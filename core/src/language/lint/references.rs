//! Templates and expressions at their places: what they use is there, and gives what is needed.

use serde_json::Value;

use super::{Linter, known::Kind, resolve::Unseen, view::View};
use crate::{
    language::{
        diagnostic::{Diagnostic, Severity},
        model::{Phase, Template},
        shape::{Templates, Type},
        source::Path,
        template::{Analysis, Gives, Reference, analyse_expression, analyse_template},
    },
    units::parse_duration,
};

/// What a value is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Anything will do.
    Anything,
    /// Anything will do, and what uses an optional parameter without a value is left out.
    LeftOut,
    /// Text; numbers and booleans are written plainly.
    Text,
    /// Text, and what uses an optional parameter without a value is left out.
    TextLeftOut,
    /// A whole number.
    Integer,
    /// A list.
    List,
    /// A duration.
    Duration,
}

impl Linter<'_> {
    /// Checks a template.
    pub(super) fn template(&mut self, path: &Path, template: &Template, view: &View<'_>, need: Need) {
        self.value(path, &template.0, view, need);
    }

    /// Checks a template that may be missing.
    pub(super) fn optional(&mut self, path: &Path, template: Option<&Template>, view: &View<'_>, need: Need) {
        if let Some(template) = template {
            self.template(path, template, view, need);
        }
    }

    /// Checks each of a list of templates.
    pub(super) fn texts(&mut self, path: &Path, templates: &[Template], view: &View<'_>) {
        for (index, template) in templates.iter().enumerate() {
            self.template(&path.index(index), template, view, Need::Text);
        }
    }

    /// Checks all templates in a value, through lists and maps.
    pub(super) fn value(&mut self, path: &Path, value: &Value, view: &View<'_>, need: Need) {
        match value {
            Value::String(text) => self.text(path, text, view, need),
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.value(&path.index(index), item, view, Need::Anything);
                }
            }
            Value::Object(map) => {
                for (key, item) in map {
                    self.value(&path.key(key), item, view, Need::Anything);
                }
            }
            Value::Number(_) | Value::Bool(_) if need == Need::Duration => {
                self.error(
                    "invalid-duration",
                    path,
                    "a duration needs a unit",
                    "Write for example 10s or 5m.",
                );
            }
            Value::Bool(_) if need == Need::Integer => {
                let message = "this is true or false, and a whole number is needed";
                self.error("wrong-type", path, message, "Write a whole number.");
            }
            Value::Null | Value::Number(_) | Value::Bool(_) => {}
        }
    }

    fn text(&mut self, path: &Path, text: &str, view: &View<'_>, need: Need) {
        let analysis = analyse_template(text);
        self.analysed(path, &analysis, view, need);
        if analysis.faults.is_empty() {
            self.needed(path, text, &analysis, view, need);
        }
    }

    /// Checks an expression that must be true or false.
    pub(super) fn expression(&mut self, path: &Path, text: &str, view: &View<'_>) {
        let analysis = analyse_expression(text);
        self.analysed(path, &analysis, view, Need::Anything);
        let given = self.given(&analysis.gives, view).and_then(Kind::ty);
        if let Some(given) = given.filter(|given| *given != Type::Boolean) {
            let message = format!("this gives {}, and true or false is needed", given.name());
            self.error("wrong-type", path, message, "Write a comparison, such as `result.exitCode == 0`.");
        }
    }

    fn analysed(&mut self, path: &Path, analysis: &Analysis, view: &View<'_>, need: Need) {
        for fault in &analysis.faults {
            let position = self.source.position_inside(path, &fault.span);
            let (message, remedy) = (fault.message.clone(), fault.remedy.clone());
            self.faults.push(Diagnostic::error(fault.code, path, Some(position), message, remedy));
        }
        let may_be_left_out = matches!(need, Need::LeftOut | Need::TextLeftOut) && analysis.sole;
        for reference in &analysis.references {
            let left_out = may_be_left_out && analysis.gives == Gives::Path(reference.path.clone());
            self.reference(path, reference, view, left_out);
        }
    }

    fn reference(&mut self, path: &Path, reference: &Reference, view: &View<'_>, left_out: bool) {
        let name = reference.path.join(".");
        let fault = match self.resolve(&reference.path, view) {
            Err(unseen) => unseen,
            Ok(seen) if seen.optional && !reference.guarded && !left_out => Unseen {
                code: "optional-without-value",
                message: format!("`{name}` may have no value here"),
                remedy: format!(
                    "Give the parameter a default, or write `… if {name} is defined else …` or `{name} | default(…)`."
                ),
            },
            Ok(_) => return self.in_cleanup(path, reference, view),
        };
        let position = self.source.position_inside(path, &reference.span);
        self.faults.push(Diagnostic::error(fault.code, path, Some(position), fault.message, fault.remedy));
    }

    /// Cleanup also runs when the step that it looks at did not.
    fn in_cleanup(&mut self, path: &Path, reference: &Reference, view: &View<'_>) {
        let [root, step, ..] = reference.path.as_slice() else { return };
        let depends = matches!(root.as_str(), "steps" | "captures" | "services");
        if depends && view.phase() == Some(Phase::Cleanup) && !reference.guarded {
            let message = format!("`cleanup` also runs when `{step}` was not done, and fails then");
            let remedy = format!("Put it inside `{{% if {root}.{step} is defined %}} … {{% endif %}}`.");
            let position = self.source.position_inside(path, &reference.span);
            let fault = Diagnostic::error("unguarded-in-cleanup", path, Some(position), message, remedy);
            self.faults.push(Diagnostic { severity: Severity::Warning, ..fault });
        }
    }

    /// Checks that a text gives what is needed.
    fn needed(&mut self, path: &Path, text: &str, analysis: &Analysis, view: &View<'_>, need: Need) {
        for (gives, span) in &analysis.writes {
            let kind = self.given(gives, view).and_then(Kind::ty);
            if let Some(kind) = kind.filter(|kind| matches!(kind, Type::List | Type::Map)) {
                let position = self.source.position_inside(path, span);
                let message = format!("{} cannot stand in a text", kind.name());
                let remedy = "Name one value of it, or use the filter `join` or `tojson`.";
                self.faults.push(Diagnostic::error("wrong-type", path, Some(position), message, remedy));
            }
        }
        let literal = analysis.references.is_empty() && !analysis.sole;
        let given = if analysis.sole {
            self.given(&analysis.gives, view).and_then(Kind::ty)
        } else {
            Some(Type::Text)
        };
        let fits = |types: &[Type]| given.is_none_or(|given| types.contains(&given));
        let (fits, needed) = match need {
            Need::Anything | Need::LeftOut => return,
            Need::Text | Need::TextLeftOut => {
                (fits(&[Type::Text, Type::Integer, Type::Number, Type::Boolean]), "text")
            }
            Need::Integer => (fits(&[Type::Integer]), "a whole number"),
            Need::List => (fits(&[Type::List]), "a list"),
            Need::Duration if literal => return self.duration(path, text),
            Need::Duration => (fits(&[Type::Text]), "a duration"),
        };
        if let Some(given) = given.filter(|_| !fits) {
            let message = format!("this gives {}, and {needed} is needed", given.name());
            self.error("wrong-type", path, message, format!("Use something that gives {needed}."));
        }
    }

    fn duration(&mut self, path: &Path, text: &str) {
        if let Err(error) = parse_duration(text) {
            self.error("invalid-duration", path, error.to_string(), error.remedy_text().unwrap_or_default());
        }
    }

    /// What is known of what a template gives.
    pub(super) fn given(&self, gives: &Gives, view: &View<'_>) -> Option<Kind> {
        Some(match gives {
            Gives::Path(path) => self.resolve(path, view).ok()?.kind,
            Gives::Text => Kind::TEXT,
            Gives::Integer => Kind::INTEGER,
            Gives::Number => Kind::Is(Type::Number),
            Gives::Boolean => Kind::Is(Type::Boolean),
            Gives::List => Kind::Items(&[]),
            Gives::Map => Kind::Is(Type::Map),
            Gives::Unknown => return None,
        })
    }
}

/// Templates in the arguments of a verb, and in the settings of a connection.
pub(super) struct InArguments<'l, 'a, 'v> {
    pub linter: &'l Linter<'a>,
    pub view: &'v View<'v>,
}

impl Templates for InArguments<'_, '_, '_> {
    fn are_rendered(&self, _: &Value) -> bool {
        true
    }

    fn gives(&self, analysis: &Analysis) -> Option<Type> {
        self.linter.given(&analysis.gives, self.view).and_then(Kind::ty)
    }
}
