//! Each mistake once: a good blueprint with one thing changed, and all that lint says about it.

mod hooks;
mod mistakes;
mod properties;

use self::hooks::FakeHooks;
use super::*;

/// The design's own example.
const POSTGRESQL: &str = include_str!("postgresql.yaml");
/// Everything else that the language has.
const OWN: &str = include_str!("own.yaml");

/// All that lint says about a text, as the command line shows it.
fn linted(text: &str) -> String {
    let faults = match Source::parse("b.yaml", text) {
        Ok(source) => lint(&source, &FakeHooks::new()),
        Err(faults) => faults,
    };
    faults.iter().map(|fault| fault.render_in("b.yaml", text)).collect::<Vec<_>>().join("\n")
}

/// A text with something in it replaced, which must be there.
fn with(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "`{from}` is not in the blueprint");
    text.replacen(from, to, 1)
}

#[test]
fn the_example_of_the_design_is_clean() {
    assert_eq!(linted(POSTGRESQL), "");
    let (blueprint, warnings) = check("b.yaml", POSTGRESQL, &FakeHooks::new()).unwrap();
    assert_eq!(blueprint.metadata.name, "postgresql");
    assert_eq!(warnings, []);
}

#[test]
fn a_blueprint_with_everything_else_is_clean() {
    assert_eq!(linted(OWN), "");
}
