//! Application-consistent database backups that are proven, and let go.

use std::process::ExitCode;

mod agent;
mod arguments;
mod blueprint;
mod commands;
mod demo;
#[cfg(feature = "failpoints")]
mod failpoints;
mod group;
#[cfg(feature = "kubernetes")]
mod kubernetes;
#[cfg(not(feature = "kubernetes"))]
#[path = "without_kubernetes.rs"]
mod kubernetes;
mod output;
mod progress;
mod repository;
mod signals;
mod test;
mod transfer;
mod values;
mod wiring;

fn main() -> ExitCode {
    // Two providers may be in one program; rustls must be told which one is meant. A second call changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    commands::main(arguments::parse())
}
