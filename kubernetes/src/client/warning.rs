//! What the cluster says about an object that does not come to be.

use std::time::Duration;

use k8s_openapi::api::core::v1::Event;
use kube::api::ListParams;

use super::Cluster;

/// How long the words may take: they only explain an error that is known already.
const WORDS: Duration = Duration::from_secs(5);

impl Cluster {
    /// The last warning about an object of the namespace, by its name. Whoever may not read events does without.
    pub(crate) async fn last_warning(&self, name: &str) -> Option<String> {
        let fields = format!("involvedObject.name={name},type=Warning");
        let events = self.objects::<Event>();
        let parameters = ListParams::default().fields(&fields);
        let list = tokio::time::timeout(WORDS, events.api().list(&parameters)).await.ok()?.ok()?;
        let newest =
            list.items.into_iter().max_by_key(|event| event.last_timestamp.clone().map(|time| time.0))?;
        Some(format!("{}: {}", newest.reason.unwrap_or_default(), newest.message.unwrap_or_default()))
    }
}
