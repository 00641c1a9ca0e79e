//! Write-ahead log: positions, segments, and copying them over a session.

use std::{fmt, path::Path, str::FromStr, time::Duration};

use standstill_core::{Error, Result};
use tokio::io::AsyncWriteExt as _;
use tokio_postgres::types::Type;

use super::connect::{Parameter, Session, column};

/// A position in the write-ahead log: `16/B374D848`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Lsn(pub u64);

impl FromStr for Lsn {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts = text.split_once('/');
        let numbers = parts.and_then(|(high, low)| {
            Some((u64::from_str_radix(high, 16).ok()?, u64::from(u32::from_str_radix(low, 16).ok()?)))
        });
        let (high, low) = numbers.ok_or_else(|| Error::failed(format!("`{text}` is no WAL position")))?;
        Ok(Self(high << 32 | low))
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

/// The WAL from a start to an end, on one timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// The first position that recovery reads.
    pub start: Lsn,
    /// Recovery ends here: nothing after it is copied.
    pub end: Lsn,
    /// The timeline.
    pub timeline: u32,
    /// The size of a segment in bytes.
    pub segment: u64,
}

impl Span {
    /// The numbers of the segments that hold it.
    fn segments(&self) -> std::ops::RangeInclusive<u64> {
        // An end on a boundary belongs to the segment before.
        self.start.0 / self.segment..=self.end.0.saturating_sub(1) / self.segment
    }

    /// A segment's file name.
    fn file(&self, number: u64) -> String {
        let in_a_log = 0x1_0000_0000 / self.segment;
        format!("{:08X}{:08X}{:08X}", self.timeline, number / in_a_log, number % in_a_log)
    }

    /// How much of a segment belongs to it; the rest is filled with zeros, at which recovery ends.
    fn wanted(&self, number: u64) -> u64 {
        (self.end.0 - number * self.segment).min(self.segment)
    }
}

/// Reads WAL over the session whose slot keeps it.
pub(super) struct Reader<'session> {
    /// The session.
    pub session: &'session Session,
    /// How long one read may take.
    pub within: Duration,
    /// How often the session must hear from us while the local disk is slow.
    pub awake: Duration,
}

impl Reader<'_> {
    /// Copies the WAL of a span into a directory.
    ///
    /// The last segment ends at the span's end and is filled up with zeros, so that recovery cannot go beyond it,
    /// whatever the server has written there since.
    ///
    /// # Errors
    /// When a segment is gone, or the directory cannot be written to.
    pub async fn copy(&self, span: &Span, into: &Path) -> Result<()> {
        for number in span.segments() {
            let name = span.file(number);
            self.copy_file(&name, span.wanted(number), span.segment, &into.join(&name)).await?;
        }
        if span.timeline > 1 {
            let name = format!("{:08X}.history", span.timeline);
            if let Some(history) = self.read(&name, 0, self.chunk()).await? {
                tokio::fs::write(into.join(&name), history).await.map_err(|cause| unwritable(into, cause))?;
            }
        }
        Ok(())
    }

    async fn copy_file(&self, name: &str, wanted: u64, size: u64, path: &Path) -> Result<()> {
        let fault = |cause| unwritable(path, cause);
        let mut file = tokio::fs::File::create(path).await.map_err(fault)?;
        let mut done = 0;
        while done < wanted {
            let bytes = self.read(name, done, self.chunk().min(wanted - done)).await?;
            let bytes = bytes.filter(|bytes| !bytes.is_empty()).ok_or_else(|| {
                let place = self.session.place();
                Error::failed(format!("the server at {place} has no WAL segment {name} any more")).remedy(
                    "Raise `max_slot_wal_keep_size`; if the server changed its timeline meanwhile, run the backup again.",
                )
            })?;
            self.session.awake(self.awake, file.write_all(&bytes)).await?.map_err(fault)?;
            done += bytes.len() as u64;
        }
        let ending = async {
            file.set_len(size).await?;
            file.flush().await
        };
        self.session.awake(self.awake, ending).await?.map_err(fault)
    }

    /// How much is read at a time. A stopped runner must not leave the server waiting in a write: over a Unix
    /// socket, which knows no user timeout, a chunk fits into the socket's buffer.
    fn chunk(&self) -> u64 {
        if self.session.is_local() { 96 << 10 } else { 1 << 20 }
    }

    /// A part of a file in `pg_wal`. A missing file is no SQL error: one would drop the slot.
    async fn read(&self, name: &str, from: u64, length: u64) -> Result<Option<Vec<u8>>> {
        let path = format!("pg_wal/{name}");
        let (from, length) = (from.cast_signed(), length.cast_signed());
        let sql = "SELECT pg_read_binary_file($1, $2, $3, true)";
        let parameters: [Parameter<'_>; 3] =
            [(&path, Type::TEXT), (&from, Type::INT8), (&length, Type::INT8)];
        column(&self.session.one(self.within, "read WAL", sql, &parameters).await?, 0)
    }
}

fn unwritable(path: &Path, cause: std::io::Error) -> Error {
    Error::failed(format!("WAL cannot be written to {}", path.display()))
        .remedy("Free space there, or let the run use another scratch directory.")
        .because(cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start: &str, end: &str) -> Span {
        Span { start: start.parse().unwrap(), end: end.parse().unwrap(), timeline: 3, segment: 16 << 20 }
    }

    #[test]
    fn positions_are_read_and_written_as_the_server_does() {
        assert_eq!("16/B374D848".parse::<Lsn>().unwrap(), Lsn(0x16_B374_D848));
        assert_eq!(Lsn(0x16_0000_00FF).to_string(), "16/FF");
        assert!("16".parse::<Lsn>().is_err());
        assert!("x/1".parse::<Lsn>().is_err());
    }

    #[test]
    fn a_span_names_its_segments_across_a_log_boundary() {
        let span = span("1/FF000028", "2/1000100");
        let names: Vec<_> = span.segments().map(|number| span.file(number)).collect();
        assert_eq!(
            names,
            ["0000000300000001000000FF", "000000030000000200000000", "000000030000000200000001"]
        );
        assert_eq!(span.wanted(0x201), 0x100);
        assert_eq!(span.wanted(0x200), 16 << 20);
    }

    #[test]
    fn an_end_on_a_boundary_needs_no_further_segment() {
        let span = span("0/2000028", "0/3000000");
        assert_eq!(span.segments(), 2..=2);
        assert_eq!(span.wanted(2), 16 << 20);
    }
}
