//! Every mistake of a test that can be found without running it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{BlueprintTest, TestService, of_test};
use crate::{
    Result,
    language::{
        diagnostic::Diagnostic,
        given, is_name,
        model::{Blueprint, ParameterType, Template},
        read::typed_by,
        source::{Path, Source},
        suggest,
        template::references,
    },
};

/// What templates of a test's parameters know.
const PLACES: [&str; 3] = ["place", "port", "folder"];
/// What templates know besides once there is something to restore.
const COPY: [&str; 2] = ["copy", "copyPort"];

/// Finds every mistake of a test of a blueprint, in the order of the text. A blueprint that cannot be had is one.
pub fn lint_test(source: &Source, blueprint: &Result<Blueprint>) -> Vec<Diagnostic> {
    let test: BlueprintTest = match typed_by(source, of_test()) {
        Ok(test) => test,
        Err(faults) => return faults,
    };
    let blueprint = match blueprint {
        Ok(blueprint) => blueprint,
        Err(error) => {
            let path = Path::root().key("kind");
            let message = format!("the blueprint that is tested cannot be used: {}", error.chain());
            let remedy = "Put the test into the folder `tests` beside its `blueprint.yaml`, and lint that.";
            return vec![Diagnostic::error(
                "no-blueprint",
                &path,
                Some(source.position(&path)),
                message,
                remedy,
            )];
        }
    };
    let mut linter = Linter { source, blueprint, faults: Vec::new() };
    linter.test(&test);
    linter.faults.sort_by_key(|fault| fault.position.map(|at| at.offset));
    linter.faults
}

struct Linter<'a> {
    source: &'a Source,
    blueprint: &'a Blueprint,
    faults: Vec<Diagnostic>,
}

