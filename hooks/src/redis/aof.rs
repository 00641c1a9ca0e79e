//! Append-only files in parts: the list of them, and whether each is whole.
//!
//! Parts that grow have no checksums: a byte that is changed inside a value is found by nobody, neither here nor by
//! `redis-check-aof`. The repository's own checksums are what there is against that.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;

use super::rdb;

/// Longer than any line of the protocol that is no value.
const LONGEST_LINE: u64 = 1024;
/// Longer than the names of the commands that matter.
const LONGEST_NAME: u64 = 16;

/// What a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Base,
    Growing,
}

/// The parts that a manifest lists, in the order in which a server loads them.
#[derive(Debug, PartialEq, Eq)]
struct Manifest(Vec<(String, Kind)>);

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// What is wrong with it.
    fn read(text: &str) -> Result<Self, String> {
        let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
        let mut parts = Vec::new();
        for line in lines {
            let wrong = || format!("the manifest's line `{line}` is not understood");
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let field = |name: &str| {
                words.chunks(2).find_map(|pair| {
                    if let [key, value] = pair
                        && *key == name
                    {
                        Some(*value)
                    } else {
                        None
                    }
                })
            };
            let file = field("file").ok_or_else(wrong)?.trim_matches('"');
            if file.is_empty() || file.contains('/') || file == ".." {
                return Err(wrong());
            }
            match field("type") {
                Some("b") => parts.push((file.to_owned(), Kind::Base)),
                Some("i") => parts.push((file.to_owned(), Kind::Growing)),
                // About to be removed.
                Some("h") => {}
                _ => return Err(wrong()),
            }
        }
        if parts.is_empty() { Err("the manifest lists no part".into()) } else { Ok(Self(parts)) }
    }
}

/// What is in a part that grows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Log {
    commands: u64,
    /// Up to the end of the last command or transaction that is whole.
    complete: u64,
    length: u64,
    /// Where something is that cannot be, even in half a file.
    wrong: Option<u64>,
}

impl Log {
    fn of(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut log = Self::read(BufReader::with_capacity(256 * 1024, file))?;
        log.length = length;
        Ok(log)
    }

    fn read(input: impl BufRead) -> io::Result<Self> {
        let mut input = Counted { input, at: 0 };
        let (mut log, mut transaction) = (Self::default(), false);
        loop {
            match command(&mut input) {
                Ok(Some(name)) => {
                    log.commands += 1;
                    transaction = match name.as_slice() {
                        b"multi" => true,
                        b"exec" => false,
                        _ => transaction,
                    };
                    if !transaction {
                        log.complete = input.at;
                    }
                }
                // A note.
                Ok(None) if !transaction => log.complete = input.at,
                Ok(None) => {}
                Err(Stop::End) => break,
                Err(Stop::Wrong) => {
                    log.wrong = Some(input.at);
                    break;
                }
                Err(Stop::Unreadable(cause)) => return Err(cause),
            }
        }
        log.length = input.at;
        Ok(log)
    }
}

/// Why no further command was read.
enum Stop {
    /// The file ends, perhaps in the middle of one.
    End,
    Wrong,
    Unreadable(io::Error),
}

impl From<io::Error> for Stop {
    fn from(cause: io::Error) -> Self {
        if cause.kind() == io::ErrorKind::UnexpectedEof { Self::End } else { Self::Unreadable(cause) }
    }
}

struct Counted<R> {
    input: R,
    at: u64,
}

impl<R: BufRead> Counted<R> {
    fn line(&mut self) -> Result<Vec<u8>, Stop> {
        let mut line = Vec::new();
        let count = (&mut self.input).take(LONGEST_LINE).read_until(b'\n', &mut line)?;
        self.at += count as u64;
        if let Some(line) = line.strip_suffix(b"\r\n") {
            return Ok(line.to_vec());
        }
        Err(if line.ends_with(b"\n") || count as u64 == LONGEST_LINE { Stop::Wrong } else { Stop::End })
    }

    fn number(&mut self, mark: u8) -> Result<u64, Stop> {
        let line = self.line()?;
        let digits = line.strip_prefix(&[mark]).ok_or(Stop::Wrong)?;
        std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).ok_or(Stop::Wrong)
    }

    fn skip(&mut self, length: u64) -> Result<(), Stop> {
        let count = io::copy(&mut (&mut self.input).take(length), &mut io::sink())?;
        self.at += count;
        if count == length { Ok(()) } else { Err(Stop::End) }
    }

    /// A value and the line break after it; its beginning, in small letters.
    fn value(&mut self) -> Result<Vec<u8>, Stop> {
        let length = self.number(b'$')?;
        let mut begin = vec![0; usize::try_from(length.min(LONGEST_NAME)).unwrap_or_default()];
        self.input.read_exact(&mut begin)?;
        self.at += begin.len() as u64;
        self.skip(length - begin.len() as u64)?;
        if self.line()?.is_empty() { Ok(begin.to_ascii_lowercase()) } else { Err(Stop::Wrong) }
    }
}

