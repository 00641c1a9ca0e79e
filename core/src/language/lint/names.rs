//! Names that templates, recovery points and journals can carry.

use super::{Linter, spec};
use crate::language::source::Path;

/// How a name may be written.
#[derive(Clone, Copy)]
enum Pattern {
    /// Lower-case letters, digits and single hyphens: what Kubernetes takes too.
    Kebab,
    /// What a template can name after a dot.
    Identifier,
}

impl Pattern {
    fn fits(self, name: &str) -> bool {
        let (first, rest) = name.split_at_checked(1).unwrap_or_default();
        let letter = |c: char| c.is_ascii_lowercase();
        match self {
            Self::Kebab => {
                let allowed = |c: char| letter(c) || c.is_ascii_digit() || c == '-';
                first.starts_with(letter)
                    && rest.chars().all(allowed)
                    && !rest.ends_with('-')
                    && name.len() <= 63
            }
            Self::Identifier => {
                first.starts_with(letter) && rest.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            }
        }
    }

    const fn remedy(self) -> &'static str {
        match self {
            Self::Kebab => "Use lower-case letters, digits and hyphens, with a letter first; at most 63.",
            Self::Identifier => "Use a lower-case letter first, then letters, digits and underscores.",
        }
    }
}

impl Linter<'_> {
    /// Checks the names that the author gives, but for steps'.
    pub(super) fn names(&mut self) {
        let blueprint = self.blueprint;
        let name = &blueprint.metadata.name;
        if !Pattern::Kebab.fits(name) {
            let message = format!("`{name}` is not a name for a blueprint");
            self.error(
                "invalid-name",
                &Path::root().key("metadata").key("name"),
                message,
                Pattern::Kebab.remedy(),
            );
        }
        let spec = &blueprint.spec;
        self.keys("parameters", "parameter", Pattern::Identifier, spec.parameters.keys());
        self.keys("connections", "connection", Pattern::Identifier, spec.connections.keys());
        self.keys("volumes", "volume", Pattern::Identifier, spec.volumes.keys());
        self.keys("programs", "program", Pattern::Identifier, spec.programs.keys());
        self.keys("actions", "action", Pattern::Kebab, spec.actions.keys());
        for (action, declared) in &spec.actions {
            let place = super::spec().key("actions").key(action).key("volumes");
            for volume in declared.volumes.keys() {
                self.identifier(&place.key(volume), "volume", volume);
            }
        }
    }

    fn keys<'n>(
        &mut self,
        section: &str,
        what: &str,
        pattern: Pattern,
        names: impl Iterator<Item = &'n String>,
    ) {
        for name in names.filter(|name| !pattern.fits(name)) {
            let message = format!("`{name}` is not a name for a {what}");
            self.error_at_key("invalid-name", &spec().key(section).key(name), message, pattern.remedy());
        }
    }

    /// Checks a name that templates use.
    pub(super) fn identifier(&mut self, path: &Path, what: &str, name: &str) {
        if !Pattern::Identifier.fits(name) {
            let message = format!("`{name}` is not a name for a {what}");
            self.error_at_key("invalid-name", path, message, Pattern::Identifier.remedy());
        }
    }
}

/// Whether a text can be the name of a blueprint, of a group, or of a member.
pub(crate) fn is_name(name: &str) -> bool {
    Pattern::Kebab.fits(name)
}

/// Whether a text can be an artifact's name: letters, digits, dots, hyphens and underscores, with slashes between.
pub(crate) fn is_artifact_name(name: &str) -> bool {
    let part = |part: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        !part.is_empty() && part.chars().all(allowed) && part != "." && part != ".."
    };
    name.split('/').all(part)
}

/// Whether a text can be the name of an environment variable.
pub(super) fn is_variable_name(name: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(letter) && name.chars().all(|c| letter(c) || c.is_ascii_digit())
}
