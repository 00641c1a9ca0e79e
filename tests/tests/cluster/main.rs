//! The binary `standstill` on a real Kubernetes, with real databases in pods.
//!
//! `tests/cluster/up` brings one up; the tests run where `STANDSTILL_KUBECONFIG` names its kubeconfig, and say that
//! they are skipped elsewhere. Each has a namespace and a part of the object store of its own.
#![allow(missing_docs, reason = "tests")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod support;

mod around;
mod backup;
mod bad_input;
mod blueprints;
mod cost;
mod crash;
mod crash_matrix;
mod deploy;
mod etcd;
mod failures;
mod from_here;
mod group;
mod kept;
mod mariadb;
mod matrix;
mod mongodb;
mod mover;
mod outages;
mod own;
mod permissions;
mod pod_step;
mod redis;
mod refusals;
mod roles;
mod room;
mod secrets;
mod snapshots;
mod sqlite;
mod targets;
mod truncation;
mod volumes;