/// The name of the next command; `None` for a note about time.
fn command(input: &mut Counted<impl BufRead>) -> Result<Option<Vec<u8>>, Stop> {
    let line = input.line()?;
    if line.starts_with(b"#") {
        return Ok(None);
    }
    let digits = line.strip_prefix(b"*").and_then(|digits| std::str::from_utf8(digits).ok());
    let words: u64 = digits.and_then(|digits| digits.parse().ok()).ok_or(Stop::Wrong)?;
    if words == 0 {
        return Err(Stop::Wrong);
    }
    let name = input.value()?;
    for _ in 1..words {
        input.value()?;
    }
    Ok(Some(name))
}

/// What was found in an append-only file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// For people.
    pub detail: String,
    /// How many bytes of it are whole.
    pub complete: u64,
    /// How many bytes of half a command come after them.
    pub half: u64,
}

/// A part as it is on the disk.
struct Part {
    name: String,
    path: PathBuf,
    log: Log,
}

/// Reads every part, in the order in which a server loads them.
fn parts(directory: &Path, file: &str) -> Result<Vec<Part>, String> {
    let manifest = format!("{file}.manifest");
    let text = std::fs::read_to_string(directory.join(&manifest))
        .map_err(|cause| format!("{manifest} cannot be read: {cause}"))?;
    let Manifest(listed) = Manifest::read(&text)?;
    let mut parts = Vec::new();
    for (name, kind) in listed {
        let path = directory.join(&name);
        let unreadable = |cause: io::Error| format!("{name} cannot be read: {cause}");
        let log = if kind == Kind::Base && path.extension().is_some_and(|extension| extension == "rdb") {
            let (_, bytes) =
                rdb::check(&path).map_err(unreadable)?.map_err(|wrong| format!("{name} {wrong}"))?;
            Log { complete: bytes, length: bytes, ..Log::default() }
        } else {
            Log::of(&path).map_err(unreadable)?
        };
        parts.push(Part { name, path, log });
    }
    if let Some((_, earlier)) = parts.split_last() {
        for Part { name, log, .. } in earlier {
            match log.wrong {
                Some(at) => return Err(format!("{name} is not understood at byte {at}")),
                None if log.length > log.complete => {
                    return Err(format!("{name} ends in the middle of a command, and is not the last part"));
                }
                None => {}
            }
        }
    }
    Ok(parts)
}

/// Looks at every part.
///
/// # Errors
/// What is wrong.
pub(super) fn check(directory: &Path, file: &str) -> Result<Found, String> {
    let parts = parts(directory, file)?;
    if let Some((name, at)) = parts.iter().find_map(|part| Some((&part.name, part.log.wrong?))) {
        return Err(format!("{name} is not understood at byte {at}"));
    }
    let sum = |of: fn(&Log) -> u64| parts.iter().map(|part| of(&part.log)).sum::<u64>();
    let (complete, commands) = (sum(|log| log.complete), sum(|log| log.commands));
    let half = sum(|log| log.length) - complete;
    let tail = if half == 0 {
        String::new()
    } else {
        format!("; the last {half} bytes are half a command, which a server passes over")
    };
    Ok(Found {
        detail: format!("{} parts, {commands} commands after the base{tail}", parts.len()),
        complete,
        half,
    })
}

