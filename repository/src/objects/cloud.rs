//! A repository in an object store. Every call has a deadline and is repeated when it failed for now.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use opendal::{
    ErrorKind, Operator,
    blocking::Operator as Blocking,
    layers::{RetryLayer, TimeoutLayer},
    options::{ListOptions, ReadOptions, WriteOptions},
    services::{Azblob, Gcs, S3},
};
use standstill_core::{Error, Result};

use super::{Objects, transport};
use crate::location::Provider;

/// For calls that carry no content.
const CALL: Duration = Duration::from_mins(1);
/// For each part of content; large files go in parts, which slow lines must be able to carry.
const PART: Duration = Duration::from_mins(3);
const PART_SIZE: usize = 8 << 20;
const PARTS_AT_ONCE: usize = 4;
/// How often a call is repeated, with pauses that double: 8 seconds in all.
const ATTEMPTS: usize = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// Files below a prefix of a bucket.
#[derive(Debug)]
pub(crate) struct Cloud(Blocking);

impl Cloud {
    /// Connects to a store; nothing is sent yet. Credentials come from the environment and, as the providers' own
    /// tools do it, from their configuration files and machine identities.
    pub(crate) fn open(provider: Provider, bucket: &str, prefix: &str) -> Result<Arc<dyn Objects>> {
        transport::install().map_err(|cause| {
            Error::failed("object stores cannot be reached: there is no TLS")
                .remedy("Check the certificates of this machine (SSL_CERT_FILE, SSL_CERT_DIR).")
                .because(cause)
        })?;
        let operator = match provider {
            Provider::S3 => s3(bucket, prefix),
            Provider::Gcs => Operator::new(Gcs::default().bucket(bucket).root(prefix)),
            Provider::Azure => azure(bucket, prefix),
        };
        let blocking = operator.and_then(|operator| {
            let deadlines = TimeoutLayer::new().with_timeout(CALL).with_io_timeout(PART);
            let again = RetryLayer::new().with_max_times(ATTEMPTS).with_min_delay(FIRST_PAUSE).with_jitter();
            Blocking::new(operator.layer(deadlines).layer(again))
        });
        let blocking = blocking.map_err(|cause| {
            Error::input(format!("the object store {}://{bucket} cannot be used", provider.scheme()))
                .remedy(
                    "Check the bucket's name, and the credentials, region and endpoint in the environment.",
                )
                .because(cause)
        })?;
        Ok(Arc::new(Self(blocking)))
    }
}

fn variable(names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
}

fn s3(bucket: &str, prefix: &str) -> opendal::Result<Operator> {
    let mut builder = S3::default().bucket(bucket).root(prefix);
    // The region is part of every signature; servers other than Amazon's take any.
    builder =
        builder.region(&variable(&["AWS_REGION", "AWS_DEFAULT_REGION"]).unwrap_or("us-east-1".to_owned()));
    if let Some(endpoint) = variable(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]) {
        builder = builder.endpoint(&endpoint);
    }
    Operator::new(builder)
}

fn azure(container: &str, prefix: &str) -> opendal::Result<Operator> {
    let mut builder = Azblob::default().container(container).root(prefix);
    let account = variable(&["AZURE_STORAGE_ACCOUNT", "AZURE_ACCOUNT_NAME"]);
    let endpoint = variable(&["AZURE_STORAGE_BLOB_ENDPOINT"])
        .or_else(|| account.as_ref().map(|account| format!("https://{account}.blob.core.windows.net")));
    if let Some(endpoint) = endpoint {
        builder = builder.endpoint(&endpoint);
    }
    if let Some(account) = account {
        builder = builder.account_name(&account);
    }
    if let Some(key) = variable(&["AZURE_STORAGE_KEY", "AZURE_ACCOUNT_KEY"]) {
        builder = builder.account_key(&key);
    }
    if let Some(token) = variable(&["AZURE_STORAGE_SAS_TOKEN"]) {
        builder = builder.sas_token(&token);
    }
    Operator::new(builder)
}

/// What happened and why at the very bottom, without what lies between: requests and responses, whose addresses
/// may hold a signature or a token.
#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn io_error(error: opendal::Error) -> io::Error {
    let kind = match error.kind() {
        ErrorKind::NotFound => io::ErrorKind::NotFound,
        ErrorKind::PermissionDenied => io::ErrorKind::PermissionDenied,
        ErrorKind::RateLimited => io::ErrorKind::ResourceBusy,
        // Whatever may pass by itself, after all attempts.
        _ if error.is_temporary() || error.is_persistent() => io::ErrorKind::HostUnreachable,
        _ => io::ErrorKind::Other,
    };
    let mut cause: &dyn std::error::Error = &error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let text = if std::error::Error::source(&error).is_some() {
        format!("{}: {cause}", error.message())
    } else {
        error.message().to_owned()
    };
    let text = match kind {
        io::ErrorKind::HostUnreachable => format!("the object store does not answer: {text}"),
        _ => text,
    };
    io::Error::new(kind, text)
}

impl Objects for Cloud {
    fn prepare(&self) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, folder: &str) -> io::Result<Vec<(String, u64)>> {
        let options = ListOptions { recursive: true, ..ListOptions::default() };
        let lister = self.0.lister_options(&format!("{folder}/"), options).map_err(io_error)?;
        let mut found = Vec::new();
        for entry in lister {
            let entry = entry.map_err(io_error)?;
            if entry.metadata().is_file() {
                found.push((entry.name().to_owned(), entry.metadata().content_length()));
            }
        }
        Ok(found)
    }

    fn size(&self, path: &str) -> io::Result<Option<u64>> {
        match self.0.stat(path) {
            Ok(metadata) => Ok(Some(metadata.content_length())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_error(error)),
        }
    }

    fn read(&self, path: &str) -> io::Result<Bytes> {
        Ok(self.0.read(path).map_err(io_error)?.to_bytes())
    }

    fn read_range(&self, path: &str, offset: u64, length: usize) -> io::Result<Bytes> {
        let range = offset..offset + length as u64;
        let options = ReadOptions { range: range.into(), ..ReadOptions::default() };
        let content = self.0.read_options(path, options).map_err(io_error)?.to_bytes();
        if content.len() == length { Ok(content) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn write(&self, path: &str, content: Vec<Bytes>) -> io::Result<()> {
        let options =
            WriteOptions { chunk: Some(PART_SIZE), concurrent: PARTS_AT_ONCE, ..WriteOptions::default() };
        self.0.write_options(path, content, options).map_err(io_error)?;
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        match self.0.delete(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(io_error(error)),
            _ => Ok(()),
        }
    }

    fn is_empty(&self) -> io::Result<bool> {
        let options = ListOptions { recursive: true, limit: Some(2), ..ListOptions::default() };
        let mut lister = self.0.lister_options("", options).map_err(io_error)?;
        // A marker of the prefix itself is no content.
        let file = lister.find(|entry| entry.as_ref().map_or(true, |entry| entry.metadata().is_file()));
        file.transpose().map(|file| file.is_none()).map_err(io_error)
    }
}
