//! A client that speaks MongoDB's protocol.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use bson::{Bson, Document, doc};

/// A connection.
pub struct Client(TcpStream);

impl Client {
    pub fn open(port: u16) -> Result<Self, String> {
        let stream = TcpStream::connect(("127.0.0.1", port)).map_err(|cause| cause.to_string())?;
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_mins(5))).unwrap();
        Ok(Self(stream))
    }

    /// Gives a command; a refusal is an error.
    pub fn ask(&mut self, database: &str, mut command: Document) -> Result<Document, String> {
        let shown = |cause: std::io::Error| cause.to_string();
        command.insert("$db", database);
        let body = command.to_vec().unwrap();
        let length = i32::try_from(body.len() + 21).unwrap();
        let mut message: Vec<u8> =
            [length, 1, 0, 2013, 0].iter().flat_map(|word| word.to_le_bytes()).collect();
        message.push(0);
        message.extend(body);
        self.0.write_all(&message).map_err(shown)?;
        let mut header = [0; 21];
        self.0.read_exact(&mut header).map_err(shown)?;
        let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
        let mut body = vec![0; length as usize - header.len()];
        self.0.read_exact(&mut body).map_err(shown)?;
        let answer = Document::from_reader(body.as_slice()).map_err(|cause| cause.to_string())?;
        let done = matches!(answer.get("ok"), Some(Bson::Double(ok)) if *ok > 0.0);
        if done { Ok(answer) } else { Err(answer.to_string()) }
    }

    /// Every document of a cursor.
    pub fn all(&mut self, database: &str, command: Document) -> Result<Vec<Document>, String> {
        let collection = command.values().next().and_then(Bson::as_str).unwrap().to_owned();
        let mut answer = self.ask(database, command)?;
        let mut found = Vec::new();
        let mut batch = "firstBatch";
        loop {
            let cursor = answer.get_document("cursor").map_err(|cause| cause.to_string())?;
            let documents = cursor.get_array(batch).map_err(|cause| cause.to_string())?;
            found.extend(documents.iter().filter_map(Bson::as_document).cloned());
            match cursor.get_i64("id").unwrap_or_default() {
                0 => return Ok(found),
                id => answer = self.ask(database, doc! {"getMore": id, "collection": &collection})?,
            }
            batch = "nextBatch";
        }
    }
}
