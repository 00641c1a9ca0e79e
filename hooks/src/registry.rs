//! All hooks, by name: one line for each module of this crate.

use std::sync::Arc;

use standstill_core::hook::{Hook, Hooks};

/// The hooks that are built in.
pub struct Registry {
    hooks: Vec<Arc<dyn Hook>>,
}

impl Registry {
    /// All built-in hooks.
    pub fn new() -> Self {
        Self::of(vec![
            Arc::new(crate::etcd::Etcd),
            Arc::new(crate::filesystem::Filesystem),
            Arc::new(crate::mariadb::Mariadb),
            Arc::new(crate::mongodb::Mongodb),
            Arc::new(crate::mysql::Mysql),
            Arc::new(crate::postgresql::Postgresql),
            Arc::new(crate::redis::Redis),
            Arc::new(crate::sqlite::Sqlite),
        ])
    }

    fn of(mut hooks: Vec<Arc<dyn Hook>>) -> Self {
        hooks.sort_by_key(|hook| hook.describe().name);
        Self { hooks }
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl Hooks for Registry {
    fn get(&self, name: &str) -> Option<Arc<dyn Hook>> {
        self.hooks.iter().find(|hook| hook.describe().name == name).cloned()
    }

    fn names(&self) -> Vec<&'static str> {
        self.hooks.iter().map(|hook| hook.describe().name).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::Path};

    use super::*;

    /// The modules that are no hooks: the crate's map, this list, and what hooks share.
    const SHARED: &[&str] = &["helper", "lib", "mysql_protocol", "registry", "server"];

    /// The hooks' modules beside this one, as folders or files.
    fn modules() -> BTreeSet<String> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        std::fs::read_dir(source)
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
            .filter(|name| !SHARED.contains(&name.as_str()))
            .map(|name| name.replace('_', "-"))
            .collect()
    }

    #[test]
    fn the_registry_names_every_module() {
        let registry = Registry::new();
        let named: BTreeSet<String> = registry.names().into_iter().map(str::to_owned).collect();
        assert_eq!(named, modules());
        for name in registry.names() {
            assert_eq!(registry.get(name).unwrap().describe().name, name);
        }
    }

    #[test]
    fn a_connections_password_is_marked_secret_and_no_other_setting_is_taken_than_the_schema_has() {
        let registry = Registry::new();
        let schemas = registry.hooks.iter().filter_map(|hook| hook.describe().connection.as_ref());
        let mut seen = 0;
        for schema in schemas {
            assert_eq!(schema["properties"]["password"]["x-secret"], true, "{schema}");
            assert_eq!(schema["additionalProperties"], false, "{schema}");
            seen += 1;
        }
        assert!(seen > 4, "only {seen} hooks have a connection");
    }

    #[test]
    fn an_unknown_name_is_no_hook() {
        assert!(Registry::new().get("oracle").is_none());
    }
}
