//! RDB files: what their beginning says, and whether they are whole.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use standstill_core::{Error, Result};

use super::info::Keys;
use crate::server::crc64::Jones as Crc64;

/// The length of magic word and version: `REDIS0011`, `VALKEY080`.
const MAGIC: usize = 9;
/// What ends the data; the checksum follows.
const END: u8 = 0xff;
/// The opcode and the checksum.
const TRAILER: usize = 9;
/// More than any of the texts at the beginning is long.
const LONGEST_TEXT: u64 = 64 * 1024;

/// What the beginning of a file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Header {
    /// What the server noted (`ctime`, `redis-ver`, `repl-offset`, …).
    pub notes: BTreeMap<String, String>,
    /// The first database that has keys, and how many; `None` if there are none, or a module's data come first.
    pub first: Option<(u64, Keys)>,
}

impl Header {
    /// Reads the beginning of a file.
    ///
    /// # Errors
    /// When it cannot be read, or is no RDB file.
    pub fn of(path: &Path) -> Result<Self> {
        let failed = |cause| {
            Error::failed(format!("cannot read {}", path.display()))
                .remedy("Run as a user who may read the server's files, and check that the volume is its directory.")
                .because(cause)
        };
        Self::read(&mut BufReader::new(File::open(path).map_err(failed)?)).map_err(failed)
    }

    fn read(input: &mut impl BufRead) -> io::Result<Self> {
        let mut magic = [0; MAGIC];
        input.read_exact(&mut magic)?;
        if !is_magic(&magic) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is no RDB file"));
        }
        let mut header = Self::default();
        let mut database = 0;
        loop {
            match byte(input)? {
                // A note.
                0xfa => {
                    let (name, value) = (text(input)?, text(input)?);
                    header.notes.insert(name, value);
                }
                // A library of functions.
                0xf5 => skip_text(input)?,
                // The number of the database that follows.
                0xfe => database = length(input)?.0,
                // How many keys it has, and how many of them expire.
                0xfb => {
                    let keys = Keys { all: length(input)?.0, expiring: length(input)?.0 };
                    header.first = Some((database, keys));
                    return Ok(header);
                }
                _ => return Ok(header),
            }
        }
    }

    /// Refuses the file of another server: one that was not made between these two times.
    ///
    /// # Errors
    /// [`standstill_core::ErrorKind::Input`].
    pub fn expect_made_between(&self, begin: u64, end: u64, path: &Path, place: &str) -> Result<()> {
        let made: Option<u64> = self.notes.get("ctime").and_then(|made| made.parse().ok());
        // Two clocks of one machine, in whole seconds.
        if made.is_some_and(|made| (begin.saturating_sub(1)..=end + 1).contains(&made)) {
            return Ok(());
        }
        Err(Error::input(format!("{} is not what the server at {place} has just saved", path.display()))
            .remedy("Set the volume's path to the directory of this server: another one's is there."))
    }
}

fn is_magic(magic: &[u8; MAGIC]) -> bool {
    let digits = magic.strip_prefix(b"REDIS").or_else(|| magic.strip_prefix(b"VALKEY"));
    digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_digit))
}

fn byte(input: &mut impl Read) -> io::Result<u8> {
    bytes(input).map(|[byte]| byte)
}

fn bytes<const N: usize>(input: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// A length, or how a text is encoded.
fn length(input: &mut impl Read) -> io::Result<(u64, bool)> {
    let first = byte(input)?;
    let low = u64::from(first & 0x3f);
    Ok(match first >> 6 {
        0 => (low, false),
        1 => ((low << 8) | u64::from(byte(input)?), false),
        2 if first == 0x80 => (u64::from(u32::from_be_bytes(bytes(input)?)), false),
        2 => (u64::from_be_bytes(bytes(input)?), false),
        _ => (low, true),
    })
}

fn text(input: &mut impl Read) -> io::Result<String> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, "a note is not understood");
    Ok(match length(input)? {
        (0, true) => i8::from_le_bytes(bytes(input)?).to_string(),
        (1, true) => i16::from_le_bytes(bytes(input)?).to_string(),
        (2, true) => i32::from_le_bytes(bytes(input)?).to_string(),
        (length, false) if length <= LONGEST_TEXT => {
            let mut text = Vec::new();
            input.take(length).read_to_end(&mut text)?;
            String::from_utf8_lossy(&text).into_owned()
        }
        _ => return Err(invalid()),
    })
}

fn skip_text(input: &mut impl Read) -> io::Result<()> {
    let length = match length(input)? {
        (length, false) => length,
        // Compressed: its length, and that of what it stands for.
        (3, true) => {
            let (compressed, _) = length(input)?;
            length(input)?;
            compressed
        }
        (_, true) => return Err(io::ErrorKind::InvalidData.into()),
    };
    io::copy(&mut input.take(length), &mut io::sink()).map(drop)
}

/// What was found out about a whole file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whole {
    /// Every byte is as it was written.
    Yes,
    /// It ends as it should, but it was written without a checksum (`rdbchecksum no`).
    Unchecked,
}

