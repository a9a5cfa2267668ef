//! The capture that runs in the kernel: it hands over what leaves with a private source, and no other
//! packet.

#![allow(clippy::unwrap_used)] // the helpers of tests are no tests to the lint

use std::{
    collections::BTreeSet,
    net::{SocketAddr, UdpSocket},
    time::Duration,
};

use iax2_natcheck::{lab::kernel::Namespace, os::leak::Leaks};

use crate::support::process::poll;

const IAX2: u16 = 4569;

#[test]
#[ignore = "needs root and ip"]
fn only_what_leaves_with_a_private_source_is_handed_over() {
    let sources = [
        "10.1.2.3",
        "172.16.0.9",
        "172.31.255.9",
        "192.168.7.7",
        "100.64.0.9",
        "fd00::7",
    ];
    let public = ["172.32.0.9", "192.169.0.9", "100.128.0.9", "2001:db8:7::7"];
    let router = Namespace::new("router").unwrap();
    let far = Namespace::new("far").unwrap();
    router.connect("wan", &far, "isp").unwrap();
    far.ip(&[
        "address add 203.0.113.1/32 dev lo",
        "address add 2001:db8::1/128 dev lo nodad",
        "address add fe80::2/64 dev isp nodad",
    ])
    .unwrap();
    for source in sources.iter().chain(&public) {
        let dad = if source.contains(':') {
            "/128 dev wan nodad"
        } else {
            "/32 dev wan"
        };
        router.ip(&[&format!("address add {source}{dad}")]).unwrap();
    }
    router
        .ip(&[
            "route add default dev wan",
            "route add default via fe80::2 dev wan",
        ])
        .unwrap();
    // What comes in has a private source too, and is none of this.
    far.ip(&[
        "address add 10.9.9.9/32 dev isp",
        "route add default dev isp",
        "route add 2001:db8:7::7/128 dev isp",
    ])
    .unwrap();

    let mut leaks = router.run(|| Leaks::open(IAX2)).unwrap().unwrap();
    let at = |host: &str, port: u16| -> SocketAddr {
        (host.parse::<std::net::IpAddr>().unwrap(), port).into()
    };
    let send = |from: SocketAddr, to: SocketAddr, octets: &[u8]| {
        let socket: UdpSocket = router.bind(from).unwrap();
        socket.send_to(octets, to).unwrap();
    };
    let provider = |source: &str, port: u16| {
        let host = if source.contains(':') {
            "2001:db8::1"
        } else {
            "203.0.113.1"
        };
        at(host, port)
    };
    let mut expected = BTreeSet::new();
    for source in sources {
        // From the port, to the port, and to neither; a long one is cut and still read.
        for (from, to, taken) in [(IAX2, 5000, true), (5001, IAX2, true), (5002, 5003, false)] {
            send(at(source, from), provider(source, to), &[7; 1200]);
            if taken {
                expected.insert((at(source, from), provider(source, to)));
            }
        }
    }
    for source in public {
        send(at(source, IAX2), provider(source, IAX2), b"public");
    }
    let inward = far.bind(at("10.9.9.9", IAX2)).unwrap();
    inward.send_to(b"in", at("192.169.0.9", IAX2)).unwrap();

    let seen = |leaks: &mut Leaks| -> BTreeSet<(SocketAddr, SocketAddr)> {
        leaks.take(IAX2).unwrap();
        leaks
            .seen()
            .map(|(leak, packets)| {
                assert_eq!(packets, 1, "{leak:?}");
                (leak.source, leak.destination)
            })
            .collect()
    };
    poll(Duration::from_secs(20), || {
        (seen(&mut leaks).len() >= expected.len()).then_some(())
    });
    assert_eq!(seen(&mut leaks), expected);
}
