//! Archives in the format of `mongodump --archive` (`common/archive` of MongoDB's tools, version 0.1).
//!
//! ```text
//!   magic · header · {db, collection, metadata, type} … ·       end     what there is
//!   {db, collection, EOF: false} · document · document … ·      end     a block of documents
//!   {db, collection, EOF: true, CRC} ·                          end     that collection is complete
//!   …
//! ```
//!
//! Everything but the first four bytes and the ends (`ff ff ff ff`) is BSON. There is no end of the whole: an archive is
//! complete when each collection that it announces is.

use std::{
    collections::BTreeMap,
    io::{self, Read},
};

use bson::{Bson, Document, RawDocument, RawDocumentBuf, doc};
use serde_json::{Value, json};
use standstill_core::{Error, Result};

use crate::server::crc64::Ecma;

/// The first four bytes.
const MAGIC: u32 = 0x8199_e26d;
/// What ends the announcements and each block.
const END: [u8; 4] = [0xff; 4];
/// The only version of the format there is.
const VERSION: &str = "0.1";
/// No document of a server's is longer: 16 MiB, and some room for what the server adds.
const LONGEST: usize = 17 * 1024 * 1024;

/// What an archive announces: a collection, or a view.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Announced {
    pub database: String,
    pub name: String,
    /// Its options as the server lists them.
    pub options: Document,
    /// Its indexes as the server lists them.
    pub indexes: Vec<Document>,
    /// The server's own id of it, as hexadecimal digits.
    pub uuid: String,
    pub view: bool,
}

impl Announced {
    /// For messages, and to tell collections apart.
    pub fn namespace(&self) -> String {
        format!("{}.{}", self.database, self.name)
    }

    fn kind(&self) -> &'static str {
        if self.view { "view" } else { "collection" }
    }

    fn to_document(&self) -> Document {
        let indexes: Vec<Value> =
            self.indexes.iter().map(|index| Bson::Document(index.clone()).into_canonical_extjson()).collect();
        let metadata = json!({
            "indexes": indexes,
            "uuid": self.uuid,
            "collectionName": self.name,
            "type": self.kind(),
            "options": Bson::Document(self.options.clone()).into_canonical_extjson(),
        });
        doc! {
            "db": &self.database,
            "collection": &self.name,
            "metadata": metadata.to_string(),
            "size": 0_i32,
            "type": self.kind(),
        }
    }

    fn read(found: &RawDocument) -> Option<Self> {
        let text = |field: &str| found.get_str(field).ok();
        let metadata: Value = serde_json::from_str(text("metadata")?).ok()?;
        let document = |value: &Value| match Bson::try_from(value.clone()) {
            Ok(Bson::Document(document)) => Some(document),
            _ => None,
        };
        let indexes = metadata.get("indexes").and_then(Value::as_array);
        Some(Self {
            database: text("db")?.to_owned(),
            name: text("collection")?.to_owned(),
            options: metadata.get("options").map_or_else(|| Some(Document::new()), document)?,
            indexes: indexes
                .map(Vec::as_slice)
                .unwrap_or_default()
                .iter()
                .map(document)
                .collect::<Option<_>>()?,
            uuid: metadata.get("uuid").and_then(Value::as_str).unwrap_or_default().to_owned(),
            view: text("type").is_some_and(|kind| kind == "view"),
        })
    }
}

fn bytes(document: &Document) -> Result<Vec<u8>> {
    document.to_vec().map_err(|cause| Error::failed("a part of the archive cannot be written").because(cause))
}

/// The beginning of an archive.
pub(super) fn prelude(server: &str, announced: &[Announced]) -> Result<Vec<u8>> {
    let header = doc! {
        "concurrent_collections": 1_i32,
        "version": VERSION,
        "server_version": server,
        "tool_version": concat!("standstill ", env!("CARGO_PKG_VERSION")),
    };
    let mut written = MAGIC.to_le_bytes().to_vec();
    written.extend(bytes(&header)?);
    for collection in announced {
        written.extend(bytes(&collection.to_document())?);
    }
    written.extend(END);
    Ok(written)
}

/// One collection on its way into an archive.
pub(super) struct Block {
    database: String,
    name: String,
    checksum: Ecma,
    /// How many documents it has so far.
    pub count: u64,
}

