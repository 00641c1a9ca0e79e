//! Where a repository is: a directory, or a bucket and a prefix of an object store.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use standstill_core::{Error, Result};

/// The object stores that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// S3 and what speaks its language: `s3://`.
    S3,
    /// Google Cloud Storage: `gs://`.
    Gcs,
    /// Azure Blob Storage: `azure://`.
    Azure,
}

impl Provider {
    /// All of them, for parsing and messages.
    const ALL: [Self; 3] = [Self::S3, Self::Gcs, Self::Azure];

    /// What a location of this kind starts with, without `://`.
    pub const fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Gcs => "gs",
            Self::Azure => "azure",
        }
    }
}

/// Where a repository is. It holds no credentials, so it can be shown anywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A directory of this machine.
    Directory(PathBuf),
    /// A bucket (Azure: a container) and a prefix in it.
    Object {
        /// Whose store it is.
        provider: Provider,
        /// The bucket.
        bucket: String,
        /// The prefix, without slashes at its ends; may be empty.
        prefix: String,
    },
}

impl Location {
    /// The directory, if it is one.
    pub fn directory(&self) -> Option<&Path> {
        match self {
            Self::Directory(path) => Some(path),
            Self::Object { .. } => None,
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => write!(formatter, "{}", path.display()),
            Self::Object { provider, bucket, prefix } if prefix.is_empty() => {
                write!(formatter, "{}://{bucket}", provider.scheme())
            }
            Self::Object { provider, bucket, prefix } => {
                write!(formatter, "{}://{bucket}/{prefix}", provider.scheme())
            }
        }
    }
}

impl FromStr for Location {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return directory(text);
        };
        let Some(provider) = Provider::ALL.into_iter().find(|provider| provider.scheme() == scheme) else {
            // The rest is not repeated: it may hold a password (`https://user:password@host`).
            return Err(Error::input(format!("`{scheme}://` is not a kind of repository")).remedy(
                "Give a directory, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or azure://CONTAINER/PREFIX.",
            ));
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.contains('@') || bucket.contains(':') {
            return Err(Error::input(format!("the {scheme}:// location has credentials or a port in it"))
                .remedy("Set credentials and endpoint in the environment (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, …)."));
        }
        if bucket.is_empty() || prefix.split('/').any(|part| part == "." || part == "..") {
            return Err(Error::input(format!("`{text}` does not name a bucket and a prefix"))
                .remedy(format!("Write {scheme}://BUCKET/PREFIX.")));
        }
        Ok(Self::Object { provider, bucket: bucket.to_owned(), prefix: prefix.trim_matches('/').to_owned() })
    }
}

/// A directory, made absolute so that a later change of the working directory does not move it.
fn directory(text: &str) -> Result<Location> {
    if text.trim().is_empty() {
        return Err(Error::input("the repository's location is empty")
            .remedy("Name it with --repository or STANDSTILL_REPOSITORY."));
    }
    let path = std::path::absolute(text).map_err(|cause| {
        Error::input(format!("the repository's location `{text}` cannot be made absolute"))
            .remedy("Give an absolute path.")
            .because(cause)
    })?;
    Ok(Location::Directory(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_shown_as_they_are_written() {
        for text in ["/srv/backups", "s3://bucket/some/prefix", "gs://bucket", "azure://container/prefix"] {
            assert_eq!(text.parse::<Location>().unwrap().to_string(), text);
        }
        assert_eq!("s3://bucket/a/b/".parse::<Location>().unwrap().to_string(), "s3://bucket/a/b");
    }

    #[test]
    fn a_relative_directory_becomes_absolute() {
        let location: Location = "backups".parse().unwrap();
        assert!(location.directory().unwrap().is_absolute());
    }

    #[test]
    fn a_location_with_credentials_is_refused_without_repeating_them() {
        for text in ["s3://key:secret@bucket/prefix", "https://user:secret@host/x"] {
            let error = text.parse::<Location>().unwrap_err();
            assert!(error.remedy_text().is_some());
            assert!(!error.chain().contains("secret"), "{}", error.chain());
        }
    }

    #[test]
    fn what_names_no_place_is_refused() {
        for text in ["", "s3://", "s3:///prefix", "s3://bucket/../other"] {
            assert_eq!(
                text.parse::<Location>().unwrap_err().kind(),
                standstill_core::ErrorKind::Input,
                "{text}"
            );
        }
    }
}
