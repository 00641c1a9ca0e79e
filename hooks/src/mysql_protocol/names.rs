//! Names of tables in facts: `app.orders`, with backquotes only where they are needed.

use crate::server::names::{parts, quoted};

/// A table's schema and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    /// The schema (database).
    pub schema: String,
    /// The table.
    pub table: String,
}

impl Name {
    /// For statements.
    pub fn sql(&self) -> String {
        format!("{}.{}", quoted(&self.schema, '`'), quoted(&self.table, '`'))
    }

    /// Reads what [`std::fmt::Display`] shows; `None` if it is not such a name.
    pub fn read(text: &str) -> Option<Self> {
        let [schema, table] = <[String; 2]>::try_from(parts(text, '`')?).ok()?;
        Some(Self { schema, table })
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = |name: &str| {
            let plain =
                name.chars().all(|character| character.is_ascii_alphanumeric() || "_$".contains(character));
            if plain { name.to_owned() } else { quoted(name, '`') }
        };
        write!(formatter, "{}.{}", shown(&self.schema), shown(&self.table))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_back_as_it_is_shown() {
        for (schema, table) in [("app", "orders"), ("my.db", "odd `name`"), ("größe", "t 1")] {
            let name = Name { schema: schema.into(), table: table.into() };
            assert_eq!(Name::read(&name.to_string()), Some(name));
        }
        let plain = Name { schema: "app".into(), table: "orders".into() };
        assert_eq!(plain.to_string(), "app.orders");
        assert_eq!(Name::read("rows"), None);
        assert_eq!(Name::read("a.b.c"), None);
    }
}