impl Block {
    /// Its beginning.
    pub fn begin(of: &Announced) -> Result<(Self, Vec<u8>)> {
        let (database, name) = (of.database.clone(), of.name.clone());
        let block = Self { database, name, checksum: Ecma::default(), count: 0 };
        let header = block.header(false, 0)?;
        Ok((block, header))
    }

    fn header(&self, complete: bool, checksum: u64) -> Result<Vec<u8>> {
        bytes(&doc! {
            "db": &self.database,
            "collection": &self.name,
            "EOF": complete,
            "CRC": checksum.cast_signed(),
        })
    }

    /// A document that was written.
    pub fn take(&mut self, document: &[u8]) {
        self.checksum.update(document);
        self.count += 1;
    }

    /// Its end.
    pub fn end(&self) -> Result<Vec<u8>> {
        let mut written = END.to_vec();
        written.extend(self.header(true, self.checksum.value())?);
        written.extend(END);
        Ok(written)
    }
}

/// A part of an archive that is read.
pub(super) enum Part {
    /// A document of the announced collection of that number.
    Document(usize, RawDocumentBuf),
    /// The collection of that number is complete: so many documents, and their checksum is right.
    Complete(usize, u64),
    /// All collections are complete, and nothing follows.
    End,
}

/// An archive that is read. Nothing in it is trusted.
pub(super) struct Archive<R> {
    input: R,
    pub announced: Vec<Announced>,
    /// By namespace: the number, the checksum and the count so far; none once it is complete.
    open: BTreeMap<String, (usize, Ecma, u64)>,
    current: Option<String>,
}

impl<R: Read> Archive<R> {
    /// Reads what an archive announces.
    ///
    /// # Errors
    /// [`standstill_core::ErrorKind::Damaged`] when it is none, or is cut off.
    pub fn open(mut input: R) -> Result<Self> {
        let mut magic = [0; 4];
        input.read_exact(&mut magic).map_err(|cause| damaged("it is cut off").because(cause))?;
        if u32::from_le_bytes(magic) != MAGIC {
            return Err(damaged("it does not begin as one"));
        }
        let header = document(&mut input)?.ok_or_else(|| damaged("it has no header"))?;
        if header.get_str("version").ok() != Some(VERSION) {
            return Err(damaged("its format is of another version"));
        }
        let (mut announced, mut open) = (Vec::new(), BTreeMap::new());
        while let Some(found) = document(&mut input)? {
            let found =
                Announced::read(&found).ok_or_else(|| damaged("an announcement is not understood"))?;
            if !found.view {
                open.insert(found.namespace(), (announced.len(), Ecma::default(), 0));
            }
            announced.push(found);
        }
        Ok(Self { input, announced, open, current: None })
    }

    /// The next part.
    ///
    /// # Errors
    /// [`standstill_core::ErrorKind::Damaged`] when a checksum is wrong, or the archive ends before its collections do.
    pub fn next(&mut self) -> Result<Part> {
        loop {
            if let Some(name) = self.current.clone() {
                match document(&mut self.input)? {
                    Some(found) => {
                        let (number, checksum, count) = self.known(&name)?;
                        checksum.update(found.as_bytes());
                        *count += 1;
                        return Ok(Part::Document(*number, found));
                    }
                    None => self.current = None,
                }
                continue;
            }
            let Some(header) = first(&mut self.input)? else {
                return match self.open.keys().next() {
                    None => Ok(Part::End),
                    Some(name) => Err(damaged(&format!("it ends before {name} does"))),
                };
            };
            let text = |field: &str| header.get_str(field).map_err(|_| damaged("a block is of nothing"));
            let name = format!("{}.{}", text("db")?, text("collection")?);
            if !header.get_bool("EOF").unwrap_or(false) {
                self.known(&name)?;
                self.current = Some(name);
                continue;
            }
            let (number, checksum, count) = *self.known(&name)?;
            if header.get_i64("CRC").ok() != Some(checksum.value().cast_signed()) {
                return Err(damaged(&format!("the checksum of {name} is wrong")));
            }
            if document(&mut self.input)?.is_some() {
                return Err(damaged(&format!("{name} goes on after its end")));
            }
            self.open.remove(&name);
            return Ok(Part::Complete(number, count));
        }
    }

    fn known(&mut self, name: &str) -> Result<&mut (usize, Ecma, u64)> {
        self.open.get_mut(name).ok_or_else(|| damaged(&format!("{name} is not announced, or has ended")))
    }
}

