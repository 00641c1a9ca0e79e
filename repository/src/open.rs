//! Making and opening repositories. Opening never makes one: a typing error must not become a new repository.

use std::sync::Arc;

use rustic_core::{
    ConfigOptions, Credentials, KeyOptions, OpenStatus, RepositoryBackends, RusticResult, WriteBackend,
};
use standstill_core::{Error, Result, secret::Secret};

use crate::{
    fault::Attempt,
    gate::Gate,
    location::Location,
    objects::{Directory, Objects},
    store::{Store, options},
};

/// A place, not yet opened.
struct Place {
    location: Location,
    objects: Arc<dyn Objects>,
    gate: Arc<Gate>,
}

impl Place {
    fn new(location: &Location) -> Result<Self> {
        let objects = objects(location)?;
        let gate = Arc::new(Gate::new(location.to_string(), Arc::clone(&objects)));
        Ok(Self { location: location.clone(), objects, gate })
    }

    /// Whether there is a repository; an error if the place cannot be looked at.
    fn holds_repository(&self) -> Result<bool> {
        let there = self.objects.size("config").map_err(|cause| unreachable(&self.location, cause))?;
        Ok(there.is_some())
    }

    fn with<T>(&self, work: impl FnOnce(rustic_core::Repository<()>) -> RusticResult<T>) -> RusticResult<T> {
        // Making a repository writes keys and the configuration only; both pass the gate.
        let backends = RepositoryBackends::new(Arc::clone(&self.gate) as Arc<dyn WriteBackend>, None);
        work(rustic_core::Repository::new(&options(), &backends)?)
    }

    fn opened(self, open: rustic_core::Repository<OpenStatus>) -> Store {
        Store::new(self.location, self.objects, self.gate, open)
    }
}

/// The library's defaults, but for one: it would decrypt and decompress everything again right after it encrypted
/// it, which costs a tenth of the time. What that finds, `verify` finds too: it restores, and compares hashes that
/// were made from the source.
fn config() -> ConfigOptions {
    ConfigOptions::default().set_extra_verify(false)
}

fn unreachable(location: &Location, cause: std::io::Error) -> Error {
    let remedy = match location {
        Location::Directory(_) => "Check the path, its permissions, and that its file system is mounted.",
        Location::Object { .. } => {
            "Check the bucket's name, the network, and the credentials and endpoint in the environment."
        }
    };
    Error::input(format!("the repository's place {location} cannot be reached")).remedy(remedy).because(cause)
}

/// Makes a repository in an empty or absent place.
pub(crate) fn init(location: &Location, password: &Secret) -> Result<Store> {
    let place = Place::new(location)?;
    if place.holds_repository()? {
        return Err(Error::input(format!("there is a repository at {location} already"))
            .remedy("Use it, or give an empty place for a new one."));
    }
    if !place.objects.is_empty().map_err(|cause| unreachable(location, cause))? {
        return Err(Error::input(format!("{location} is not empty, so no repository is made there"))
            .remedy("Give a place that is empty or does not exist yet."));
    }
    if password.expose().is_empty() {
        return Err(Error::input("the repository's password is empty")
            .remedy("Set STANDSTILL_PASSWORD_FILE, STANDSTILL_PASSWORD or --password-file."));
    }
    let credentials = Credentials::password(password.expose());
    let open = place
        .with(|new| new.init(&credentials, &KeyOptions::default().with_created(true), &config()))
        .attempt(format!("no repository can be made at {location}"))?;
    Ok(place.opened(open))
}

/// Opens an existing repository.
pub(crate) fn open(location: &Location, password: &Secret) -> Result<Store> {
    let place = Place::new(location)?;
    if !place.holds_repository()? {
        return Err(Error::input(format!("there is no repository at {location}"))
            .remedy("Check the location, or make a repository there with `standstill init`."));
    }
    let credentials = Credentials::password(password.expose());
    let open = place.with(|closed| closed.open(&credentials));
    match open {
        Ok(open) => Ok(place.opened(open)),
        Err(error) if error.is_incorrect_password() => {
            Err(Error::input(format!("the password does not open the repository at {location}"))
                .remedy("Give the password that the repository was made with."))
        }
        Err(error) => Err(error).attempt(format!("the repository at {location} cannot be opened")),
    }
}

fn objects(location: &Location) -> Result<Arc<dyn Objects>> {
    match location {
        Location::Directory(path) => Ok(Arc::new(Directory::new(path))),
        #[cfg(feature = "cloud")]
        Location::Object { provider, bucket, prefix } => {
            crate::objects::Cloud::open(*provider, bucket, prefix)
        }
        #[cfg(not(feature = "cloud"))]
        Location::Object { .. } => {
            Err(Error::input(format!("{location} is in an object store, which this build cannot reach"))
                .remedy("Install a build with object stores: `cargo install standstill --features cloud`."))
        }
    }
}
