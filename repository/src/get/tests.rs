//! Trees that no backup of ours makes: somebody who has the password wrote them.

use std::{fs, path::Path, sync::Arc};

use rustic_core::repofile::{Metadata, Node, NodeType};
use standstill_core::{
    Error, ErrorKind,
    point::{ArtifactKind, RunId, StoredArtifact},
    repository::{NoProgress, PutTree, TreeSelection},
    secret::Secret,
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::tree;
use crate::{
    location::Location,
    open,
    put::{
        self,
        amend::{Fix, amend},
    },
    store::Store,
};

fn store_in(home: &TempDir) -> Store {
    let location = Location::Directory(home.path().join("repository"));
    open::init(&location, &Secret::new("a password of the tests")).unwrap()
}

/// A stored tree of one file, whose nodes were then replaced.
fn stored(store: &Store, home: &TempDir, replace: impl FnOnce(&Node) -> Node) -> StoredArtifact {
    let root = home.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("file"), "content").unwrap();
    let request = PutTree {
        run: RunId::generate(),
        application: "app".into(),
        artifact: "data".into(),
        kind: ArtifactKind::Volume,
        root,
        original: "/srv/data".into(),
        selection: TreeSelection::default(),
        cut_at: None,
    };
    let mut artifact =
        put::tree::put(store, &request, Arc::new(NoProgress), &CancellationToken::new()).unwrap();
    let mut snapshot = super::snapshot(store, &artifact).unwrap();
    let node = store.indexed().unwrap().node_from_path(snapshot.tree, Path::new("/srv/data/file")).unwrap();
    let fix = Fix::Node(Box::new(replace(&node)));
    snapshot.tree = amend(store, snapshot.tree, vec![("/srv/data/file".into(), fix)]).unwrap();
    artifact.snapshot = store.write_snapshot(snapshot).unwrap().id.to_hex().as_str().to_owned();
    artifact
}

fn restored(store: &Store, artifact: &StoredArtifact, home: &TempDir) -> Result<(), Error> {
    let back = home.path().join("back");
    fs::create_dir(&back).unwrap();
    tree::get(store, artifact, &back, Arc::new(NoProgress), CancellationToken::new()).map(drop)
}

#[test]
fn a_name_that_leads_out_of_the_destination_is_refused() {
    for name in ["../evil", "/evil", "..", ".", "", "a/b", "nul\\x00"] {
        let home = tempfile::tempdir().unwrap();
        let store = store_in(&home);
        let artifact = stored(&store, &home, |node| Node { name: name.to_owned(), ..node.clone() });
        let error = restored(&store, &artifact, &home).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged, "{name}: {error}");
        assert_eq!(fs::read_dir(home.path().join("back")).unwrap().count(), 0, "{name}");
        assert!(!home.path().join("evil").exists());
    }
}

#[test]
fn a_file_that_claims_another_size_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let store = store_in(&home);
    let artifact = stored(&store, &home, |node| {
        let meta = Metadata { size: 3, ..node.meta.clone() };
        Node { meta, ..node.clone() }
    });
    assert_eq!(restored(&store, &artifact, &home).unwrap_err().kind(), ErrorKind::Damaged);
}

#[test]
fn a_device_is_not_made() {
    let home = tempfile::tempdir().unwrap();
    let store = store_in(&home);
    let artifact = stored(&store, &home, |node| {
        let meta = Metadata { size: 0, ..node.meta.clone() };
        Node { node_type: NodeType::Dev { device: 0x0801 }, content: None, meta, ..node.clone() }
    });
    // What is left out is missed: the artifact has fewer bytes than were stored.
    assert_eq!(restored(&store, &artifact, &home).unwrap_err().kind(), ErrorKind::Damaged);
    assert_eq!(fs::read_dir(home.path().join("back")).unwrap().count(), 0);
}

#[test]
fn a_directory_that_is_also_a_link_is_not_followed() {
    let home = tempfile::tempdir().unwrap();
    let store = store_in(&home);
    let outside = home.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let target = outside.clone();
    // `file` becomes a link to the outside, and after it comes a directory of the same name.
    let artifact = stored(&store, &home, |node| Node {
        node_type: NodeType::from_link(&target),
        content: None,
        ..node.clone()
    });
    let mut snapshot = super::snapshot(&store, &artifact).unwrap();
    let indexed = store.indexed().unwrap();
    let directory = indexed.node_from_path(snapshot.tree, Path::new("/srv")).unwrap();
    let evil = Node { name: "file2".to_owned(), ..directory };
    let fix = Fix::Node(Box::new(evil));
    snapshot.tree = amend(&store, snapshot.tree, vec![("/srv/data/file2".into(), fix)]).unwrap();
    // `file2` sorts after `file`; its escaped name is the same as the link's once it is read back.
    let node = store.indexed().unwrap().node_from_path(snapshot.tree, Path::new("/srv/data/file2")).unwrap();
    let same = Fix::Node(Box::new(Node { name: "\\x66ile".to_owned(), ..node }));
    snapshot.tree = amend(&store, snapshot.tree, vec![("/srv/data/file2".into(), same)]).unwrap();
    let id = store.write_snapshot(snapshot).unwrap().id;
    let artifact = StoredArtifact { snapshot: id.to_hex().as_str().to_owned(), ..artifact };
    restored(&store, &artifact, &home).unwrap_err();
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}
