//! Opening the repository that the command line names.

use std::{path::Path, str::FromStr, time::Duration};

use standstill_core::{
    Error, Result,
    point::CheckOutcome,
    repository::{ListedPoint, Repository as _},
    secret::{ProcessSecrets, Secret, SecretReference, SecretSource},
};
use standstill_repository::{Location, Repository};

use crate::arguments;

/// How long a repository may take to answer that a recovery could do without.
const OPENED: Duration = Duration::from_secs(30);

/// Where the repository is.
pub fn location(arguments: &arguments::Repository) -> Result<Location> {
    let location = Location::from_str(&arguments.repository)?;
    Ok(match location.directory() {
        // The journal names it, and `recover` may run in another directory.
        Some(path) => Location::Directory(std::path::absolute(path).map_err(|cause| {
            Error::input(format!("the repository {} has no absolute path", path.display())).because(cause)
        })?),
        None => location,
    })
}

/// The repository's password.
pub fn password(arguments: &arguments::Password) -> Result<Secret> {
    let file = arguments.password_file.clone().or_else(|| {
        std::env::var_os("STANDSTILL_PASSWORD_FILE").filter(|path| !path.is_empty()).map(Into::into)
    });
    let reference = match file {
        Some(path) => SecretReference::File(path),
        None if std::env::var_os("STANDSTILL_PASSWORD").is_some() => {
            SecretReference::Env("STANDSTILL_PASSWORD".into())
        }
        None => {
            return Err(Error::input("the repository's password is not given").remedy(
                "Add `--password-file FILE`, or set STANDSTILL_PASSWORD_FILE or STANDSTILL_PASSWORD.",
            ));
        }
    };
    let password = ProcessSecrets.read(&reference)?;
    if password.expose().is_empty() {
        return Err(Error::input("the repository's password is empty")
            .remedy("Choose one; it encrypts every backup."));
    }
    Ok(password)
}

/// Opens it.
pub async fn open(arguments: &arguments::Repository) -> Result<Repository> {
    Repository::open(&location(arguments)?, &password(&arguments.password)?).await
}

/// Opens a repository for a recovery, which goes on without one that cannot be opened: what is held does not wait for it,
/// and it may be what the run died of.
pub async fn for_recovery(
    location: &str,
    opening: impl Future<Output = Result<Repository>>,
) -> Option<Repository> {
    match tokio::time::timeout(OPENED, opening).await {
        Ok(Ok(repository)) => Some(repository),
        Ok(Err(error)) => {
            tracing::warn!("{}; recovering without it", error.chain());
            None
        }
        Err(_) => {
            tracing::warn!("{location} does not answer; recovering without it");
            None
        }
    }
}

/// The recovery point that a user means: an id, the beginning of one, or `latest`.
pub async fn point(repository: &Repository, wanted: &str, name: Option<&str>) -> Result<ListedPoint> {
    point_among(repository, &repository.points().await?, wanted, name)
}

/// The same, among recovery points that were listed already.
///
/// # Errors
/// As those of [`point`].
pub fn point_among(
    repository: &Repository,
    points: &[ListedPoint],
    wanted: &str,
    name: Option<&str>,
) -> Result<ListedPoint> {
    let mut of_name =
        points.iter().filter(|listed| name.is_none_or(|name| listed.point.name == name)).cloned();
    if wanted == "latest" {
        let mut newest: Vec<ListedPoint> = of_name.collect();
        if name.is_none() {
            one_application(&newest)?;
        }
        return newest.pop().ok_or_else(|| nothing(repository, name));
    }
    let matching: Vec<ListedPoint> =
        of_name.by_ref().filter(|listed| listed.point.id.as_str().starts_with(wanted)).collect();
    match <[ListedPoint; 1]>::try_from(matching) {
        Ok([listed]) => Ok(listed),
        Err(matching) if matching.is_empty() => {
            Err(Error::input(format!("the repository has no recovery point `{wanted}`"))
                .remedy("`standstill list` shows them."))
        }
        Err(matching) => {
            Err(Error::input(format!("{} recovery points begin with `{wanted}`", matching.len()))
                .remedy("Give more of the id."))
        }
    }
}

fn nothing(repository: &Repository, name: Option<&str>) -> Error {
    let of = name.map_or_else(String::new, |name| format!(" of {name}"));
    Error::input(format!("the repository {} has no recovery point{of}", repository.location()))
        .remedy("Make one with `standstill backup`; `standstill list` shows what is there.")
}

/// `latest` must say of what, once there is more than one application.
fn one_application(points: &[ListedPoint]) -> Result<()> {
    let mut names: Vec<&str> = points.iter().map(|listed| listed.point.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    if names.len() > 1 {
        return Err(Error::input("`latest` could be of more than one application")
            .remedy(format!("Add `--name` with one of: {}.", names.join(", "))));
    }
    Ok(())
}

/// How a recovery point was verified, for a table.
pub fn verified(listed: &ListedPoint) -> String {
    match &listed.verification {
        None => "never".into(),
        Some(verification) => {
            let outcome = if verification.outcome == CheckOutcome::Passed { "passed" } else { "FAILED" };
            format!("{outcome} {}", verification.at.strftime("%Y-%m-%d %H:%M"))
        }
    }
}

/// Whether a file system path is a repository's own directory, which a blueprint must not freeze.
pub fn is_inside(path: &Path, location: &Location) -> bool {
    location.directory().is_some_and(|directory| directory.starts_with(path))
}
