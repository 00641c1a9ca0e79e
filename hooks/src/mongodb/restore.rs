//! The verb `restore`: puts what a dump has into a server that has nothing of it.

use std::{
    collections::BTreeSet,
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
    time::Duration,
};

use bson::{RawArrayBuf, RawDocumentBuf, doc, raw::cstr};
use schemars::JsonSchema;
use serde::Deserialize;
use standstill_core::{
    Error, Result,
    hook::{Called, HookContext},
    point::Outputs,
};

use super::{
    archive::{Announced, Archive, Part},
    collections::collections,
    session::Session,
};

/// How long a batch, a collection or its indexes may take; the step's own timeout is usually shorter.
const LONG: Duration = Duration::from_hours(24);
/// How many bytes of documents are put at once: far below the longest message.
const BATCH: usize = 8 * 1024 * 1024;
/// How many documents are put at once (`maxWriteBatchSize` is 100,000).
const DOCUMENTS: usize = 10_000;

/// What `restore` is told.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Arguments {
    /// The dump's file.
    file: PathBuf,
}

/// Restores.
///
/// # Errors
/// [`standstill_core::ErrorKind::Input`] when a collection is there already, `Damaged` when the dump is not whole.
pub(super) async fn restore(context: &HookContext, arguments: Arguments) -> Result<Called> {
    let mut archive = Archive::open(open(&arguments.file)?)?;
    let session = Session::open(context).await?;
    nothing_there(&session, &archive.announced).await?;
    for collection in archive.announced.iter().filter(|collection| !collection.view) {
        create(&session, collection).await?;
    }
    let mut batch = Batch::default();
    let mut documents = 0;
    loop {
        if context.cancel.is_cancelled() {
            return Err(Error::cancelled("cancelled on restoring MongoDB"));
        }
        match archive.next()? {
            Part::Document(number, document) => {
                let collection = &archive.announced[number];
                batch.take(document);
                if batch.is_full() {
                    batch.put(&session, collection).await?;
                }
            }
            Part::Complete(number, count) => {
                let collection = &archive.announced[number];
                batch.put(&session, collection).await?;
                index(&session, collection).await?;
                documents += count;
            }
            Part::End => break,
        }
    }
    // They may look at any collection.
    for view in archive.announced.iter().filter(|collection| collection.view) {
        create(&session, view).await?;
    }
    Ok(Called { outputs: Outputs::from([("documents".into(), documents.into())]), ..Called::default() })
}

fn open(file: &Path) -> Result<BufReader<File>> {
    let opened = File::open(file).map_err(|cause| {
        Error::failed(format!("the dump {} cannot be read", file.display())).because(cause)
    })?;
    Ok(BufReader::with_capacity(1024 * 1024, opened))
}

/// Refuses a server that has one of the collections: what is there is never replaced.
async fn nothing_there(session: &Session, announced: &[Announced]) -> Result<()> {
    let databases: BTreeSet<&str> = announced.iter().map(|collection| collection.database.as_str()).collect();
    for database in databases {
        for entry in collections(session, database).await? {
            let name = entry.get_str("name").unwrap_or_default();
            if announced.iter().any(|collection| collection.database == database && collection.name == name) {
                return Err(Error::input(format!(
                    "{database}.{name} is there already at {}",
                    session.place()
                ))
                .remedy("Restore into a server without it, or drop it yourself first."));
            }
        }
    }
    Ok(())
}

async fn create(session: &Session, collection: &Announced) -> Result<()> {
    let mut command = doc! {"create": &collection.name};
    command.extend(collection.options.clone());
    let attempt = format!("create {}", collection.namespace());
    session.run(&collection.database, LONG, &attempt, command).await.map(drop)
}

/// Its indexes, after its documents: building them once is quicker, and a document that a unique one refuses is named.
async fn index(session: &Session, collection: &Announced) -> Result<()> {
    let own = |index: &&bson::Document| index.get_str("name").is_ok_and(|name| name != "_id_");
    let indexes: Vec<bson::Document> = collection.indexes.iter().filter(own).cloned().collect();
    if indexes.is_empty() {
        return Ok(());
    }
    let attempt = format!("make the indexes of {}", collection.namespace());
    let command = doc! {"createIndexes": &collection.name, "indexes": indexes};
    session.run(&collection.database, LONG, &attempt, command).await.map(drop)
}

/// Documents on their way.
#[derive(Default)]
struct Batch {
    documents: RawArrayBuf,
    count: usize,
    bytes: usize,
}

impl Batch {
    fn take(&mut self, document: RawDocumentBuf) {
        self.bytes += document.as_bytes().len();
        self.count += 1;
        self.documents.push(document);
    }

    const fn is_full(&self) -> bool {
        self.bytes >= BATCH || self.count >= DOCUMENTS
    }

    async fn put(&mut self, session: &Session, collection: &Announced) -> Result<()> {
        let batch = std::mem::take(self);
        if batch.count == 0 {
            return Ok(());
        }
        let mut command = RawDocumentBuf::new();
        command.append(cstr!("insert"), collection.name.as_str());
        command.append(cstr!("ordered"), true);
        command.append(cstr!("bypassDocumentValidation"), true);
        command.append(cstr!("documents"), batch.documents);
        command.append(cstr!("$db"), collection.database.as_str());
        let attempt = format!("put documents into {}", collection.namespace());
        session.put(LONG, &attempt, command).await.map(drop)
    }
}
