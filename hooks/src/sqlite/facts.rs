//! Row counts as facts, and their comparison with a copy.

use std::path::Path;

use serde_json::Value;
use standstill_core::point::{Bound, Check, CheckOutcome, Fact};

use super::task::Count;

/// What a fact of one database file starts with, before the table's name.
fn prefix(file: &Path) -> String {
    format!("{}: rows in ", file.display())
}

/// Counts as facts: exact, or without a bound where counting did not come to an end.
pub(super) fn of(file: &Path, counts: &[Count]) -> Vec<Fact> {
    let prefix = prefix(file);
    counts
        .iter()
        .map(|count| Fact {
            name: format!("{prefix}{}", count.table),
            value: count.rows.map_or(Value::Null, Into::into),
            bound: if count.rows.is_some() { Bound::Exact } else { Bound::None },
        })
        .collect()
}

/// The tables that a file's facts are of.
pub(super) fn tables(file: &Path, facts: &[Fact]) -> Vec<String> {
    let prefix = prefix(file);
    facts.iter().filter_map(|fact| fact.name.strip_prefix(&prefix)).map(str::to_owned).collect()
}

/// Compares a file's facts with what a copy has.
pub(super) fn compare(file: &Path, facts: &[Fact], found: &[Count]) -> Vec<Check> {
    let prefix = prefix(file);
    let checks: Vec<Check> = facts
        .iter()
        .filter_map(|fact| {
            let table = fact.name.strip_prefix(&prefix)?;
            let count = found.iter().find(|count| count.table == table).and_then(|count| count.rows);
            Some(compare_one(fact, count))
        })
        .collect();
    if checks.is_empty() {
        return vec![Check {
            name: format!("facts of {}", file.display()),
            outcome: CheckOutcome::Skipped,
            detail: "the recovery point has no facts of this file".to_owned(),
        }];
    }
    checks
}

fn compare_one(fact: &Fact, found: Option<u64>) -> Check {
    let shown = found.map_or_else(|| "no such table".to_owned(), |rows| format!("{rows} rows"));
    let (outcome, detail) = match fact.agrees(&found.map_or(Value::Null, Into::into)) {
        None => (CheckOutcome::Skipped, format!("not counted at the cut; the copy has {shown}")),
        Some(true) => (CheckOutcome::Passed, shown),
        Some(false) => (CheckOutcome::Failed, format!("expected {}, found {shown}", fact.value)),
    };
    Check { name: fact.name.clone(), outcome, detail }
}

#[cfg(test)]
mod tests {
    use CheckOutcome::{Failed, Passed, Skipped};

    use super::*;

    fn count(table: &str, rows: Option<u64>) -> Count {
        Count { table: table.to_owned(), rows }
    }

    #[test]
    fn a_missing_table_a_missing_row_and_an_unknown_count_are_told_apart() {
        let file = Path::new("app.db");
        let facts =
            of(file, &[count("a", Some(3)), count("b", Some(5)), count("c", None), count("d", Some(0))]);
        assert_eq!(tables(file, &facts), ["a", "b", "c", "d"]);
        let checks = compare(
            file,
            &facts,
            &[count("a", Some(3)), count("b", Some(4)), count("c", Some(1)), count("d", None)],
        );
        let outcomes: Vec<_> = checks.iter().map(|check| check.outcome).collect();
        assert_eq!(outcomes, [Passed, Failed, Skipped, Failed]);
        assert_eq!(checks[1].detail, "expected 5, found 4 rows");
        assert_eq!(checks[3].detail, "expected 0, found no such table");
    }

    #[test]
    fn facts_of_another_file_prove_nothing() {
        let facts = of(Path::new("other.db"), &[count("a", Some(3))]);
        let checks = compare(Path::new("app.db"), &facts, &[]);
        assert_eq!(checks.len(), 1);
        assert_eq!(checks[0].outcome, CheckOutcome::Skipped);
    }
}
