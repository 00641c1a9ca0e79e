//! A small key-value application that Standstill has no hook for, with a pause that outlives its client.
//!
//! `kv serve DIRECTORY` appends every `SET` to `DIRECTORY/data` and answers on `DIRECTORY/socket`;
//! `kv DIRECTORY WORD…` sends one line and prints the answer; `kv client DIRECTORY` copies lines both ways. The
//! environment variable `KV_SOCKET` names another place for the socket. `kv install FILE` copies the program.
//!
//! | line | answer |
//! | --- | --- |
//! | `SET NUMBER` | `OK`, as soon as writes are not paused |
//! | `PAUSE` | `OK`, once no write is half done; it stays until `RESUME`, whoever goes away |
//! | `RESUME` | `OK`, also when nothing is paused |
//! | `STATE` | `paused` or `running` |
//! | `PING` | `PONG` |
//! | `QUIT` | none: the server ends |

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, Condvar, Mutex, PoisonError},
};

struct Store {
    data: Mutex<Data>,
    resumed: Condvar,
}

struct Data {
    file: File,
    paused: bool,
}

impl Store {
    fn answer(&self, line: &str) -> io::Result<String> {
        let mut data = self.data.lock().unwrap_or_else(PoisonError::into_inner);
        match line.split_once(' ').unwrap_or((line, "")) {
            ("SET", number) => {
                while data.paused {
                    data = self.resumed.wait(data).unwrap_or_else(PoisonError::into_inner);
                }
                // Two writes, so that a copy taken in between is torn.
                write!(data.file, "{number}")?;
                data.file.flush()?;
                writeln!(data.file, ";")?;
            }
            ("PAUSE", _) => data.paused = true,
            ("RESUME", _) => {
                data.paused = false;
                self.resumed.notify_all();
            }
            ("STATE", _) => return Ok(if data.paused { "paused" } else { "running" }.to_owned()),
            ("PING", _) => return Ok("PONG".to_owned()),
            ("QUIT", _) => std::process::exit(1),
            _ => return Ok("WHAT".to_owned()),
        }
        Ok("OK".to_owned())
    }
}

fn socket(directory: &Path) -> PathBuf {
    std::env::var_os("KV_SOCKET").map_or_else(|| directory.join("socket"), PathBuf::from)
}

fn install(file: &Path) -> io::Result<()> {
    std::fs::copy(std::env::current_exe()?, file).map(drop)
}

fn serve(directory: &Path) -> io::Result<()> {
    let file = OpenOptions::new().create(true).append(true).open(directory.join("data"))?;
    let socket = socket(directory);
    // What an earlier server left.
    let _absent = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(socket)?;
    let store = Arc::new(Store { data: Mutex::new(Data { file, paused: false }), resumed: Condvar::new() });
    for connection in listener.incoming() {
        let (connection, store) = (connection?, Arc::clone(&store));
        std::thread::spawn(move || converse(&connection, &store));
    }
    Ok(())
}

fn converse(connection: &UnixStream, store: &Store) -> io::Result<()> {
    let mut writer = connection.try_clone()?;
    for line in BufReader::new(connection).lines() {
        let answer = store.answer(&line?)?;
        writeln!(writer, "{answer}")?;
    }
    Ok(())
}

fn ask(directory: &Path, line: &str) -> io::Result<()> {
    let mut connection = UnixStream::connect(socket(directory))?;
    writeln!(connection, "{line}")?;
    let mut answer = String::new();
    BufReader::new(connection).read_line(&mut answer)?;
    write!(io::stdout(), "{answer}")
}

fn client(directory: &Path) -> io::Result<()> {
    let mut connection = UnixStream::connect(socket(directory))?;
    let mut answers = BufReader::new(connection.try_clone()?);
    for line in io::stdin().lines() {
        writeln!(connection, "{}", line?)?;
        let mut answer = String::new();
        if answers.read_line(&mut answer)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        write!(io::stdout(), "{answer}")?;
        io::stdout().flush()?;
    }
    Ok(())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["serve", directory] => serve(Path::new(directory)),
        ["install", file] => install(Path::new(file)),
        ["client", directory] => client(Path::new(directory)),
        [directory, line @ ..] if !line.is_empty() => ask(Path::new(directory), &line.join(" ")),
        _ => Err(io::Error::other(
            "usage: kv serve DIRECTORY | kv install FILE | kv client DIRECTORY | kv DIRECTORY WORD…",
        )),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _told = writeln!(io::stderr(), "kv: {error}");
            ExitCode::FAILURE
        }
    }
}
