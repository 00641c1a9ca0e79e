//! The verb `dump`: all collections as of one cluster time, as an archive.

use std::{io::Read, time::Duration};

use bson::{Document, RawDocument, Timestamp, doc};
use bytes::{Buf as _, Bytes};
use schemars::JsonSchema;
use serde::Deserialize;
use standstill_core::{Error, Result, hook::HookContext, runtime::Producer};
use tokio::sync::mpsc;

use super::{
    archive::{Announced, Block, prelude},
    collections::{all, collections, databases},
    errors,
    server::{Position, Server, version},
    session::Session,
};
use crate::server::driver::{AbortOnDrop, spawn};

/// The name of the verb.
pub(super) const VERB: &str = "dump";
/// How long the server may take for the next documents.
const SILENCE: Duration = Duration::from_mins(1);
/// How many pieces may wait for the repository.
const WAITING: usize = 16;
/// About how long a piece is.
const PIECE: usize = 1024 * 1024;

/// What `dump` is told.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Arguments {
    /// As of when: the cluster time that was observed before.
    at: String,
}

/// Begins a dump.
pub(super) async fn begin(context: &HookContext, arguments: Arguments) -> Result<Box<dyn Producer>> {
    let at: Position = arguments.at.parse()?;
    let session = Session::open(context).await?;
    let server = Server::read(&session.hello, session.place())?;
    let version = version(&session).await?.full;
    let announced = announce(&session).await?;
    let (sender, pieces) = mpsc::channel(WAITING);
    let place = session.place().to_owned();
    let (cancel, ending) = (context.cancel.clone(), sender.clone());
    let work = async move {
        let mut output = Output { sender, buffer: prelude(&version, &announced)? };
        for collection in &announced {
            one(&session, collection, at.into(), &mut output).await?;
        }
        unchanged(&session, &server, &announced).await?;
        output.flush().await
    };
    let task = spawn(async move {
        let end = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(Error::cancelled("cancelled on dumping MongoDB")),
            done = work => done,
        };
        let _nobody_reads = ending.send(Part::End(end)).await;
    })?;
    Ok(Box::new(Dump { place, pieces, _task: AbortOnDrop(task), piece: Bytes::new(), end: None }))
}

/// What there is to dump, with its options and indexes.
async fn announce(session: &Session) -> Result<Vec<Announced>> {
    let strange = || errors::strange("list the collections", session.place());
    let mut announced = Vec::new();
    for database in databases(session).await? {
        for entry in collections(session, &database).await? {
            let name = entry.get_str("name").map_err(|_| strange())?.to_owned();
            let kind = entry.get_str("type").unwrap_or("collection");
            if kind == "timeseries" {
                return Err(Error::input(format!(
                    "{database}.{name} is a time series, which a dump does not know"
                ))
                .remedy("Use the blueprint mongodb, which copies files."));
            }
            let view = kind == "view";
            let options = entry.get_document("options").ok().map(Document::try_from).transpose();
            let options = options.map_err(|cause| strange().because(cause))?.unwrap_or_default();
            let indexes = if view { Vec::new() } else { indexes(session, &database, &name).await? };
            announced.push(Announced {
                database: database.clone(),
                name,
                options,
                indexes,
                uuid: uuid(&entry),
                view,
            });
        }
    }
    Ok(announced)
}

async fn indexes(session: &Session, database: &str, name: &str) -> Result<Vec<Document>> {
    let attempt = "list the indexes";
    let found = all(session, database, attempt, doc! {"listIndexes": name, "cursor": {}}).await?;
    let each = found.iter().map(|index| Document::try_from(index.as_ref()));
    each.collect::<Result<_, _>>().map_err(|cause| errors::strange(attempt, session.place()).because(cause))
}

fn uuid(entry: &RawDocument) -> String {
    let info = entry.get_document("info");
    let bytes = info.and_then(|info| info.get_binary("uuid")).map(|uuid| uuid.bytes).unwrap_or_default();
    bytes.iter().fold(String::new(), |mut digits, byte| {
        digits.push_str(&format!("{byte:02x}"));
        digits
    })
}

