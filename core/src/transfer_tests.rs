//! What is written down is read back; what no runner writes down is refused.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{ErrorKind, repository::TreeSelection};

const RUN: &str = "019a3f0c8b2d7e4fa1b2c3d4e5f60718";

fn put() -> TransferSpec {
    TransferSpec::PutTree(PutTree {
        run: RUN.parse().unwrap(),
        application: "shop".into(),
        artifact: "data".into(),
        kind: ArtifactKind::Volume,
        root: "/volume".into(),
        original: "/var/lib/app".into(),
        selection: TreeSelection {
            exclude: vec!["*.pid".into()],
            tolerate_changes: true,
            last: vec!["global/pg_control".into()],
        },
        cut_at: Some("2026-11-22T12:00:00.25Z".parse().unwrap()),
    })
}

fn stored() -> StoredArtifact {
    StoredArtifact {
        name: "data".into(),
        kind: ArtifactKind::Volume,
        snapshot: "ab".repeat(32),
        bytes: 42,
        stored_bytes: 17,
        files: 3,
        blake3: None,
        tree_id: Some("cd".repeat(32)),
        kept: None,
    }
}

fn get() -> TransferSpec {
    TransferSpec::GetTree(GetTree { artifact: stored(), destination: "/restored".into() })
}

/// A spec with one place of its written form replaced; the place is given as a JSON pointer.
fn with(spec: &TransferSpec, pointer: &str, value: Value) -> Result<TransferSpec, String> {
    let mut written = serde_json::to_value(spec).unwrap();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    written.pointer_mut(parent).unwrap()[key] = value;
    serde_json::from_value(written).map_err(|error| error.to_string())
}

#[track_caller]
fn refused(spec: &TransferSpec, pointer: &str, value: impl Into<Value>, says: &str) {
    let error = with(spec, pointer, value.into()).unwrap_err();
    assert!(error.contains(says), "`{says}` is not said by: {error}");
}

#[test]
fn what_is_written_down_is_read_back() {
    for spec in [put(), get()] {
        let written = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<TransferSpec>(&written).unwrap(), spec, "{written}");
    }
}

#[test]
fn the_written_form_is_what_it_was() {
    let written = json!({
        "version": 1,
        "putTree": {
            "run": RUN,
            "application": "shop",
            "artifact": "data",
            "kind": "volume",
            "root": "/volume",
            "original": "/var/lib/app",
            "selection": {"exclude": ["*.pid"], "tolerateChanges": true, "last": ["global/pg_control"]},
            "cutAt": "2026-11-22T12:00:00.25Z"
        }
    });
    assert_eq!(serde_json::to_value(put()).unwrap(), written);
}

#[test]
fn another_version_or_a_field_that_is_not_known_is_refused() {
    refused(&put(), "/version", 2, "version 2");
    refused(&put(), "/putStream", json!({}), "putStream");
    refused(&put(), "/putTree/owner", "root", "owner");
    refused(&put(), "/putTree/selection/follow", true, "follow");
    refused(&get(), "/getTree/overwrite", true, "overwrite");
    refused(&get(), "/getTree/artifact/path", "/", "path");
    let none = serde_json::from_value::<TransferSpec>(json!({"version": 1})).unwrap_err();
    assert!(none.to_string().contains("exactly one of `putTree` and `getTree`"), "{none}");
    let written = serde_json::to_value(get()).unwrap();
    refused(&put(), "/getTree", written["getTree"].clone(), "exactly one of");
}

#[test]
fn paths_that_lead_elsewhere_are_refused() {
    for path in ["", "relative", "./here", "/", "/../etc", "/data/../../etc"] {
        refused(&put(), "/putTree/root", path, "`root` is");
        refused(&put(), "/putTree/original", path, "`original` is");
        refused(&get(), "/getTree/destination", path, "`destination` is");
    }
    for path in ["", "/etc/passwd", "..", "a/../../b", "./a"] {
        refused(&put(), "/putTree/selection/last", json!([path]), "`last` names");
    }
}

#[test]
fn names_that_are_none_are_refused() {
    refused(&put(), "/putTree/run", "../../etc", "not the id of a run");
    refused(&put(), "/putTree/run", RUN.to_uppercase(), "not the id of a run");
    for name in ["", "..", "a b", "a,run=other", "a\nb", "/a"] {
        refused(&put(), "/putTree/artifact", name, "not the name of an artifact");
        refused(&get(), "/getTree/artifact/name", name, "not the name of an artifact");
    }
    refused(&put(), "/putTree/kind", "stream", "a stream, not a tree");
    refused(&get(), "/getTree/artifact/kind", "stream", "a stream, not a tree");
}

#[test]
fn the_lines_are_what_they_were() {
    let failure = Failure::from(&Error::input("no such thing").remedy("Look again."));
    let lines = [
        (TransferLine::Advance(7), json!({"advance": 7})),
        (TransferLine::Expect(9), json!({"expect": 9})),
        (TransferLine::Report(TransferReport::Stored(stored())), json!({"report": {"stored": stored()}})),
        (
            TransferLine::Report(TransferReport::Restored(Restored { entries: 2, bytes: 3 })),
            json!({"report": {"restored": {"entries": 2, "bytes": 3}}}),
        ),
        (
            TransferLine::Error(failure),
            json!({"error": {"kind": "input", "message": "no such thing", "remedy": "Look again."}}),
        ),
    ];
    for (line, written) in lines {
        assert_eq!(serde_json::to_value(&line).unwrap(), written);
        assert_eq!(serde_json::from_value::<TransferLine>(written).unwrap(), line);
    }
}

#[test]
fn a_report_of_something_else_is_no_report_of_this_transfer() {
    assert_eq!(put().stored(TransferReport::Stored(stored())).unwrap(), stored());
    let whole = Restored { entries: 4, bytes: 42 };
    assert_eq!(get().restored(TransferReport::Restored(whole)).unwrap(), whole);

    let other = StoredArtifact { name: "wal".into(), ..stored() };
    let files = StoredArtifact { kind: ArtifactKind::Files, ..stored() };
    let short = Restored { bytes: 41, ..whole };
    let wrong = [
        put().stored(TransferReport::Stored(other)).map(drop),
        put().stored(TransferReport::Stored(files)).map(drop),
        put().stored(TransferReport::Restored(whole)).map(drop),
        get().restored(TransferReport::Stored(stored())).map(drop),
        get().restored(TransferReport::Restored(short)).map(drop),
    ];
    for outcome in wrong {
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Failed);
        assert!(error.to_string().contains("artifact data reported something else"), "{error}");
    }
}

proptest! {
    /// Whatever is read is either refused or plain.
    #[test]
    fn no_path_that_is_accepted_leads_upwards(path in "[a-z./]{0,12}") {
        if let Ok(TransferSpec::PutTree(put)) = with(&put(), "/putTree/root", path.clone().into()) {
            prop_assert!(put.root.is_absolute());
            prop_assert!(!put.root.components().any(|part| part == Component::ParentDir));
            prop_assert_ne!(&put.root, Path::new("/"));
        }
        if let Ok(TransferSpec::PutTree(put)) = with(&put(), "/putTree/selection/last", json!([path])) {
            let below = Path::new("/volume").join(&put.selection.last[0]);
            prop_assert!(below.starts_with("/volume") && below != Path::new("/volume"));
            prop_assert!(!below.components().any(|part| part == Component::ParentDir));
        }
    }
}
