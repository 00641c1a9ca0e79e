//! What a run costs the cluster.

use std::collections::BTreeMap;

use crate::support::{
    Postgres, Space,
    audit::{Request, of_launches, of_runners},
};

/// What a launch asks for of no namespace, which the audit log cannot tell from that of other runs: the role, its
/// binding (made, listed and removed).
const OF_NO_NAMESPACE: usize = 4;

/// Requests that are made again and again for as long as a run lasts, and those that are about the bindings of others:
/// whether their accounts are still there.
fn goes_on(request: &Request) -> bool {
    request.verb == "watch"
        || (request.resource == "leases" && request.verb == "update")
        || (request.resource == "serviceaccounts" && request.verb == "get")
}

#[test]
fn a_backup_asks_the_api_server_seldom_and_for_nothing_large() {
    let Some(space) = Space::new("cost") else { return };
    space.place.init();
    let server = Postgres::start(&space);
    let outcome = server.backup(&[]);
    assert_eq!(outcome.code(), Some(0), "{outcome}");
    let runners = of_runners(&space);
    assert_eq!(runners.len(), 1, "one backup has one runner");
    let launch = of_launches(&space);
    let mut all = OF_NO_NAMESPACE;
    for (who, requests) in [("the launch", &launch), ("the runner", &runners[0].1)] {
        let mut counted: BTreeMap<&Request, usize> = BTreeMap::new();
        for request in requests.iter().filter(|request| !goes_on(request)) {
            *counted.entry(request).or_default() += 1;
        }
        let count: usize = counted.values().sum();
        println!("{count} requests of {who}: {counted:?}");
        all += count;
    }
    assert!(launch.len() > 10, "the launch is in the log");
    println!("{all} requests in all");
    assert!(all <= 60, "{all} requests");
    // Data that went through the API server would go through one of these.
    for carries in ["pods/exec", "pods/attach", "pods/portforward", "pods/proxy"] {
        let all = launch.iter().chain(&runners[0].1);
        assert!(all.into_iter().all(|request| request.resource != carries), "{carries}");
    }
}
