//! The API server's errors in people's words, with its own message kept.

use kube::core::Status;
use standstill_core::{Error, ErrorKind};

use super::admission;

/// A request, for messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt<'a> {
    /// The verb as permissions name it: `get`, `create`.
    pub(crate) verb: &'a str,
    /// The resource as permissions name it: `pods`, `jobs.batch`, `pods/exec`.
    pub(crate) resource: &'a str,
    /// The namespace, for what is in one.
    pub(crate) namespace: Option<&'a str>,
    /// The object, where it is one.
    pub(crate) name: Option<&'a str>,
}

impl<'a> Attempt<'a> {
    /// The same on a subresource, under the name that permissions have for it.
    pub(crate) fn of(self, resource: &'a str) -> Self {
        Self { resource, ..self }
    }

    /// `get pods pg-0 in the namespace db`.
    fn text(&self) -> String {
        let mut text = format!("{} {}", self.verb, self.resource);
        if let Some(name) = self.name {
            text.push_str(&format!(" {name}"));
        }
        text.push_str(&self.place());
        text
    }

    fn place(&self) -> String {
        self.namespace.map_or_else(String::new, |namespace| format!(" in the namespace {namespace}"))
    }

    /// It took longer than a request may.
    pub(crate) fn timed_out(&self, within: std::time::Duration) -> Error {
        Error::temporary(format!("cannot {}: the API server did not answer within {within:?}", self.text()))
            .remedy("Check that the API server can be reached from here.")
    }
}

/// Says what happened.
pub(crate) fn explain(attempt: Attempt<'_>, error: kube::Error) -> Error {
    match error {
        kube::Error::Api(status) => refused(attempt, &status),
        error @ (kube::Error::Service(_)
        | kube::Error::HyperError(_)
        | kube::Error::HttpError(_)
        | kube::Error::ReadEvents(_)) => {
            Error::temporary(format!("cannot {}: the API server cannot be reached", attempt.text()))
                .remedy("Check that the API server is up and can be reached from here.")
                .because(error)
        }
        error @ kube::Error::Auth(_) => Error::input(format!(
            "cannot {}: the credentials for the API server cannot be had",
            attempt.text()
        ))
        .remedy("Check the user of the kubeconfig, or the service account's token.")
        .because(error),
        error => Error::failed(format!("cannot {}", attempt.text()))
            .remedy("Look at the cause; the versions of the API server and of this program may not fit.")
            .because(error),
    }
}

fn refused(attempt: Attempt<'_>, status: &Status) -> Error {
    let said = if status.message.is_empty() { &status.reason } else { &status.message };
    let message = format!("cannot {}: {said}", attempt.text());
    if let Some(error) = admission::explained(&message, said) {
        return error;
    }
    match status.code {
        401 => Error::input(message)
            .remedy("The API server does not know this user: log in again, or check the token."),
        403 if is_missing_permission(said) => Error::input(message).remedy(missing_rule(attempt)),
        403 if said.contains("exceeded quota") => {
            Error::failed(message).remedy("Raise the namespace's ResourceQuota, or free what uses it up.")
        }
        403 => Error::input(message).remedy(
            "An admission rule of the cluster refuses it; change that rule, or use another namespace.",
        ),
        404 if attempt.name.is_none() => Error::input(message)
            .remedy("Check the namespace, and that the cluster knows this kind of object."),
        404 => Error::input(message).remedy("Check the name and the namespace."),
        409 => Error::failed(message).remedy("Somebody else changed it at the same time; look at who did."),
        429 | 500.. => Error::temporary(message).remedy("Wait for the API server to recover, and try again."),
        _ => Error::new(ErrorKind::Input, message).remedy("The API server does not accept it as it is."),
    }
}

/// Permissions are refused in these words by every version: `User "x" cannot get resource "pods"`.
fn is_missing_permission(said: &str) -> bool {
    said.contains(" cannot ") && said.contains(" resource ")
}

fn missing_rule(attempt: Attempt<'_>) -> String {
    let (resource, group) = attempt.resource.split_once('.').unwrap_or((attempt.resource, ""));
    format!(
        "Grant the verb `{}` on `{resource}` (API group \"{group}\"){}; `standstill plan --on kubernetes` prints all \
         rules that a run needs.",
        attempt.verb,
        attempt.place(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt() -> Attempt<'static> {
        Attempt { verb: "create", resource: "jobs.batch", namespace: Some("db"), name: Some("backup") }
    }

    fn said(code: u16, message: &str) -> Error {
        let status = Status { code, message: message.into(), ..Status::default() };
        explain(attempt(), kube::Error::Api(status.boxed()))
    }

    #[test]
    fn a_missing_permission_names_the_rule_that_is_missing() {
        let error = said(
            403,
            "jobs.batch is forbidden: User \"a\" cannot create resource \"jobs\" in API group \"batch\" in the namespace \"db\"",
        );
        assert_eq!(error.kind(), ErrorKind::Input);
        assert!(
            error
                .to_string()
                .starts_with("cannot create jobs.batch backup in the namespace db: jobs.batch is forbidden")
        );
        assert_eq!(
            error.remedy_text().unwrap(),
            "Grant the verb `create` on `jobs` (API group \"batch\") in the namespace db; `standstill plan --on kubernetes` \
             prints all rules that a run needs."
        );
    }

    #[test]
    fn a_used_up_quota_is_no_missing_permission() {
        let error = said(403, "jobs.batch \"backup\" is forbidden: exceeded quota: small, requested: pods=1");
        assert_eq!(error.kind(), ErrorKind::Failed);
        assert!(error.remedy_text().unwrap().contains("ResourceQuota"));
    }

    #[test]
    fn an_admission_that_refuses_is_told_in_its_own_words() {
        for code in [400, 403, 429] {
            let error = said(code, "admission webhook \"policy\" denied the request: no hostPath");
            assert_eq!(error.kind(), ErrorKind::Input);
            assert!(error.to_string().contains("no hostPath"));
            assert!(error.remedy_text().unwrap().contains("the admission webhook policy"));
        }
    }

    #[test]
    fn a_server_that_is_down_may_be_asked_again() {
        assert_eq!(said(503, "apiserver is shutting down").kind(), ErrorKind::Temporary);
        let error = explain(attempt(), kube::Error::Service("connection refused".into()));
        assert_eq!(error.kind(), ErrorKind::Temporary);
        assert!(error.chain().contains("connection refused"));
    }
}
