//! What the pages of the blueprints that ship promise, for tests that hold them to it.

use std::{fs, path::Path};

/// The text of a shipped blueprint's page.
pub fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../blueprints").join(name).join("README.md");
    fs::read_to_string(&path).unwrap_or_else(|cause| panic!("{}: {cause}", path.display()))
}

/// What a shipped blueprint's page gives as the least that its user needs: statements to be run.
#[track_caller]
pub fn least(name: &str) -> String {
    let page = page(name);
    let (_, section) = page.split_once("\n## The least that the ").expect("a section on rights");
    let (_, block) = section.split_once("\n```").expect("a block of statements");
    let (block, _) = block.split_once("\n```\n").expect("an end of the block");
    block.split_once('\n').expect("a first line").1.to_owned()
}
