//! Every mistake of a group that can be found without running it.

use std::collections::BTreeMap;

use super::{Group, GroupMember, typed};
use crate::{
    Result,
    hook::Hooks,
    language::{
        diagnostic::{Diagnostic, Severity},
        given, is_name,
        lint::check,
        source::{Path, Source},
    },
    units::parse_duration,
};

/// What parameters of a target's place begin with, on the command line.
const RESERVED: &str = "target";

/// Finds every mistake of a group, in the order of the text. `find` reads a member's blueprint: what messages call it,
/// and its text.
pub fn lint_group(
    source: &Source,
    hooks: &dyn Hooks,
    find: &dyn Fn(&str) -> Result<(String, String)>,
) -> Vec<Diagnostic> {
    let group = match typed(source) {
        Ok(group) => group,
        Err(faults) => return faults,
    };
    let mut linter = Linter { source, hooks, find, faults: Vec::new() };
    linter.group(&group);
    linter.faults.sort_by_key(|fault| fault.position.map(|at| at.offset));
    linter.faults
}

struct Linter<'a> {
    source: &'a Source,
    hooks: &'a dyn Hooks,
    find: &'a dyn Fn(&str) -> Result<(String, String)>,
    faults: Vec<Diagnostic>,
}

impl Linter<'_> {
    fn error(
        &mut self,
        code: &'static str,
        path: &Path,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let position = self.source.position(path);
        self.faults.push(Diagnostic::error(code, path, Some(position), message, remedy));
    }

    fn group(&mut self, group: &Group) {
        let spec = Path::root().key("spec");
        self.name(&Path::root().key("metadata").key("name"), "group", &group.metadata.name);
        let durations = [("maxFreeze", &group.spec.max_freeze), ("lease", &group.spec.lease)];
        for (key, text) in durations {
            if let Some(Err(error)) = text.as_deref().map(parse_duration) {
                let remedy = error.remedy_text().unwrap_or_default();
                self.error("wrong-value", &spec.key(key), error.to_string(), remedy);
            }
        }
        let mut first: BTreeMap<&str, usize> = BTreeMap::new();
        for (index, member) in group.spec.members.iter().enumerate() {
            let path = spec.key("members").index(index);
            self.name(&path.key("name"), "member", &member.name);
            if let Some(known) = first.insert(&member.name, index) {
                let line = self.source.position(&spec.key("members").index(known).key("name")).line;
                let message = format!("there is already a member `{}`, on line {line}", member.name);
                self.error(
                    "duplicate-member",
                    &path.key("name"),
                    message,
                    "Give one of the two another name.",
                );
            }
            self.member(member, &path);
        }
    }

    fn name(&mut self, path: &Path, what: &str, name: &str) {
        if !is_name(name) || name == RESERVED {
            let message = format!("`{name}` is not a name for a {what}");
            let remedy = format!(
                "Use lower-case letters, digits and hyphens, with a letter first; at most 63; not `{RESERVED}`."
            );
            self.error("invalid-name", path, message, remedy);
        }
    }

    fn member(&mut self, member: &GroupMember, path: &Path) {
        let place = path.key("blueprint");
        let (origin, text) = match (self.find)(&member.blueprint) {
            Ok(found) => found,
            Err(error) => {
                let remedy = error.remedy_text().unwrap_or_default();
                return self.error("unknown-blueprint", &place, error.chain(), remedy);
            }
        };
        let blueprint = match check(&origin, &text, self.hooks) {
            Ok((blueprint, _)) => blueprint,
            Err(faults) => {
                let errors = faults.iter().filter(|fault| fault.severity == Severity::Error).count();
                let message = format!("the blueprint {origin} has mistakes: {errors}");
                return self.error(
                    "wrong-blueprint",
                    &place,
                    message,
                    format!("Run `standstill lint {origin}`."),
                );
            }
        };
        if !blueprint.spec.actions.contains_key("backup") {
            let message = format!("the blueprint {origin} has no action `backup`");
            self.error("no-backup", &place, message, "Choose a blueprint that backs something up.");
        }
        let path = path.key("parameters");
        self.faults.extend(given::faults(self.source, &path, &blueprint, &member.parameters));
    }
}