fn damaged(why: &str) -> Error {
    Error::damaged(format!("the dump is not whole: {why}"))
        .remedy("Use another recovery point; this one is damaged.")
}

/// The next document, or `None` at an end.
fn document(input: &mut impl Read) -> Result<Option<RawDocumentBuf>> {
    let mut length = [0; 4];
    input.read_exact(&mut length).map_err(|cause| damaged("it is cut off").because(cause))?;
    rest(input, length)
}

/// The next document, or `None` where nothing follows at all.
fn first(input: &mut impl Read) -> Result<Option<RawDocumentBuf>> {
    let mut length = [0; 4];
    let (begin, others) = length.split_at_mut(1);
    loop {
        match input.read(begin) {
            Ok(0) => return Ok(None),
            Ok(_) => break,
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(damaged("it cannot be read").because(cause)),
        }
    }
    input.read_exact(others).map_err(|cause| damaged("it is cut off").because(cause))?;
    match rest(input, length)? {
        Some(header) => Ok(Some(header)),
        None => Err(damaged("a block has no header")),
    }
}

fn rest(input: &mut impl Read, length: [u8; 4]) -> Result<Option<RawDocumentBuf>> {
    if length == END {
        return Ok(None);
    }
    let count = usize::try_from(i32::from_le_bytes(length)).unwrap_or_default();
    if !(5..=LONGEST).contains(&count) {
        return Err(damaged("a document's length makes no sense"));
    }
    let mut bytes = vec![0; count];
    bytes[..4].copy_from_slice(&length);
    input.read_exact(&mut bytes[4..]).map_err(|cause| damaged("it is cut off").because(cause))?;
    RawDocumentBuf::from_bytes(bytes)
        .map(Some)
        .map_err(|cause| damaged("a document is broken").because(cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announced(name: &str, view: bool) -> Announced {
        Announced {
            database: "shop".into(),
            name: name.into(),
            options: doc! {"capped": true, "size": 4096_i64},
            indexes: vec![doc! {"v": 2_i32, "key": {"b": 1_i32, "a": -1_i32}, "name": "b_a"}],
            uuid: "00ff".into(),
            view,
        }
    }

    fn archive() -> Vec<u8> {
        let (orders, view) = (announced("orders", false), announced("open", true));
        let mut written = prelude("8.0.0", &[orders.clone(), view]).unwrap();
        let (mut block, header) = Block::begin(&orders).unwrap();
        written.extend(header);
        for number in 0..10 {
            let document = doc! {"_id": number}.to_vec().unwrap();
            block.take(&document);
            written.extend(document);
        }
        written.extend(block.end().unwrap());
        written
    }

    fn read(bytes: &[u8]) -> Result<u64> {
        let mut archive = Archive::open(bytes)?;
        let mut documents = 0;
        loop {
            match archive.next()? {
                Part::Document(0, _) => documents += 1,
                Part::Document(..) => return Err(Error::failed("of another collection")),
                Part::Complete(_, count) => assert_eq!(count, documents),
                Part::End => return Ok(documents),
            }
        }
    }

    #[test]
    fn an_archive_is_read_as_it_is_written() {
        let written = archive();
        assert_eq!(written[..4], [0x6d, 0xe2, 0x99, 0x81]);
        assert_eq!(read(&written).unwrap(), 10);
        let found = Archive::open(written.as_slice()).unwrap().announced;
        assert_eq!(found, vec![announced("orders", false), announced("open", true)]);
        assert_eq!(found[0].indexes[0].get_document("key").unwrap().keys().next().unwrap(), "b");
    }

    #[test]
    fn an_archive_that_is_cut_anywhere_is_damaged() {
        let written = archive();
        for length in 0..written.len() {
            assert!(read(&written[..length]).is_err(), "cut after {length} of {} bytes", written.len());
        }
    }

    #[test]
    fn a_flipped_and_an_added_byte_are_noticed() {
        let written = archive();
        let data = written.windows(4).position(|window| window == b"_id\0").unwrap();
        for place in data..written.len() {
            let mut flipped = written.clone();
            flipped[place] ^= 1;
            assert!(read(&flipped).is_err(), "byte {place}");
        }
        let mut longer = written;
        longer.push(0);
        assert!(read(&longer).is_err());
    }
}