/// Reads one collection to its end.
async fn one(session: &Session, collection: &Announced, at: Timestamp, output: &mut Output) -> Result<()> {
    if collection.view {
        return Ok(());
    }
    let attempt = format!("read {}", collection.namespace());
    let strange = || errors::strange(&attempt, session.place());
    let (mut block, header) = Block::begin(collection)?;
    output.buffer.extend(header);
    // The server refuses snapshots of capped collections.
    let capped = collection.options.get_bool("capped").unwrap_or(false);
    let concern = if capped {
        doc! {"level": "majority"}
    } else {
        doc! {"level": "snapshot", "atClusterTime": at}
    };
    let find = doc! {"find": &collection.name, "readConcern": concern, "noCursorTimeout": true};
    let mut answer = session.ask(&collection.database, SILENCE, &attempt, find).await?;
    let mut batch = "firstBatch";
    loop {
        let cursor = answer.get_document("cursor").map_err(|_| strange())?;
        for found in cursor.get_array(batch).map_err(|_| strange())? {
            let found = found.ok().and_then(bson::RawBsonRef::as_document).ok_or_else(strange)?;
            block.take(found.as_bytes());
            output.write(found.as_bytes()).await?;
        }
        let id = cursor.get_i64("id").map_err(|_| strange())?;
        if id == 0 {
            break;
        }
        batch = "nextBatch";
        let more = doc! {"getMore": id, "collection": &collection.name};
        answer = session.ask(&collection.database, SILENCE, &attempt, more).await?;
    }
    output.write(&block.end()?).await
}

/// Refuses a dump during which a collection was dropped, renamed or made anew, or the server restarted: which of its
/// documents were read, nobody knows.
async fn unchanged(session: &Session, before: &Server, announced: &[Announced]) -> Result<()> {
    let place = session.place();
    before.expect_same(&Server::of(session).await?, place)?;
    let now: Vec<(String, String)> =
        announce(session).await?.iter().map(|found| (found.namespace(), found.uuid.clone())).collect();
    match announced.iter().find(|was| !now.contains(&(was.namespace(), was.uuid.clone()))) {
        None => Ok(()),
        Some(gone) => Err(Error::failed(format!(
            "{} was dropped, renamed or made anew at {place} while it was dumped",
            gone.namespace()
        ))
        .remedy("Run the backup again when nobody changes collections.")),
    }
}

/// What is handed over: pieces, then how it ended.
enum Part {
    Piece(Bytes),
    End(Result<()>),
}

/// The way to the repository.
struct Output {
    sender: mpsc::Sender<Part>,
    buffer: Vec<u8>,
}

impl Output {
    async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() < PIECE { Ok(()) } else { self.flush().await }
    }

    async fn flush(&mut self) -> Result<()> {
        let piece = Bytes::from(std::mem::take(&mut self.buffer));
        self.sender
            .send(Part::Piece(piece))
            .await
            .map_err(|_| Error::failed("nobody reads the dump any more"))
    }
}

/// A dump on its way.
struct Dump {
    place: String,
    pieces: mpsc::Receiver<Part>,
    _task: AbortOnDrop<()>,
    piece: Bytes,
    end: Option<Result<()>>,
}

impl Dump {
    /// Waits for the next piece. The repository reads on a thread that may wait.
    fn fill(&mut self) {
        while self.piece.is_empty() && self.end.is_none() {
            match self.pieces.blocking_recv() {
                Some(Part::Piece(piece)) => self.piece = piece,
                Some(Part::End(end)) => self.end = Some(end),
                None => self.end = Some(Err(Error::failed("the dump of MongoDB broke off"))),
            }
        }
    }
}

impl Read for Dump {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.fill();
        let count = self.piece.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.piece[..count]);
        self.piece.advance(count);
        Ok(count)
    }
}

impl Producer for Dump {
    fn finish(&mut self) -> Result<()> {
        let unread =
            || Error::failed(format!("the dump of MongoDB at {} was not read to its end", self.place));
        if !self.piece.is_empty() {
            return Err(unread());
        }
        self.end.take().unwrap_or_else(|| Err(unread()))
    }
}
