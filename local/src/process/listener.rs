//! Who takes the connections to a port of 127.0.0.1: `/proc/net/tcp` and `tcp6` name each listening socket, and
//! `/proc/PID/fd` tells who has it open (proc(5)).

use std::{collections::HashSet, fs, io, net::Ipv4Addr};

use crate::guard::descendants::descendants;

/// The state of a socket that listens.
const LISTENING: &str = "0A";

/// Whether somebody else than a descendant of `ancestor` takes the connections to a port. Where that cannot be seen (a
/// service of another user's, and no right to look at it), nobody is accused.
pub(super) fn is_anothers(port: u16, ancestor: i32) -> bool {
    let listening = listeners(port);
    if listening.is_empty() {
        return false;
    }
    let mut own = HashSet::new();
    for (pid, _) in descendants(ancestor) {
        match open_sockets(pid) {
            Ok(sockets) => own.extend(sockets),
            // It ended just now.
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
            Err(cause) => {
                tracing::debug!(pid, %cause, port, "who listens cannot be seen");
                return false;
            }
        }
    }
    listening.iter().any(|socket| !own.contains(socket))
}

/// The sockets that listen at a port of 127.0.0.1. Those of IPv4 are asked before those of IPv6 that take both.
fn listeners(port: u16) -> Vec<u64> {
    let [loopback, every] = [Ipv4Addr::LOCALHOST, Ipv4Addr::UNSPECIFIED].map(shown);
    let mapped = |address: &str| format!("{:016X}{:08X}{address}", 0, 0xffff_u32.to_be());
    let found = |file: &str, addresses: &[String]| {
        let sockets = fs::read_to_string(file).unwrap_or_default();
        listeners_among(&sockets, addresses, port)
    };
    let version4 = found("/proc/net/tcp", &[loopback.clone(), every.clone()]);
    if !version4.is_empty() {
        return version4;
    }
    found("/proc/net/tcp6", &[mapped(&loopback), mapped(&every), every.repeat(4)])
}

fn listeners_among(sockets: &str, addresses: &[String], port: u16) -> Vec<u64> {
    let wanted: Vec<String> = addresses.iter().map(|address| format!("{address}:{port:04X}")).collect();
    let listener = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, local, _, state, _, _, _, _, _, inode, ..] = fields[..] else { return None };
        let listens = state == LISTENING && wanted.iter().any(|address| address == local);
        listens.then(|| inode.parse().ok())?
    };
    sockets.lines().skip(1).filter_map(listener).collect()
}

/// An address as those files have it: the number in the machine's own byte order.
fn shown(address: Ipv4Addr) -> String {
    format!("{:08X}", u32::from_ne_bytes(address.octets()))
}

/// The sockets that a process has open.
fn open_sockets(pid: i32) -> io::Result<Vec<u64>> {
    let socket = |link: &str| link.strip_prefix("socket:[")?.strip_suffix(']')?.parse::<u64>().ok();
    let mut sockets = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        match fs::read_link(entry?.path()) {
            Ok(link) => sockets.extend(link.to_str().and_then(socket)),
            // Closed just now.
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
            Err(cause) => return Err(cause),
        }
    }
    Ok(sockets)
}

#[cfg(test)]
mod tests {
    use std::{
        net::{IpAddr, Ipv6Addr, TcpListener},
        process::{Child, Command, Stdio},
    };

    use rustix::process::getpid;

    use super::*;

    /// A child that inherits what listens, as `TcpListener` does not let it by itself.
    fn child_with(listener: &TcpListener) -> Child {
        let _inherited = rustix::io::dup(listener).unwrap();
        Command::new("cat").stdin(Stdio::piped()).spawn().unwrap()
    }

    #[test]
    fn a_socket_of_a_descendant_is_its_own_and_every_other_is_anothers() {
        let own = getpid().as_raw_nonzero().get();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(is_anothers(port, own), "this process is no descendant of itself");

        let mut child = child_with(&listener);
        assert!(!is_anothers(port, own));
        let stranger = i32::try_from(child.id()).unwrap();
        assert!(is_anothers(port, stranger), "the child has no child that has it");
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(is_anothers(port, own));
        drop(listener);
        assert!(!is_anothers(port, own), "nobody listens");
    }

    #[test]
    fn every_address_that_takes_loopback_connections_is_looked_at() {
        for (address, answers) in [
            (IpAddr::V4(Ipv4Addr::UNSPECIFIED), 1),
            (IpAddr::V6(Ipv6Addr::UNSPECIFIED), 1),
            (IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped()), 1),
            // What only IPv6 reaches answers nobody who dials 127.0.0.1.
            (IpAddr::V6(Ipv6Addr::LOCALHOST), 0),
        ] {
            match TcpListener::bind((address, 0)) {
                Ok(listener) => {
                    let port = listener.local_addr().unwrap().port();
                    assert_eq!(listeners(port).len(), answers, "{address}");
                }
                Err(cause) if address.is_ipv6() => eprintln!("skipped: no {address} here: {cause}"),
                Err(cause) => panic!("{cause}"),
            }
        }
    }
}
