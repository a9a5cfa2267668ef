//! Who has a UDP port: the process that holds the socket, as `/proc` shows it.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its name, as `ps` shows it.
    pub name: String,
    /// Its number.
    pub pid: u32,
}

/// The process whose UDP socket keeps `local` from being bound, in the network namespace of the
/// calling thread. `None` where there is none, or where this user may not look into that process.
#[must_use]
pub fn port_owner(local: SocketAddr) -> Option<Owner> {
    // A table that changes while it is read may leave an entry out.
    const READINGS: usize = 3;
    let inodes = (0..READINGS)
        .map(|_| inodes(local))
        .find(|inodes| !inodes.is_empty())?;
    let links: Vec<String> = inodes
        .iter()
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    fs::read_dir("/proc").ok()?.flatten().find_map(|process| {
        let pid: u32 = process.file_name().to_str()?.parse().ok()?;
        let holds = fs::read_dir(process.path().join("fd"))
            .ok()?
            .flatten()
            .filter_map(|file| fs::read_link(file.path()).ok())
            .any(|link| {
                links
                    .iter()
                    .any(|wanted| link.as_os_str() == wanted.as_str())
            });
        let name = fs::read_to_string(process.path().join("comm")).ok()?;
        holds.then(|| Owner {
            name: name.trim_end().to_owned(),
            pid,
        })
    })
}

fn inodes(local: SocketAddr) -> Vec<u64> {
    ["/proc/thread-self/net/udp", "/proc/thread-self/net/udp6"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|table| holders(&table, local))
        .collect()
}

/// The inodes in a table of `/proc/net` whose sockets are bound to the port of `local` and to an
/// address that collides with its address.
fn holders(table: &str, local: SocketAddr) -> Vec<u64> {
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut columns = line.split_ascii_whitespace();
            let bound = address(columns.nth(1)?)?;
            let inode = columns.nth(7)?.parse().ok()?;
            let collides = bound.ip() == local.ip()
                || bound.ip().is_unspecified()
                || local.ip().is_unspecified();
            (bound.port() == local.port() && collides).then_some(inode)
        })
        .collect()
}

/// `0100007F:11D9` or 32 digits and a port: words of the host's byte order, printed in hexadecimal.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let word = |at: usize| u32::from_str_radix(ip.get(at * 8..at * 8 + 8)?, 16).ok();
    let ip = if ip.len() == 8 {
        IpAddr::from(Ipv4Addr::from(word(0)?.to_ne_bytes()))
    } else {
        let mut octets = [0; 16];
        for (at, chunk) in octets.chunks_exact_mut(4).enumerate() {
            chunk.copy_from_slice(&word(at)?.to_ne_bytes());
        }
        IpAddr::from(Ipv6Addr::from(octets)).to_canonical()
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn a_socket_of_ours_is_ours() {
        let this = Owner {
            name: fs::read_to_string("/proc/self/comm")
                .unwrap()
                .trim_end()
                .to_owned(),
            pid: std::process::id(),
        };
        for address in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0"] {
            let Ok(socket) = UdpSocket::bind(address) else {
                assert!(address.starts_with('['), "no {address}");
                continue; // a host without IPv6
            };
            let local = socket.local_addr().unwrap();
            assert_eq!(port_owner(local), Some(this.clone()), "{local}");
            drop(socket);
            assert_eq!(port_owner(local), None, "{local}");
        }
    }

    #[test]
    fn another_address_with_the_same_port_is_no_hindrance() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  1: 0100007F:11D9 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0000 0
  2: 00000000:11DA 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4712 2 0000 0
";
        let holders = |local: &str| holders(table, local.parse().unwrap());
        assert_eq!(holders("127.0.0.1:4569"), [4711]);
        assert_eq!(holders("0.0.0.0:4569"), [4711]);
        assert_eq!(holders("127.0.0.2:4569"), Vec::<u64>::new());
        assert_eq!(holders("127.0.0.2:4570"), [4712]);
        assert_eq!(holders("127.0.0.1:4571"), Vec::<u64>::new());
    }
}