/// Cuts off what comes after the last whole command or transaction, down to `needed` bytes of all parts; how much that
/// was. What was being written at the cut may be there by half, or as zeros: a snapshot of btrfs has the new length of
/// a file that grows without all of its new bytes (measured with Linux 6.18: 23 of 350 snapshots ended in zeros, up to
/// 4.6 MB of them). No server loads that.
///
/// # Errors
/// What is wrong: then nothing was cut.
pub(super) fn cut(directory: &Path, file: &str, needed: u64) -> Result<u64, String> {
    let parts = parts(directory, file)?;
    let complete: u64 = parts.iter().map(|part| part.log.complete).sum();
    if complete < needed {
        return Err(format!("{complete} bytes are whole, and {needed} had been acknowledged"));
    }
    let Some(Part { name, path, log }) = parts.last() else { return Ok(0) };
    if log.length == log.complete {
        return Ok(0);
    }
    let no_follow = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
    let shortened = OpenOptions::new().write(true).custom_flags(no_follow).open(path).and_then(|opened| {
        opened.set_len(log.complete)?;
        opened.sync_all()
    });
    shortened.map_err(|cause| format!("{name} cannot be shortened: {cause}"))?;
    Ok(log.length - log.complete)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n#TS:1628217470\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$4\r\n\r\n*1\r\n\
        *1\r\n$5\r\nMULTI\r\n*2\r\n$4\r\nINCR\r\n$1\r\nb\r\n*1\r\n$4\r\nEXEC\r\n";

    fn log(text: &str) -> Log {
        Log::read(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_whole_log_is_whole() {
        let log = log(LOG);
        assert_eq!((log.commands, log.complete, log.wrong), (5, LOG.len() as u64, None));
    }

    #[test]
    fn a_log_that_is_cut_ends_with_the_last_command_or_transaction_that_is_whole() {
        let multi = LOG.find("*1\r\n$5\r\nMULTI").unwrap();
        for length in 0..LOG.len() {
            let log = log(&LOG[..length]);
            assert_eq!(log.wrong, None, "cut at {length}");
            assert!(log.complete <= length as u64, "cut at {length}");
            if length >= multi {
                assert_eq!(log.complete, multi as u64, "cut at {length}");
            }
        }
    }

    #[test]
    fn what_is_no_command_is_wrong_wherever_it_is() {
        for text in ["x", "*x\r\n", "*0\r\n", "*1\r\n$3\r\nSETxx", "*1\n", "*1\r\n+OK\r\n"] {
            let text = format!("{LOG}{text}\r\n{LOG}");
            assert!(log(&text).wrong.is_some(), "{text:?}");
        }
    }

    #[test]
    fn a_manifest_is_read_and_one_that_leads_elsewhere_is_not() {
        let text = "file a.1.base.rdb seq 1 type b\nfile a.0.incr.aof seq 1 type h\nfile a.1.incr.aof seq 1 type i\n";
        let Manifest(parts) = Manifest::read(text).unwrap();
        assert_eq!(parts, [("a.1.base.rdb".into(), Kind::Base), ("a.1.incr.aof".into(), Kind::Growing)]);
        for text in [
            "",
            "file ../a seq 1 type b",
            "file a seq 1 type x",
            "seq 1 type b",
            "file /etc/passwd seq 1 type i",
        ] {
            assert!(Manifest::read(text).is_err(), "{text}");
        }
    }

    /// A file of one part; the part, and what is left of it after the cut.
    fn cut_down(text: &[u8], needed: u64) -> (Result<u64, String>, Vec<u8>) {
        let place = tempfile::tempdir().unwrap();
        let part = place.path().join("a.1.incr.aof");
        std::fs::write(&part, text).unwrap();
        std::fs::write(place.path().join("a.manifest"), "file a.1.incr.aof seq 1 type i\n").unwrap();
        let cut = cut(place.path(), "a", needed);
        if cut.is_ok() {
            assert_eq!(check(place.path(), "a").unwrap().half, 0);
        }
        (cut, std::fs::read(&part).unwrap())
    }

    #[test]
    fn what_was_being_written_is_cut_off_and_nothing_that_was_acknowledged() {
        let whole = LOG.len() as u64;
        let zeros = [0; 5000];
        for tail in
            [&b""[..], b"*3\r\n$3\r\nSE", b"*1\r\n$5\r\nMULTI\r\n", &zeros, b"\0\0*1\r\n$4\r\nEXEC\r\n"]
        {
            let text = [LOG.as_bytes(), tail].concat();
            assert_eq!(cut_down(&text, whole), (Ok(tail.len() as u64), LOG.as_bytes().to_vec()), "{tail:?}");
            let (refused, left) = cut_down(&text, whole + 1);
            assert!(refused.unwrap_err().contains("had been acknowledged"), "{tail:?}");
            assert_eq!(left, text);
        }
    }

    #[test]
    fn only_the_last_part_may_end_so_and_no_link_is_followed() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        std::fs::write(at("1"), [LOG.as_bytes(), &[0; 2000]].concat()).unwrap();
        std::fs::write(at("2"), LOG).unwrap();
        std::fs::write(at("a.manifest"), "file 1 seq 1 type i\nfile 2 seq 2 type i\n").unwrap();
        assert!(cut(place.path(), "a", 0).unwrap_err().contains("1 is not understood at byte"));
        std::os::unix::fs::symlink("1", at("3")).unwrap();
        std::fs::write(at("a.manifest"), "file 3 seq 1 type i\n").unwrap();
        assert!(cut(place.path(), "a", 0).unwrap_err().contains("3 cannot be shortened"));
    }
}
