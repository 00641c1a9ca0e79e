//! Who is at the other end of a loopback connection: `/proc/net/tcp` names the user of each socket (proc(5)).

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

/// Whether the process at the other end, `from`, is this user's. Where that cannot be seen it is not.
pub(super) fn is_ours(from: SocketAddr, local_port: u16) -> bool {
    let sockets = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    user_of(&sockets, from, local_port) == Some(rustix::process::geteuid().as_raw())
}

/// The user of the socket at `from` that is connected to a loopback port.
fn user_of(sockets: &str, from: SocketAddr, local_port: u16) -> Option<u32> {
    let IpAddr::V4(address) = from.ip() else { return None };
    let (own, other) = (shown(address, from.port()), shown(Ipv4Addr::LOCALHOST, local_port));
    sockets.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, local, remote, _, _, _, _, user, ..] = fields[..] else { return None };
        (local == own && remote == other).then(|| user.parse().ok())?
    })
}

/// An address as that file has it: the number in the machine's own byte order.
fn shown(address: Ipv4Addr, port: u16) -> String {
    format!("{:08X}:{port:04X}", u32::from_ne_bytes(address.octets()))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_of_ones_own_is_ones_own_and_one_of_another_user_is_not() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let _connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        let (_accepted, from) = listener.accept().unwrap();
        assert!(is_ours(from, port));

        let sockets = fs::read_to_string("/proc/net/tcp").unwrap();
        let ours = user_of(&sockets, from, port).unwrap();
        let of_another: String = sockets
            .lines()
            .map(|line| {
                let mut fields: Vec<&str> = line.split_ascii_whitespace().collect();
                if fields.len() > 7 && line.contains(&shown(Ipv4Addr::LOCALHOST, from.port())) {
                    fields[7] = "4242";
                }
                fields.join(" ") + "\n"
            })
            .collect();
        assert_eq!(user_of(&of_another, from, port), Some(4242));
        assert_ne!(ours, 4242);
        assert_eq!(user_of("", from, port), None);
    }
}
