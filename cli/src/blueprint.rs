//! Finding a blueprint: built in, or a file.

use std::path::Path;

use standstill_core::{
    Error, Result,
    hook::Hooks,
    language::{self, Blueprint, Diagnostic, Source, as_error, check},
};

/// The blueprints that ship, by name.
pub const BUILT_IN: &[(&str, &str)] = &[
    ("etcd", include_str!("../../blueprints/etcd/blueprint.yaml")),
    ("filesystem", include_str!("../../blueprints/filesystem/blueprint.yaml")),
    ("mariadb", include_str!("../../blueprints/mariadb/blueprint.yaml")),
    ("mariadb-backup", include_str!("../../blueprints/mariadb-backup/blueprint.yaml")),
    ("mariadb-dump", include_str!("../../blueprints/mariadb-dump/blueprint.yaml")),
    ("mongodb", include_str!("../../blueprints/mongodb/blueprint.yaml")),
    ("mongodb-dump", include_str!("../../blueprints/mongodb-dump/blueprint.yaml")),
    ("mysql", include_str!("../../blueprints/mysql/blueprint.yaml")),
    ("mysql-dump", include_str!("../../blueprints/mysql-dump/blueprint.yaml")),
    ("postgresql", include_str!("../../blueprints/postgresql/blueprint.yaml")),
    ("postgresql-basebackup", include_str!("../../blueprints/postgresql-basebackup/blueprint.yaml")),
    ("postgresql-dump", include_str!("../../blueprints/postgresql-dump/blueprint.yaml")),
    ("redis", include_str!("../../blueprints/redis/blueprint.yaml")),
    ("redis-aof", include_str!("../../blueprints/redis-aof/blueprint.yaml")),
    ("redis-dump", include_str!("../../blueprints/redis-dump/blueprint.yaml")),
    ("sqlite", include_str!("../../blueprints/sqlite/blueprint.yaml")),
    ("sqlite-online", include_str!("../../blueprints/sqlite-online/blueprint.yaml")),
];

/// The text of a blueprint, and where it came from.
#[derive(Debug, Clone)]
pub struct Text {
    /// For messages: a path, or `built-in:NAME`.
    pub origin: String,
    /// The text.
    pub text: String,
}

/// Finds a blueprint by a built-in's name, or by a path (a file, or a folder with a `blueprint.yaml`).
pub fn find(name: &str) -> Result<Text> {
    if let Some((name, text)) = BUILT_IN.iter().find(|(built_in, _)| *built_in == name) {
        return Ok(Text { origin: format!("built-in:{name}"), text: (*text).to_owned() });
    }
    let path = Path::new(name);
    let path = if path.is_dir() { path.join("blueprint.yaml") } else { path.to_owned() };
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Text { origin: path.display().to_string(), text }),
        Err(cause) => {
            Err(Error::input(format!("`{name}` is neither a built-in blueprint nor a file that can be read"))
                .remedy("`standstill blueprints` lists the built-in ones; anything else is taken as a path.")
                .because(cause))
        }
    }
}

/// As [`find`], where a path is taken from the folder of the document that names it.
pub fn find_from(document: &Text, name: &str) -> Result<Text> {
    let built_in = BUILT_IN.iter().any(|(built_in, _)| *built_in == name);
    match Path::new(&document.origin).parent() {
        Some(folder) if !built_in => find(&folder.join(name).display().to_string()),
        _ => find(name),
    }
}

/// Whether a text says that it is a group.
pub fn is_group(text: &Text) -> bool {
    Source::parse(&text.origin, &text.text).is_ok_and(|source| language::is_group(&source))
}

/// Checks a blueprint; its warnings go to the log.
pub fn load(text: &Text, hooks: &dyn Hooks) -> Result<Blueprint> {
    match check(&text.origin, &text.text, hooks) {
        Ok((blueprint, warnings)) => {
            for warning in warnings {
                tracing::warn!("{}: {}", text.origin, warning.message);
            }
            Ok(blueprint)
        }
        Err(diagnostics) => Err(as_error(&text.origin, &diagnostics)),
    }
}

/// The blueprint that a test is of: the one beside the folder that the test is in.
fn tested(test: &Text, hooks: &dyn Hooks) -> Result<Blueprint> {
    let path = std::path::absolute(&test.origin).unwrap_or_else(|_| Path::new(&test.origin).to_owned());
    let folder = path.parent().and_then(Path::parent).unwrap_or(Path::new("."));
    load(&find(&folder.display().to_string())?, hooks)
}

/// Every mistake in a blueprint, a group or a test, with the rendered text of each.
pub fn mistakes(text: &Text, hooks: &dyn Hooks) -> Vec<(Diagnostic, String)> {
    let render = |diagnostic: Diagnostic| {
        let rendered = diagnostic.render_in(&text.origin, &text.text);
        (diagnostic, rendered)
    };
    let diagnostics = match Source::parse(&text.origin, &text.text) {
        Ok(source) if language::is_group(&source) => language::lint_group(&source, hooks, &|name| {
            let found = find_from(text, name)?;
            Ok((found.origin, found.text))
        }),
        Ok(source) if language::is_test(&source) => language::lint_test(&source, &tested(text, hooks)),
        Ok(source) => language::lint(&source, hooks),
        Err(diagnostics) => diagnostics,
    };
    diagnostics.into_iter().map(render).collect()
}
