//! What the cluster says about an object that does not come to be.

use std::{cmp::Reverse, time::Duration};

use k8s_openapi::api::core::v1::Event;
use kube::api::ListParams;

use super::Cluster;

/// How long the words may take: they only explain an error that is known already.
const WORDS: Duration = Duration::from_secs(5);
/// A warning about each pod in a cluster without a name server, which explains nothing.
const IRRELEVANT: &str = "MissingClusterDNS";

impl Cluster {
    /// The last warning about an object of the namespace, by its name. Whoever may not read events does without.
    pub(crate) async fn last_warning(&self, name: &str) -> Option<String> {
        self.warnings(name).await.into_iter().next()
    }

    /// All warnings about an object of the namespace, the newest first.
    pub(crate) async fn warnings(&self, name: &str) -> Vec<String> {
        let fields = format!("involvedObject.name={name},type=Warning");
        let events = self.objects::<Event>();
        let parameters = ListParams::default().fields(&fields);
        let listed = tokio::time::timeout(WORDS, events.api().list(&parameters)).await;
        let Ok(Ok(listed)) = listed else { return Vec::new() };
        let mut found = listed.items;
        found.retain(|event| event.reason.as_deref() != Some(IRRELEVANT));
        found.sort_by_key(|event| Reverse(event.last_timestamp.as_ref().map(|time| time.0)));
        let words = |event: Event| {
            format!("{}: {}", event.reason.unwrap_or_default(), event.message.unwrap_or_default())
        };
        found.into_iter().map(words).collect()
    }
}
