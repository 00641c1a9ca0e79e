//! Corrections to a tree that the archiver wrote.
//!
//! The archiver takes a file's metadata before it reads the content. The size of a stream is known only after it,
//! so is that of a file that shrank meanwhile, and restic restores a file by the size in its node. Files that must
//! be read last are put into place here too, because the archiver reads in the order of the paths.
//!
//! Only the trees on the way to a correction are written again, as one pack of uncompressed tree blobs.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    path::{Component, Path, PathBuf},
};

use jiff::Timestamp;
use rustic_core::{
    FileType, TreeId,
    repofile::{Node, Tree},
};
use serde_json::json;
use standstill_core::{Error, Result};

use crate::{
    fault::{self, Attempt},
    gate::path,
    seal::digest,
    store::{Indexed, Store},
};

/// One correction, at a path of the snapshot.
#[derive(Debug, Clone)]
pub(crate) enum Fix {
    /// The file's true size.
    Size(u64),
    /// The whole node, in the place of the one of that name, if there is one.
    Node(Box<Node>),
}

/// Corrections below one directory, by name.
#[derive(Default)]
struct Fixes {
    here: BTreeMap<OsString, Fix>,
    below: BTreeMap<OsString, Fixes>,
}

impl Fixes {
    fn add(&mut self, path: &Path, fix: Fix) {
        let mut names: Vec<&OsStr> = path
            .components()
            .filter_map(|part| if let Component::Normal(name) = part { Some(name) } else { None })
            .collect();
        let Some(last) = names.pop() else { return };
        let mut fixes = self;
        for name in names {
            fixes = fixes.below.entry(name.to_owned()).or_default();
        }
        fixes.here.insert(last.to_owned(), fix);
    }
}

/// Applies corrections to a tree; returns the id of the corrected one, which is in the repository then.
pub(crate) fn amend(store: &Store, tree: TreeId, fixes: Vec<(PathBuf, Fix)>) -> Result<TreeId> {
    if fixes.is_empty() {
        return Ok(tree);
    }
    let mut sorted = Fixes::default();
    for (path, fix) in fixes {
        sorted.add(&path, fix);
    }
    let indexed = store.indexed()?;
    let mut trees = NewTrees { indexed: &indexed, new: Vec::new() };
    let amended = trees.apply(tree, sorted)?;
    if !trees.new.is_empty() {
        write_trees(store, &trees.new)?;
    }
    Ok(amended)
}

struct NewTrees<'a> {
    indexed: &'a Indexed,
    new: Vec<(TreeId, Vec<u8>)>,
}

impl NewTrees<'_> {
    fn apply(&mut self, id: TreeId, fixes: Fixes) -> Result<TreeId> {
        let mut tree =
            self.indexed.get_tree(&id).map_err(|error| fault::reading(&error, "a directory just stored"))?;
        for (name, below) in fixes.below {
            let node = find(&mut tree, &name)?;
            let subtree = node.subtree.ok_or_else(|| lost(&name))?;
            node.subtree = Some(self.apply(subtree, below)?);
        }
        for (name, fix) in fixes.here {
            match fix {
                Fix::Size(size) => find(&mut tree, &name)?.meta.size = size,
                Fix::Node(node) => {
                    tree.nodes.retain(|other| other.name() != name.as_os_str());
                    let place = tree.nodes.partition_point(|other| *other.name() < *name);
                    tree.nodes.insert(place, *node);
                }
            }
        }
        let (bytes, id) = tree
            .serialize()
            .map_err(|cause| Error::failed("a directory cannot be written down").because(cause))?;
        let known = self.indexed.get_index_entry(&id).is_ok() || self.new.iter().any(|(new, _)| *new == id);
        if !known {
            self.new.push((id, bytes));
        }
        Ok(id)
    }
}

fn find<'a>(tree: &'a mut Tree, name: &OsStr) -> Result<&'a mut Node> {
    tree.nodes.iter_mut().find(|node| node.name() == name).ok_or_else(|| lost(name))
}

fn lost(name: &OsStr) -> Error {
    Error::failed(format!("`{}` was stored, but is not in its directory", name.display()))
        .remedy("Run the backup again.")
}

/// restic's number for an uncompressed tree blob in the header of a pack.
const PLAIN_TREE_BLOB: u8 = 1;

/// Writes one pack of trees, and an index file that names it.
fn write_trees(store: &Store, trees: &[(TreeId, Vec<u8>)]) -> Result<()> {
    let too_large = |_| Error::failed("a directory has too many entries to be stored");
    let (mut pack, mut header, mut blobs) = (Vec::new(), Vec::new(), Vec::new());
    for (id, plain) in trees {
        let sealed = store.seal.encrypt(plain)?;
        let offset = u32::try_from(pack.len()).map_err(too_large)?;
        let length = u32::try_from(sealed.len()).map_err(too_large)?;
        let hex = id.to_hex();
        header.push(PLAIN_TREE_BLOB);
        header.extend(length.to_le_bytes());
        header.extend(id_bytes(hex.as_str()));
        blobs.push(json!({"id": hex.as_str(), "type": "tree", "offset": offset, "length": length}));
        pack.extend(sealed);
    }
    let header = store.seal.encrypt(&header)?;
    let header_length = u32::try_from(header.len()).map_err(too_large)?;
    pack.extend(header);
    pack.extend(header_length.to_le_bytes());
    u32::try_from(pack.len()).map_err(too_large)?;
    let id = digest(&pack);
    let message = "the corrected directories cannot be written to the repository";
    store.objects.write(&path(FileType::Pack, &id), vec![pack.into()]).attempt(message)?;
    let index = json!({"packs": [{"id": id.to_hex().as_str(), "time": Timestamp::now(), "blobs": blobs}]});
    store.write_sealed(FileType::Index, index.to_string().as_bytes())?;
    Ok(())
}

/// The bytes of an id, which the library shows only as hexadecimal digits.
fn id_bytes(hex: &str) -> impl Iterator<Item = u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
    let pairs = digits.chunks_exact(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap_or_default());
    pairs.collect::<Vec<u8>>().into_iter()
}
