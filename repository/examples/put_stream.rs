//! Stores standard input as a stream in a repository, which is made if need be: for measuring.
//!
//! ```sh
//! STANDSTILL_PASSWORD=… cargo run --release --example put_stream -- /srv/backups < stream
//! ```

use std::{
    io::{self, Read},
    sync::Arc,
    time::Instant,
};

use standstill_core::{
    Error, ErrorKind, Result,
    point::RunId,
    repository::{NoProgress, PutStream, Repository as _, StreamSource},
    secret::{ProcessSecrets, SecretReference, SecretSource},
};
use standstill_repository::{Location, Repository};
use tokio_util::sync::CancellationToken;

/// Standard input; whoever writes it is not asked how it ended.
struct Input {
    input: io::Stdin,
    bytes: u64,
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.bytes += read as u64;
        Ok(read)
    }
}

impl StreamSource for Input {
    fn finish(&mut self) -> Result<u64> {
        Ok(self.bytes)
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let location: Location = std::env::args()
        .nth(1)
        .ok_or_else(|| Error::input("no repository was named").remedy("Name one as the first argument."))?
        .parse()?;
    let password = ProcessSecrets.read(&SecretReference::Env("STANDSTILL_PASSWORD".to_owned()))?;
    let repository = match Repository::open(&location, &password).await {
        Err(error) if error.kind() == ErrorKind::Input => Repository::init(&location, &password).await?,
        other => other?,
    };
    let request =
        PutStream { run: RunId::generate(), application: "bench".into(), artifact: "stream".into() };
    let source = Box::new(Input { input: io::stdin(), bytes: 0 });
    let start = Instant::now();
    let stored =
        repository.put_stream(request, source, Arc::new(NoProgress), CancellationToken::new()).await?;
    println!(
        "{{\"seconds\":{:.3},\"bytes\":{},\"storedBytes\":{}}}",
        start.elapsed().as_secs_f64(),
        stored.bytes,
        stored.stored_bytes
    );
    Ok(())
}
