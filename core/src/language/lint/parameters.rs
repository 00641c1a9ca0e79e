//! Parameters: their defaults and choices.

use serde_json::Value;

use super::{Linter, known::misfit, spec};
use crate::{
    language::{
        model::{Parameter, ParameterType},
        source::Path,
        template::is_template,
    },
    units::parse_duration,
};

impl Linter<'_> {
    /// Checks the parameters.
    pub(super) fn parameters(&mut self) {
        for (name, parameter) in &self.blueprint.spec.parameters {
            let path = spec().key("parameters").key(name);
            if parameter.ty == ParameterType::Secret {
                self.secret(parameter, &path);
                continue;
            }
            if let Some(default) = &parameter.default {
                self.parameter_value(default, parameter.ty, &path.key("default"));
                self.default_is_a_choice(default, parameter, &path.key("default"));
            }
            for (index, choice) in parameter.choices.iter().enumerate() {
                self.parameter_value(choice, parameter.ty, &path.key("choices").index(index));
            }
            if parameter.optional && parameter.default.is_some() {
                let message = format!("the parameter `{name}` has a default, so it is optional anyway");
                self.warning("optional-with-default", &path.key("optional"), message, "Remove `optional`.");
            }
        }
    }

    fn secret(&mut self, parameter: &Parameter, path: &Path) {
        if parameter.default.is_some() {
            let message = "a secret cannot have a default: everyone who reads the blueprint would know it";
            let remedy = "Remove the default; add `optional: true` if it may be left out.";
            self.error_at_key("secret-default", &path.key("default"), message, remedy);
        }
        if !parameter.choices.is_empty() {
            let message = "a secret cannot have choices: everyone who reads the blueprint would know them";
            self.error_at_key("secret-default", &path.key("choices"), message, "Remove the choices.");
        }
    }

    fn parameter_value(&mut self, value: &Value, ty: ParameterType, path: &Path) {
        if let (ParameterType::List, Some(items)) = (ty, value.as_array()) {
            for (index, item) in items.iter().enumerate() {
                self.parameter_value(item, ParameterType::String, &path.index(index));
            }
            return;
        }
        if let Some((is, needed)) = misfit(value, ty) {
            let quote = needed == "text" && (value.is_number() || value.is_boolean());
            let remedy = if quote { "Put it in quotes.".to_owned() } else { format!("Write {needed}.") };
            self.error("wrong-type", path, format!("this is {is}, and {needed} is needed"), remedy);
            return;
        }
        let Some(text) = value.as_str() else { return };
        if is_template(text) {
            let remedy = "Write the value itself.";
            self.error("template-not-rendered", path, "templates are not rendered here", remedy);
        } else if ty == ParameterType::Duration
            && let Err(error) = parse_duration(text)
        {
            self.error("invalid-duration", path, error.to_string(), error.remedy_text().unwrap_or_default());
        }
    }

    fn default_is_a_choice(&mut self, default: &Value, parameter: &Parameter, path: &Path) {
        if !parameter.choices.is_empty() && !parameter.choices.contains(default) {
            let message = "the default is not one of the choices";
            self.error("wrong-value", path, message, "Use one of the choices as the default.");
        }
    }
}
