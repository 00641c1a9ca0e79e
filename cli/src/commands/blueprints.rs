//! `standstill blueprints`.

use serde_json::json;
use standstill_core::Result;

use crate::{
    arguments::Global,
    blueprint::{BUILT_IN, find, load},
    output, wiring,
};

/// Lists the built-in blueprints.
pub fn list(global: &Global) -> Result<u8> {
    let hooks = wiring::hooks();
    let mut rows = Vec::new();
    for (name, _) in BUILT_IN {
        let blueprint = load(&find(name)?, hooks.as_ref())?;
        rows.push(((*name).to_owned(), blueprint.spec.summary));
    }
    let document: Vec<_> =
        rows.iter().map(|(name, summary)| json!({"name": name, "summary": summary})).collect();
    output::result(global, &document, || {
        let rows: Vec<Vec<String>> =
            rows.iter().map(|(name, summary)| vec![name.clone(), summary.clone()]).collect();
        output::table(&["NAME", "SUMMARY"], &rows)
    })?;
    Ok(output::DONE)
}
