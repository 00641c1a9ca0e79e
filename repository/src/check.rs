//! Looking for damage.

use std::collections::BTreeSet;

use rustic_core::{CheckOptions, FileType, Id, repofile::IndexFile};
use standstill_core::{Result, repository::CheckReport};

use crate::{
    fault::{self, Attempt},
    gate::path,
    records::Records,
    seal::digest,
    store::Store,
};

/// Checks the repository: every file that is named by its hash and small, the index against the packs, all trees,
/// all records; with `read_data` also every pack that is in use.
pub(crate) fn check(store: &Store, read_data: bool) -> Result<CheckReport> {
    let _lock = store.locks.reading()?;
    let mut report = CheckReport::default();
    check_hashes(store, FileType::Key, &mut report)?;
    check_hashes(store, FileType::Snapshot, &mut report)?;
    let sound = check_hashes(store, FileType::Index, &mut report)?;
    if !sound {
        // Nothing can be found without the index; what it says about the rest would only mislead.
        return Ok(report);
    }
    check_records(store, &mut report)?;
    check_content(store, &mut report)?;
    if read_data {
        check_packs(store, &mut report)?;
    }
    Ok(report)
}

/// Compares files with their names. Returns whether all are right.
fn check_hashes(store: &Store, kind: FileType, report: &mut CheckReport) -> Result<bool> {
    let before = report.damage.len();
    for id in store.list(kind, &format!("the files of type {kind} cannot be listed"))? {
        let content = match store.objects.read(&path(kind, &id)) {
            Ok(content) => content,
            // Removed by another process since it was listed.
            Err(_) if !store.list(kind, "the repository cannot be listed")?.contains(&id) => continue,
            Err(error) => return Err(error).attempt(format!("the {kind} file {id} cannot be read")),
        };
        if digest(&content) != id {
            report.damage.push(format!("The {kind} file {} is not what was written.", id.to_hex().as_str()));
        }
    }
    Ok(report.damage.len() == before)
}

fn check_records(store: &Store, report: &mut CheckReport) -> Result<()> {
    let records = match Records::read(store) {
        Ok(records) => records,
        Err(error) if error.kind() == standstill_core::ErrorKind::Damaged => {
            report.damage.push(sentence(&error.chain()));
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    for (run, why) in &records.unreadable {
        let of = run.as_ref().map_or_else(String::new, |run| format!(" of run {run}"));
        report.damage.push(sentence(&format!("A record{of} cannot be read: {why}")));
    }
    for found in &records.points {
        let missing = records.missing(&found.record);
        if !missing.is_empty() {
            let (id, names) = (&found.record.id, missing.join(", "));
            report.damage.push(format!(
                "The recovery point {id} is not listed any more: its artifacts {names} are gone."
            ));
        }
    }
    report.recovery_points = records.listed().len() as u64;
    Ok(())
}

/// The library's own check, which compares index, packs and trees.
fn check_content(store: &Store, report: &mut CheckReport) -> Result<()> {
    let results = match store.open().check(CheckOptions::default()) {
        Ok(results) => results,
        Err(error) if fault::is_damage(&error) => {
            report.damage.push(sentence(&fault::one_line(&error)));
            return Ok(());
        }
        Err(error) => return Err(error).attempt("the repository cannot be checked"),
    };
    for (level, finding) in results.0 {
        // The level's type has no public name. Warnings are about packs that nothing refers to: leftovers of
        // uploads that were broken off, which the next prune removes.
        if format!("{level:?}") == "Error" {
            report.damage.push(sentence(&describe(&finding)));
        }
    }
    Ok(())
}

/// Reads every pack that the index knows, and compares it with its name, which is its hash.
///
/// The library could read them too, but panics when a thread of its own is slow to end (0.13, `into_index`).
fn check_packs(store: &Store, report: &mut CheckReport) -> Result<()> {
    for pack in packs_in_use(store)? {
        match store.objects.read(&path(FileType::Pack, &pack)) {
            Ok(content) => {
                report.bytes_read += content.len() as u64;
                if digest(&content) != pack {
                    let id = pack.to_hex();
                    report.damage.push(format!("The pack file {} is not what was written.", id.as_str()));
                }
            }
            // That it is gone was found by comparing the index with the packs.
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {}
            Err(cause) => {
                let id = pack.to_hex();
                report
                    .damage
                    .push(sentence(&format!("The pack file {} cannot be read: {cause}", id.as_str())));
            }
        }
    }
    Ok(())
}

/// A finding with its cause.
fn describe(finding: &dyn std::error::Error) -> String {
    let text = finding.to_string();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The packs that the index knows.
fn packs_in_use(store: &Store) -> Result<BTreeSet<Id>> {
    let mut packs = BTreeSet::new();
    for index in store.open().stream_files::<IndexFile>().attempt("the index cannot be read")? {
        let (_, index) = index.attempt("the index cannot be read")?;
        packs.extend(index.packs.iter().map(|pack| *pack.id));
    }
    Ok(packs)
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    let text = format!("{first}{}", letters.as_str());
    if text.ends_with('.') { text } else { format!("{text}.") }
}
