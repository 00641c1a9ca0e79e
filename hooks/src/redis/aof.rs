//! Append-only files in parts: the list of them, and whether each is whole.
//!
//! Parts that grow have no checksums: a byte that is changed inside a value is found by nobody, neither here nor by
//! `redis-check-aof`. The repository's own checksums are what there is against that.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

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

/// Looks at every part.
///
/// # Errors
/// What is wrong.
pub(super) fn check(directory: &Path, file: &str) -> Result<Found, String> {
    let manifest = format!("{file}.manifest");
    let text = std::fs::read_to_string(directory.join(&manifest))
        .map_err(|cause| format!("{manifest} cannot be read: {cause}"))?;
    let Manifest(parts) = Manifest::read(&text)?;
    let (mut complete, mut commands, mut half) = (0_u64, 0_u64, 0_u64);
    for (index, (name, kind)) in parts.iter().enumerate() {
        let path = directory.join(name);
        let unreadable = |cause: io::Error| format!("{name} cannot be read: {cause}");
        if *kind == Kind::Base && path.extension().is_some_and(|extension| extension == "rdb") {
            let (_, bytes) =
                rdb::check(&path).map_err(unreadable)?.map_err(|wrong| format!("{name} {wrong}"))?;
            complete += bytes;
            continue;
        }
        let log = Log::of(&path).map_err(unreadable)?;
        if let Some(at) = log.wrong {
            return Err(format!("{name} is not understood at byte {at}"));
        }
        half = log.length - log.complete;
        if half > 0 && index + 1 < parts.len() {
            return Err(format!("{name} ends in the middle of a command, and is not the last part"));
        }
        complete += log.complete;
        commands += log.commands;
    }
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
}
