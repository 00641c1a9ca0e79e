//! Which entries of a tree are left out.

use std::path::Path;

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};

use crate::{Error, Result};

/// Compiled exclusion patterns, as the language writes them.
///
/// Without a slash a pattern matches a name at any depth; with one, the whole path relative to the root.
#[derive(Debug, Clone)]
pub struct Filter {
    /// Patterns without a slash: they match a name at any depth.
    names: GlobSet,
    /// Patterns with a slash: they match the whole path relative to the root.
    paths: GlobSet,
}

impl Filter {
    /// Compiles the patterns.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Input`] for one that is no pattern.
    pub fn new(patterns: &[String]) -> Result<Self> {
        let (mut names, mut paths) = (GlobSetBuilder::new(), GlobSetBuilder::new());
        for pattern in patterns {
            let set = if pattern.contains('/') { &mut paths } else { &mut names };
            set.add(compile(pattern)?);
        }
        Ok(Self { names: build(&names)?, paths: build(&paths)? })
    }

    /// Whether an entry is left out, with everything below it.
    pub fn excludes(&self, relative: &Path) -> bool {
        relative.file_name().is_some_and(|name| self.names.is_match(name)) || self.paths.is_match(relative)
    }
}

fn compile(pattern: &str) -> Result<Glob> {
    // `*` stays within a name; `**` crosses slashes.
    GlobBuilder::new(pattern.trim_matches('/')).literal_separator(true).backslash_escape(true).build().map_err(|cause| {
        Error::input(format!("`{pattern}` is not an exclusion pattern"))
            .remedy("Write a name, a path relative to the root, or one with `*`, `**`, `?`, `[…]` or `{a,b}`.")
            .because(cause)
    })
}

fn build(set: &GlobSetBuilder) -> Result<GlobSet> {
    set.build().map_err(|cause| Error::input("the exclusion patterns are too large together").because(cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excluded(patterns: &[&str], path: &str) -> bool {
        let patterns: Vec<String> = patterns.iter().map(ToString::to_string).collect();
        Filter::new(&patterns).unwrap().excludes(Path::new(path))
    }

    #[test]
    fn a_pattern_without_a_slash_matches_a_name_at_any_depth() {
        assert!(excluded(&["postmaster.pid"], "postmaster.pid"));
        assert!(excluded(&["pgsql_tmp*"], "base/pgsql_tmp/pgsql_tmp1.2"));
        assert!(!excluded(&["pgsql_tmp*"], "base/1/pgsql"));
    }

    #[test]
    fn a_pattern_with_a_slash_matches_the_whole_path() {
        assert!(excluded(&["pg_wal/*"], "pg_wal/000000010000000000000001"));
        assert!(!excluded(&["pg_wal/*"], "pg_wal"));
        assert!(!excluded(&["pg_wal/*"], "old/pg_wal/x"));
        assert!(!excluded(&["base/*"], "base/1/2"));
        assert!(excluded(&["base/**"], "base/1/2"));
    }

    #[test]
    fn what_is_no_pattern_is_refused_by_its_text() {
        let error = Filter::new(&["[".to_owned()]).unwrap_err();
        assert!(error.to_string().contains("`[`"), "{error}");
    }
}
