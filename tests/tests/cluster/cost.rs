//! What a run costs the cluster.

use std::collections::BTreeMap;

use crate::support::{
    Postgres, Space,
    audit::{Request, of_runners},
};

/// Requests that are made again and again for as long as a run lasts.
fn goes_on(request: &Request) -> bool {
    request.verb == "watch" || (request.resource == "leases" && request.verb == "update")
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
    let requests: Vec<&Request> = runners[0].1.iter().filter(|request| !goes_on(request)).collect();
    let mut counted: BTreeMap<&Request, usize> = BTreeMap::new();
    for request in &requests {
        *counted.entry(request).or_default() += 1;
    }
    println!("{} requests of the runner: {counted:?}", requests.len());
    assert!(requests.len() <= 60, "{} requests: {counted:?}", requests.len());
    // Data that went through the API server would go through one of these.
    for carries in ["pods/exec", "pods/attach", "pods/portforward", "pods/proxy"] {
        assert!(requests.iter().all(|request| request.resource != carries), "{carries}");
    }
}
