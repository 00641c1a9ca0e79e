//! Values of secret parameters, for a run from this machine: read here, also from the cluster's Secrets, and found by
//! the run under the paths at which a run in a pod has them. So the journal names neither what this machine calls them
//! nor anything that a pod could not read, and whoever recovers the run looks where its own run has them.

use std::{collections::BTreeMap, path::PathBuf};

use standstill_core::{
    Error, Result,
    journal::RunRequest,
    secret::{ProcessSecrets, Secret, SecretReference, SecretSource},
};
use standstill_kubernetes::{Cluster, ClusterSecret};

use super::launch::in_pod;

/// Values that were read before, by their paths in a pod; all others are this process' own.
#[derive(Debug, Default)]
pub struct Gathered(BTreeMap<PathBuf, Secret>);

impl SecretSource for Gathered {
    fn read(&self, reference: &SecretReference) -> Result<Secret> {
        let known = match reference {
            SecretReference::File(path) => self.0.get(path),
            _ => None,
        };
        known.map_or_else(|| ProcessSecrets.read(reference), |secret| Ok(secret.clone()))
    }
}

impl Gathered {
    /// Reads all values of a request.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub async fn of(cluster: &Cluster, request: &RunRequest) -> Result<Self> {
        let mut gathered = Self::default();
        for (path, reference) in paths(request) {
            gathered.0.insert(path, value(cluster, reference).await?);
        }
        Ok(gathered)
    }

    /// Reads those that can be read, to recover a run: it may be that nothing asks for the others.
    pub async fn as_far_as_possible(cluster: &Cluster, request: &RunRequest) -> Self {
        let mut gathered = Self::default();
        for (path, reference) in paths(request) {
            match value(cluster, reference).await {
                Ok(value) => drop(gathered.0.insert(path, value)),
                Err(error) => tracing::warn!("a secret of the run cannot be read: {}", error.chain()),
            }
        }
        gathered
    }
}

/// Where a run in a pod would have each secret of a request, and where it comes from.
fn paths(request: &RunRequest) -> Vec<(PathBuf, &SecretReference)> {
    let inside = in_pod(request);
    let of_members = request.members.iter().flat_map(paths);
    let own = request.secrets.iter().filter_map(|(name, reference)| match inside.secrets.get(name) {
        Some(SecretReference::File(path)) => Some((path.clone(), reference)),
        _ => None,
    });
    own.chain(of_members).collect()
}

async fn value(cluster: &Cluster, reference: &SecretReference) -> Result<Secret> {
    let SecretReference::Secret { name, key } = reference else { return ProcessSecrets.read(reference) };
    let found = cluster.objects::<ClusterSecret>().find(name).await?;
    of_key(cluster.namespace(), name, key, found)
}

/// The value of a key.
///
/// # Errors
/// [`standstill_core::ErrorKind::Input`] when there is no such Secret or key, or no text in it.
pub fn of_key(namespace: &str, name: &str, key: &str, found: Option<ClusterSecret>) -> Result<Secret> {
    let Some(secret) = found else {
        return Err(Error::input(format!("there is no Secret {name} in the namespace {namespace}"))
            .remedy("Check the name; Secrets of other namespaces cannot be used."));
    };
    let mut data = secret.data.unwrap_or_default();
    let Some(value) = data.remove(key) else {
        let keys = data.into_keys().collect::<Vec<_>>().join(", ");
        return Err(Error::input(format!("the Secret {name} in the namespace {namespace} has no key {key}"))
            .remedy(format!("Its keys are: {keys}.")));
    };
    // The cause is left out: it would hold the value.
    let text = String::from_utf8(value.0).map_err(|_| {
        Error::input(format!("the key {key} of the Secret {name} in the namespace {namespace} holds no text"))
            .remedy("Put the value there as it is typed.")
    })?;
    // As of a file, one line break at the end is not part of it.
    Ok(Secret::new(text.strip_suffix('\n').unwrap_or(&text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> ClusterSecret {
        serde_json::from_value(serde_json::json!({"data": {"password": "YSBiCg==", "binary": "//4="}}))
            .unwrap()
    }

    #[test]
    fn a_value_of_the_cluster_is_as_a_file_of_it_would_be() {
        let found = || Some(secret());
        assert_eq!(of_key("db", "pg", "password", found()).unwrap().expose(), "a b");
        let error = of_key("db", "pg", "gone", found()).unwrap_err();
        assert_eq!(error.to_string(), "the Secret pg in the namespace db has no key gone");
        assert_eq!(error.remedy_text().unwrap(), "Its keys are: binary, password.");
        assert!(of_key("db", "pg", "binary", found()).unwrap_err().chain().contains("no text"));
        assert!(of_key("db", "pg", "password", None).unwrap_err().to_string().contains("no Secret pg"));
    }
}