#[cfg(test)]
mod tests {
    use crate::{Error, language::Source};

    use super::*;

    struct NoHooks;

    impl Hooks for NoHooks {
        fn get(&self, _: &str) -> Option<std::sync::Arc<dyn crate::hook::Hook>> {
            None
        }

        fn names(&self) -> Vec<&'static str> {
            Vec::new()
        }
    }

    const BLUEPRINT: &str = "{apiVersion: standstill.dev/v1alpha1, kind: Blueprint, metadata: {name: files}, spec: {summary: files, \
        parameters: {directory: {type: path}, level: {type: integer, default: 1}, key: {type: secret, optional: true}}, \
        volumes: {data: {path: '{{ params.directory }}'}}, \
        actions: {backup: {capture: [{snapshot: {volume: data}}], store: [{volume: {from: captures.data, artifact: data}}]}, \
        restore: {volumes: {new: {like: data, path: '{{ params.directory }}'}}, steps: [{volume: {artifact: data, to: new}}]}}}}";

    fn linted(members: &str) -> String {
        let text = format!(
            "apiVersion: standstill.dev/v1alpha1\nkind: Group\nmetadata: {{name: shop}}\nspec:\n  summary: two\n  members:\n{members}"
        );
        let source = Source::parse("g.yaml", &text).unwrap();
        let find = |name: &str| match name {
            "files" => Ok(("files".to_owned(), BLUEPRINT.to_owned())),
            "broken" => Ok(("broken".to_owned(), BLUEPRINT.replace("type: path", "type: pth"))),
            _ => Err(Error::input(format!("there is no `{name}`")).remedy("Look.")),
        };
        let faults = lint_group(&source, &NoHooks, &find);
        let shown = |fault: &Diagnostic| {
            let at = fault.position.unwrap();
            format!("{}:{} {}: {} {}", at.line, at.column, fault.code, fault.message, fault.remedy)
        };
        faults.iter().map(shown).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_good_group_is_clean() {
        let members = "    - {name: a, blueprint: files, parameters: {directory: /a, key: {env: KEY}}}\n    - {name: b-2, blueprint: files}\n";
        assert_eq!(linted(members), "");
    }

    #[test]
    fn every_mistake_is_told_with_its_place() {
        let members = "    - {name: a, blueprint: files, parameters: {directry: /a, level: x, key: plain}}\n    - {name: a, blueprint: elephant}\n    - {name: target, blueprint: broken}\n";
        insta::assert_snapshot!(linted(members), @r#"
        7:48 unknown-parameter: the blueprint files has no parameter `directry` Did you mean `directory`?
        7:69 wrong-value: the parameter `level` is a whole number, not `"x"` Give it a whole number.
        7:77 wrong-value: the parameter `key` is a secret and is never given in plain text Use `--set key=@FILE`, `--set key=env:NAME`, or `{file: …}` or `{env: …}` in the values file.
        8:14 duplicate-member: there is already a member `a`, on line 7 Give one of the two another name.
        8:28 unknown-blueprint: there is no `elephant` Look.
        9:14 invalid-name: `target` is not a name for a member Use lower-case letters, digits and hyphens, with a letter first; at most 63; not `target`.
        9:33 wrong-blueprint: the blueprint broken has mistakes: 1 Run `standstill lint broken`.
        "#);
    }

    #[test]
    fn what_is_no_group_is_told_by_its_shape() {
        let members = "    - {name: a}\n    - {name: b, blueprint: files, parameter: {}}\n";
        insta::assert_snapshot!(linted(members), @"
        7:8 missing-key: the key `blueprint` is missing Add `blueprint`: its blueprint: a built-in's name, or a path from the group's own folder.
        8:35 unknown-key: there is no key `parameter` here Did you mean `parameters`?
        ");
    }
}