/// A check of a file as it goes by, in pieces of any size.
///
/// `redis-check-rdb` takes bytes after the end for nothing; here the checksum is of everything but the last eight.
#[derive(Debug, Default)]
pub(super) struct Check {
    checksum: Crc64,
    /// The last bytes, which may be the trailer.
    last: Vec<u8>,
    begin: Vec<u8>,
    length: u64,
}

impl Check {
    /// Takes in what follows.
    pub fn update(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        let missing = MAGIC.saturating_sub(self.begin.len()).min(bytes.len());
        self.begin.extend_from_slice(&bytes[..missing]);
        self.last.extend_from_slice(bytes);
        let settled = self.last.len().saturating_sub(TRAILER);
        self.checksum.update(&self.last[..settled]);
        self.last.drain(..settled);
    }

    /// How many bytes there were.
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// After the last byte.
    ///
    /// # Errors
    /// What is wrong, as a fragment that follows the file's name.
    pub fn finish(mut self) -> Result<Whole, String> {
        let begins = <[u8; MAGIC]>::try_from(self.begin.as_slice()).is_ok_and(|magic| is_magic(&magic));
        if !begins {
            return Err("is no RDB file".into());
        }
        let trailer = <[u8; TRAILER]>::try_from(self.last.as_slice());
        let Ok([end @ END, checksum @ ..]) = trailer else {
            return Err("does not end as an RDB file does: it was cut off, or something was appended".into());
        };
        self.checksum.update(&[end]);
        match u64::from_le_bytes(checksum) {
            0 => Ok(Whole::Unchecked),
            noted if noted == self.checksum.value() => Ok(Whole::Yes),
            noted => {
                Err(format!("has the checksum {:016x}, and {noted:016x} is noted", self.checksum.value()))
            }
        }
    }
}

/// Checks a file.
///
/// # Errors
/// When it cannot be read; what is wrong with it is in the inner result.
pub(super) fn check(path: &Path) -> io::Result<Result<(Whole, u64), String>> {
    let mut file = File::open(path)?;
    let (mut check, mut buffer) = (Check::default(), vec![0; 256 * 1024]);
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => check.update(&buffer[..count]),
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(cause),
        }
    }
    let length = check.length();
    Ok(check.finish().map(|whole| (whole, length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with one note, one database of two keys, and nothing that is understood further.
    fn file() -> Vec<u8> {
        let mut file = b"REDIS0010".to_vec();
        file.extend(b"\xfa\x05ctime\xc2\x00\x00\x00\x01");
        file.extend(b"\xf5\x03lib\xfe\x03\xfb\x42\x01\x00\x00\x01a\x01b");
        file.push(END);
        let mut checksum = Crc64::default();
        checksum.update(&file);
        file.extend(checksum.value().to_le_bytes());
        file
    }

    fn judge(bytes: &[u8], piece: usize) -> Result<Whole, String> {
        let mut check = Check::default();
        bytes.chunks(piece).for_each(|piece| check.update(piece));
        check.finish()
    }

    #[test]
    fn the_beginning_tells_when_it_was_made_and_how_many_keys_follow() {
        let header = Header::read(&mut file().as_slice()).unwrap();
        assert_eq!(header.notes["ctime"], (1 << 24).to_string());
        assert_eq!(header.first, Some((3, Keys { all: 0x201, expiring: 0 })));
        assert!(Header::read(&mut b"REDIS00x1".as_slice()).is_err());
    }

    #[test]
    fn a_whole_file_is_told_from_every_truncated_flipped_or_longer_one() {
        let file = file();
        for piece in [1, 3, 8, 9, 100] {
            assert_eq!(judge(&file, piece), Ok(Whole::Yes));
        }
        for length in 0..file.len() {
            assert!(judge(&file[..length], 7).is_err(), "cut at {length}");
        }
        for at in 0..file.len() {
            let mut flipped = file.clone();
            flipped[at] ^= 0x10;
            assert!(judge(&flipped, 7).is_err(), "flipped at {at}");
        }
        assert!(judge(&[file.as_slice(), b"x"].concat(), 7).is_err());
        assert!(judge(&[file.as_slice(), &file[file.len() - 9..]].concat(), 7).is_err());
    }

    #[test]
    fn a_file_without_a_checksum_is_not_called_checked() {
        let mut file = file();
        let length = file.len();
        file[length - 8..].fill(0);
        assert_eq!(judge(&file, 7), Ok(Whole::Unchecked));
    }

    #[test]
    fn a_valkeys_own_magic_word_is_known() {
        assert!(is_magic(b"VALKEY080"));
        assert!(!is_magic(b"VALKEYabc"));
    }

    #[test]
    fn a_file_of_another_time_is_another_servers() {
        let header = Header { notes: BTreeMap::from([("ctime".into(), "100".into())]), first: None };
        assert!(header.expect_made_between(100, 105, Path::new("f"), "here").is_ok());
        assert!(header.expect_made_between(102, 105, Path::new("f"), "here").is_err());
        assert!(Header::default().expect_made_between(0, 105, Path::new("f"), "here").is_err());
    }
}
