//! What the API server says when an admission rule of the cluster is in the way. A webhook refuses with whatever status it
//! likes, by default with 400 (Kubernetes 1.20, `ToStatusErr`), so its words decide.

use standstill_core::{Error, ErrorKind};

/// Whoever refuses an object, for people; `None` when nobody does.
pub(super) fn refuser(said: &str) -> Option<String> {
    let webhook = after(said, "admission webhook \"", '"').filter(|_| said.contains("denied the request"));
    let policy = after(said, "ValidatingAdmissionPolicy '", '\'').filter(|_| said.contains("denied request"));
    match (webhook, policy) {
        (Some(name), _) => Some(format!("the admission webhook {name}")),
        (None, Some(name)) => Some(format!("the admission policy {name}")),
        (None, None) => None,
    }
}

/// The webhook that has to be asked and does not answer: what it would be asked about is refused meanwhile.
pub(super) fn unanswered(said: &str) -> Option<&str> {
    after(said, "failed calling webhook \"", '"')
}

/// Whether an object was refused by a rule, or would be: also by one that cannot be asked now.
pub(super) fn stands_in_the_way(said: &str) -> bool {
    refuser(said).is_some() || unanswered(said).is_some()
}

/// The error for such a message, which says the request and the rule's own words.
pub(super) fn explained(message: &str, said: &str) -> Option<Error> {
    if let Some(refuser) = refuser(said) {
        return Some(Error::input(message).remedy(format!(
            "That is what {refuser} of the cluster says: have it allow what is labelled \
             app.kubernetes.io/managed-by=standstill, or use another namespace."
        )));
    }
    let webhook = unanswered(said)?;
    Some(Error::new(ErrorKind::Temporary, message).remedy(format!(
        "The admission webhook {webhook} does not answer, and nothing is made without it: see to its pods, its service \
         and its certificate."
    )))
}

/// The text between a start and an end.
fn after<'a>(said: &'a str, start: &str, end: char) -> Option<&'a str> {
    let (_, rest) = said.split_once(start)?;
    rest.split_once(end).map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_refuses_is_named_by_the_servers_words() {
        let webhook = "admission webhook \"pods.policy.example\" denied the request: no image from there";
        assert_eq!(refuser(webhook).unwrap(), "the admission webhook pods.policy.example");
        let policy = "pods \"a\" is forbidden: ValidatingAdmissionPolicy 'limits' with binding 'all' denied request: \
                      failed expression: object.spec.containers.size() == 1";
        assert_eq!(refuser(policy).unwrap(), "the admission policy limits");
        for other in [
            "admission webhook \"a\" does not support dry run",
            "pods \"a\" is forbidden: exceeded quota: small",
            "admission webhook \"",
        ] {
            assert!(!stands_in_the_way(other), "{other}");
        }
    }

    #[test]
    fn a_webhook_that_cannot_be_asked_stands_in_the_way_for_now() {
        let said =
            "Internal error occurred: failed calling webhook \"a.example\": Post \"https://a:443\": refused";
        let error = explained("cannot create pods a", said).unwrap();
        assert_eq!(error.kind(), ErrorKind::Temporary);
        assert!(error.remedy_text().unwrap().contains("a.example does not answer"), "{error}");
    }
}