impl Linter<'_> {
    fn error(&mut self, code: &'static str, path: &Path, message: String, remedy: impl Into<String>) {
        let position = self.source.position(path);
        self.faults.push(Diagnostic::error(code, path, Some(position), message, remedy));
    }

    fn test(&mut self, test: &BlueprintTest) {
        let name = &test.metadata.name;
        if !is_name(name) {
            let remedy = "Use lower-case letters, digits and hyphens, with a letter first; at most 63.";
            let message = format!("`{name}` is not a name for a test");
            self.error("invalid-name", &Path::root().key("metadata").key("name"), message, remedy);
        }
        let (given, then) = (Path::root().key("spec").key("given"), Path::root().key("spec").key("then"));
        self.values(&test.spec.given.parameters, &given.key("parameters"), &[]);
        self.application(&test.spec.given.prepare, test.spec.given.service.as_ref(), &given, &[]);
        let write = &test.spec.given.write;
        self.command(write, &given.key("write"), &["number"]);
        let numbers = |part: &Template| references(&part.0).iter().any(|path| path[..] == ["number"]);
        if !write.iter().any(numbers) {
            let message = "this writes the same thing every time".to_owned();
            self.error("no-number", &given.key("write"), message, "Put `{{ number }}` into it.");
        }
        let end = &test.spec.then;
        self.application(&end.prepare, end.service.as_ref(), &then, &COPY);
        self.values(&end.restore, &then.key("restore"), &COPY);
        self.command(&end.read, &then.key("read"), &COPY);
    }

    fn application(
        &mut self,
        prepare: &[Vec<Template>],
        service: Option<&TestService>,
        path: &Path,
        more: &[&str],
    ) {
        for (index, command) in prepare.iter().enumerate() {
            self.command(command, &path.key("prepare").index(index), more);
        }
        if let Some(service) = service {
            self.command(&service.command, &path.key("service").key("command"), more);
            self.command(&service.ready, &path.key("service").key("ready"), more);
        }
    }

    fn values(&mut self, values: &BTreeMap<String, Value>, path: &Path, more: &[&str]) {
        self.faults.extend(given::faults(self.source, path, self.blueprint, values));
        for (name, value) in values {
            self.templates(value, &path.key(name), more, false);
        }
    }

    fn command(&mut self, command: &[Template], path: &Path, more: &[&str]) {
        if command.is_empty() {
            let message = "the command names no program".to_owned();
            self.error("no-program", path, message, "Write a program and its arguments.");
        }
        for (index, part) in command.iter().enumerate() {
            self.templates(&part.0, &path.index(index), more, true);
        }
    }

    fn templates(&mut self, value: &Value, path: &Path, more: &[&str], parameters: bool) {
        let known = PLACES.iter().chain(more).copied().chain(parameters.then_some("params"));
        let known: Vec<&str> = known.collect();
        for reference in references(value) {
            match reference.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                ["params", name, ..] if parameters => self.parameter(name, path),
                [root, ..] if !known.contains(&root) => {
                    let message = format!("there is no `{root}` here");
                    self.error(
                        "unknown-reference",
                        path,
                        message,
                        suggest::remedy(root, "name", known.clone()),
                    );
                }
                _ => {}
            }
        }
    }

    fn parameter(&mut self, name: &str, path: &Path) {
        let declared = &self.blueprint.spec.parameters;
        match declared.get(name) {
            Some(parameter) if parameter.ty == ParameterType::Secret => {
                let message = format!("the parameter `{name}` is a secret, and is in no template");
                self.error("secret-in-template", path, message, "Let the command read it where it is.");
            }
            Some(_) => {}
            None => {
                let message =
                    format!("the blueprint {} has no parameter `{name}`", self.blueprint.metadata.name);
                let remedy = suggest::remedy(name, "parameter", declared.keys().map(String::as_str));
                self.error("unknown-parameter", path, message, remedy);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLUEPRINT: &str = "{apiVersion: standstill.dev/v1alpha1, kind: Blueprint, metadata: {name: kv}, \
        spec: {summary: kv, parameters: {directory: {type: path}, level: {type: integer, default: 1}, key: {type: secret, optional: true}}, \
        actions: {}}}";
    const GOOD: &str = "apiVersion: standstill.dev/v1alpha1
kind: Test
metadata: {name: paused}
spec:
  summary: all numbers are there
  given:
    parameters: {directory: '{{ place }}/data', level: 2}
    prepare: [[mkdir, '{{ params.directory }}']]
    service: {command: [kv, serve, '{{ params.directory }}'], ready: [kv, PING, '{{ port }}']}
    write: [kv, SET, '{{ number }}']
  then:
    restore: {directory: '{{ copy }}'}
    read: [cat, '{{ copy }}/data']
";

    fn linted(text: &str) -> String {
        let blueprint = crate::language::read("b.yaml", BLUEPRINT);
        let faults = lint_test(&Source::parse("t.yaml", text).unwrap(), &blueprint);
        let shown = |fault: &Diagnostic| {
            let at = fault.position.unwrap();
            format!("{}:{} {}: {} {}", at.line, at.column, fault.code, fault.message, fault.remedy)
        };
        faults.iter().map(shown).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_good_test_is_clean() {
        assert_eq!(linted(GOOD), "");
    }

    #[test]
    fn every_mistake_is_told_with_its_place() {
        let text = GOOD
            .replace("level: 2", "levl: 2, key: plain")
            .replace(
                "[mkdir, '{{ params.directory }}']",
                "[mkdir, '{{ params.directry }}', '{{ params.key }}'], []",
            )
            .replace("'{{ number }}'", "'{{ copy }}'");
        insta::assert_snapshot!(linted(&text), @r"
        7:49 unknown-parameter: the blueprint kv has no parameter `levl` Did you mean `level`?
        7:63 wrong-value: the parameter `key` is a secret and is never given in plain text Use `--set key=@FILE`, `--set key=env:NAME`, or `{file: …}` or `{env: …}` in the values file.
        8:23 unknown-parameter: the blueprint kv has no parameter `directry` Did you mean `directory`?
        8:48 secret-in-template: the parameter `key` is a secret, and is in no template Let the command read it where it is.
        8:69 no-program: the command names no program Write a program and its arguments.
        10:5 no-number: this writes the same thing every time Put `{{ number }}` into it.
        10:22 unknown-reference: there is no `copy` here Use one of: place, port, folder, number, params.
        ");
    }

    #[test]
    fn a_server_to_restore_into_may_be_where_the_copy_goes() {
        let server = "  then:
    prepare: [[mkdir, '{{ copy }}']]
    service: {command: [kv, serve, '{{ copy }}', '{{ copyPort }}'], ready: [kv, PING, '{{ copyPort }}']}
";
        assert_eq!(linted(&GOOD.replace("  then:\n", server)), "");
        let early = GOOD.replace("[kv, PING, '{{ port }}']", "[kv, PING, '{{ copyPort }}']");
        assert!(linted(&early).contains("there is no `copyPort` here"), "{}", linted(&early));
    }

    #[test]
    fn what_is_no_test_is_told_by_its_shape() {
        insta::assert_snapshot!(linted(&GOOD.replace("write:", "wirte:")), @r"
        10:5 unknown-key: there is no key `wirte` here Did you mean `write`?
        ");
    }
}
