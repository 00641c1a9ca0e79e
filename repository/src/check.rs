//! Looking for damage.

use rustic_core::{CheckOptions, FileType, repofile::IndexFile};
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
    check_content(store, read_data, &mut report)?;
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

/// The library's own check, which compares index, packs and trees, and reads packs.
fn check_content(store: &Store, read_data: bool, report: &mut CheckReport) -> Result<()> {
    let results = match store.open().check(CheckOptions::default().read_data(read_data)) {
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
    if read_data {
        report.bytes_read = bytes_in_use(store)?;
    }
    Ok(())
}

/// A finding with its cause.
fn describe(finding: &dyn std::error::Error) -> String {
    let text = finding.to_string();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The size of the packs that the index knows.
fn bytes_in_use(store: &Store) -> Result<u64> {
    let mut bytes = 0;
    for index in store.open().stream_files::<IndexFile>().attempt("the index cannot be read")? {
        let (_, index) = index.attempt("the index cannot be read")?;
        bytes += index.packs.iter().map(|pack| u64::from(pack.pack_size())).sum::<u64>();
    }
    Ok(bytes)
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    let text = format!("{first}{}", letters.as_str());
    if text.ends_with('.') { text } else { format!("{text}.") }
}
