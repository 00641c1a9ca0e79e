//! The connection to an API server, and objects of one kind in it.
//!
//! Every request has a deadline, and every error says in words what was attempted on what.

mod admission;
mod error;
mod exec;
mod objects;
mod remove;
mod scale;
mod wait;
mod warning;

use std::{path::Path, sync::Arc, time::Duration};

use kube::{
    Api, Client, Config,
    api::{ApiResource, DynamicObject},
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
    core::NamespaceResourceScope,
};
use standstill_core::{Error, Result};

pub(crate) use error::{Attempt, explain};
pub use exec::Executed;
pub(crate) use exec::exit_status;
pub use objects::Objects;
use objects::REQUEST;

/// How long the credentials of a kubeconfig may take to be had: a program that it names may have somebody log in.
const CREDENTIALS: Duration = Duration::from_mins(1);

/// An API server, and the namespace of the target in it.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    config: Arc<Config>,
    namespace: String,
}

impl Cluster {
    /// The cluster of the user's kubeconfig (`KUBECONFIG`, else `~/.kube/config`): of one context, by default the
    /// current one. In a pod without a kubeconfig it is that of the pod's service account. The namespace is the
    /// context's own unless one is given.
    ///
    /// # Errors
    /// [`standstill_core::ErrorKind::Input`] when there is no such file or context.
    pub async fn of_user(context: Option<&str>, namespace: Option<&str>) -> Result<Self> {
        let options =
            KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
        let named = context.is_some() || std::env::var_os("KUBECONFIG").is_some();
        let config = match (Config::from_kubeconfig(&options).await, Config::incluster()) {
            (Ok(config), _) => config,
            (Err(_), Ok(config)) if !named => config,
            (Err(cause), _) => return Err(no_kubeconfig(context).because(cause)),
        };
        Self::of_config(config, namespace)
    }

    /// The cluster of one kubeconfig file, by its current context.
    ///
    /// # Errors
    /// As [`Cluster::of_user`].
    pub async fn of_file(file: &Path, namespace: &str) -> Result<Self> {
        let unreadable = |cause: KubeconfigError| {
            Error::input(format!("the kubeconfig {} cannot be read", file.display()))
                .remedy("Check its path and its contexts.")
                .because(cause)
        };
        let written = Kubeconfig::read_from(file).map_err(unreadable)?;
        let config = Config::from_custom_kubeconfig(written, &KubeConfigOptions::default()).await;
        Self::of_config(config.map_err(unreadable)?, Some(namespace))
    }

    /// The cluster that this process runs in a pod of, with the pod's service account.
    ///
    /// # Errors
    /// [`standstill_core::ErrorKind::Input`] when this is no pod, or it has no service account.
    pub fn of_pod(namespace: Option<&str>) -> Result<Self> {
        let config = Config::incluster().map_err(|cause| {
            Error::input("this is no pod with a service account")
                .remedy("Start runs in pods by `standstill backup --on kubernetes` from outside.")
                .because(cause)
        })?;
        Self::of_config(config, namespace)
    }

    fn of_config(config: Config, namespace: Option<&str>) -> Result<Self> {
        let namespace = namespace.unwrap_or(&config.default_namespace).to_owned();
        Ok(Self { client: client(&config)?, config: Arc::new(config), namespace })
    }

    /// The same cluster, with connections of its own that are driven by the runtime that this is called on: what must
    /// not wait for anybody else's work.
    ///
    /// # Errors
    /// As [`Cluster::of_user`], and when the credentials are not there in time: a program that the kubeconfig names may ask
    /// somebody for them. Whatever else lives on this thread must not wait for that.
    pub(crate) async fn anew(&self) -> Result<Self> {
        let config = Arc::clone(&self.config);
        let made = tokio::task::spawn_blocking(move || client(&config));
        let client = tokio::time::timeout(CREDENTIALS, made).await.map_err(|_elapsed| {
            Error::temporary("the credentials for the API server cannot be had in time").remedy(
                "Log in again, so that the program that the kubeconfig names gives them without asking.",
            )
        })?;
        let client = client
            .map_err(|cause| Error::failed("no connection to the API server can be made").because(cause))??;
        Ok(Self { client, ..self.clone() })
    }

    /// Whether the API server answers within the time, whatever it answers.
    pub(crate) async fn answers(&self, within: Duration) -> bool {
        let answer = tokio::time::timeout(within, self.client.apiserver_version()).await;
        matches!(answer, Ok(Ok(_) | Err(kube::Error::Api(_))))
    }

    /// The same cluster, in another namespace.
    #[must_use]
    pub fn in_namespace(&self, namespace: &str) -> Self {
        Self {
            client: self.client.clone(),
            config: Arc::clone(&self.config),
            namespace: namespace.to_owned(),
        }
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Objects of a kind in the namespace.
    pub fn objects<K>(&self) -> Objects<K>
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        let api = Api::namespaced(self.client.clone(), &self.namespace);
        Objects::new(api, resource(&K::group(&()), &K::plural(&())), Some(self.namespace.clone()))
    }

    /// Objects of a kind that belongs to no namespace (nodes, storage classes).
    pub fn global<K>(&self) -> Objects<K>
    where
        K: kube::Resource<DynamicType = ()>,
    {
        let api = Api::all(self.client.clone());
        Objects::new(api, resource(&K::group(&()), &K::plural(&())), None)
    }

    /// Objects in the namespace of a kind that is only known by its name.
    pub fn dynamic(&self, kind: &ApiResource) -> Objects<DynamicObject> {
        let api = Api::namespaced_with(self.client.clone(), &self.namespace, kind);
        Objects::new(api, resource(&kind.group, &kind.plural), Some(self.namespace.clone()))
    }

    /// Objects of no namespace and of a kind that is only known by its name.
    pub fn dynamic_global(&self, kind: &ApiResource) -> Objects<DynamicObject> {
        let api = Api::all_with(self.client.clone(), kind);
        Objects::new(api, resource(&kind.group, &kind.plural), None)
    }
}

fn client(config: &Config) -> Result<Client> {
    Client::try_from(config.clone()).map_err(|cause| {
        Error::input("the API server cannot be used with these settings")
            .remedy("Check the server, the certificates and the user of the kubeconfig.")
            .because(cause)
    })
}

fn no_kubeconfig(context: Option<&str>) -> Error {
    let named = context.map_or_else(String::new, |context| format!(" with the context {context}"));
    Error::input(format!("no kubeconfig{named} can be read"))
        .remedy("Set KUBECONFIG to the file of the cluster, or name one of its contexts by `--context`.")
}

/// A resource as permissions and `kubectl` name it: `pods`, `jobs.batch`.
fn resource(group: &str, plural: &str) -> String {
    if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") }
}
