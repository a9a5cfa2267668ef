//! What users write, and a name server on loopback.

use tokio::net::UdpSocket;

use super::*;

#[test]
fn targets_are_read_as_written() {
    for (text, host, port) in [
        ("192.0.2.1", "192.0.2.1", None),
        ("192.0.2.1:5036", "192.0.2.1", Some(5036)),
        ("[2001:db8::1]", "2001:db8::1", None),
        ("[2001:db8::1]:4570", "2001:db8::1", Some(4570)),
        ("2001:db8::1", "2001:db8::1", None),
        ("::1", "::1", None),
        ("[::ffff:192.0.2.1]:1", "192.0.2.1", Some(1)),
    ] {
        let target: Target = text.parse().unwrap();
        assert_eq!(target.host, Host::Address(host.parse().unwrap()), "{text}");
        assert_eq!(target.port, port, "{text}");
    }
    for (text, name, port) in [
        ("iax.example.net", "iax.example.net", None),
        ("iax.example.net.", "iax.example.net", None),
        ("pbx:65535", "pbx", Some(65535)),
        (
            "my_pbx-2.example.net:4569",
            "my_pbx-2.example.net",
            Some(4569),
        ),
        ("4you.example", "4you.example", None),
    ] {
        let target: Target = text.parse().unwrap();
        assert_eq!(target.host, Host::Name(name.to_owned()), "{text}");
        assert_eq!(target.port, port, "{text}");
    }
    for text in [
        "192.0.2.1:5036",
        "[2001:db8::1]:4570",
        "2001:db8::1",
        "pbx:1",
        "pbx",
    ] {
        assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
    }
}

#[test]
fn what_is_no_target_is_refused_in_one_sentence() {
    let (long_label, long_name) = ("a".repeat(64), "a.".repeat(127) + "a");
    for (text, why) in [
        ("", "empty"),
        (":4569", "empty"),
        (".", "empty"),
        ("pbx:", "between 1 and 65535"),
        ("pbx:0", "between 1 and 65535"),
        ("pbx:65536", "between 1 and 65535"),
        ("pbx:iax", "no number"),
        ("pbx:+80", "no number"),
        ("pbx:1:2", "IPv6"),
        ("[2001:db8::1", "no `]`"),
        ("[pbx]:4569", "no IPv6"),
        ("[192.0.2.1]", "no IPv6"),
        ("[2001:db8::1]4569", "only `:PORT`"),
        ("2001:db8::g", "IPv6"),
        ("192.0.2.300", "IPv4"),
        ("192.0.2", "IPv4"),
        ("a..b", "empty"),
        ("-a.example", "hyphen"),
        ("a b.example", "letters"),
        ("iax://pbx", "no number"),
        ("alice@pbx", "letters"),
        ("bücher.example", "xn--"),
        (&long_label, "63"),
        (&long_name, "253"),
    ] {
        let error = text.parse::<Target>().unwrap_err().to_string();
        assert!(
            error.contains(why) && error.contains(text),
            "{text}: {error}"
        );
        assert!(!error.contains(". ") && !error.contains('\n'), "{error}");
    }
}

fn record(priority: u16, weight: u16, host: &str) -> Record {
    Record {
        priority,
        weight,
        port: 4569,
        host: host.to_owned(),
    }
}

#[test]
fn priority_comes_before_weight_and_weight_is_chance() {
    let records = vec![
        record(20, 100, "last"),
        record(10, 60, "big"),
        record(10, 0, "zero"),
        record(10, 20, "small"),
        record(5, 0, ""),
    ];
    let order = |pick: fn(u32) -> u32| -> Vec<String> {
        in_order(records.clone(), pick)
            .into_iter()
            .map(|record| record.host)
            .collect()
    };
    assert_eq!(order(|_| 0), ["zero", "small", "big", "last"]);
    assert_eq!(order(|total| total), ["big", "small", "zero", "last"]);
    assert_eq!(
        order(|total| total.min(15)),
        ["small", "big", "zero", "last"]
    );
}

/// A name server on loopback that has these SRV records for `_iax._udp.pbx.example` and no other
/// name.
async fn name_server(records: Vec<Record>) -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let serve = async move {
        let mut buffer = [0; 512];
        loop {
            let (length, client) = socket.recv_from(&mut buffer).await.unwrap();
            let answer = answer(&buffer[..length], &records);
            socket.send_to(&answer, client).await.unwrap();
        }
    };
    (address, tokio::spawn(serve))
}

fn answer(query: &[u8], records: &[Record]) -> Vec<u8> {
    let labels = |name: &str| -> Vec<u8> {
        let mut octets = Vec::new();
        for label in name.split('.').filter(|label| !label.is_empty()) {
            octets.push(u8::try_from(label.len()).unwrap());
            octets.extend(label.as_bytes());
        }
        octets.push(0);
        octets
    };
    let end = 12 + query[12..].iter().position(|octet| *octet == 0).unwrap() + 5;
    let mut asked = labels("_iax._udp.pbx.example");
    asked.extend([0, 33, 0, 1]); // SRV, IN
    let known = query[12..end].eq_ignore_ascii_case(&asked);
    let records = if known { records } else { &[] };
    let mut octets = query[..2].to_vec(); // the question's number
    octets.extend([0x85, if known { 0x80 } else { 0x83 }]); // answer, or NXDOMAIN
    octets.extend([0, 1, 0, u8::try_from(records.len()).unwrap(), 0, 0, 0, 0]);
    octets.extend(&query[12..end]);
    for record in records {
        let host = labels(&record.host);
        octets.extend([0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 60, 0]);
        octets.push(u8::try_from(6 + host.len()).unwrap());
        for number in [record.priority, record.weight, record.port] {
            octets.extend(number.to_be_bytes());
        }
        octets.extend(host);
    }
    octets
}

async fn found(text: &str, records: Vec<Record>) -> Result<Vec<Resolved>, NetError> {
    let (server, task) = name_server(records).await;
    let dns = Dns::servers(&[server]);
    let found = resolve(&text.parse().unwrap(), Service::IAX2, &dns).await;
    task.abort();
    found
}

#[tokio::test]
async fn srv_records_give_hosts_and_ports_in_order() {
    let mut first = record(10, 0, "localhost");
    first.port = 5036;
    // A target may be an address in the hosts file only: loopback needs no other server.
    let records = vec![record(20, 0, "localhost"), first];
    let found = found("pbx.example", records).await.unwrap();
    let ports: Vec<u16> = found
        .iter()
        .map(|found| found.address.get().port())
        .collect();
    let half = ports.len() / 2;
    assert!(half >= 1);
    assert!(ports[..half].iter().all(|port| *port == 5036), "{found:?}");
    assert!(ports[half..].iter().all(|port| *port == 4569), "{found:?}");
    assert!(
        found
            .iter()
            .all(|found| found.address.get().ip().is_loopback())
    );
    assert_eq!(found[0].via, Via::Srv("localhost".to_owned()));
}

#[tokio::test]
async fn a_name_without_srv_records_or_with_a_port_is_looked_up_itself() {
    for (text, port) in [("localhost", 4569), ("localhost:5036", 5036)] {
        let found = found(text, Vec::new()).await.unwrap();
        assert!(!found.is_empty());
        for resolved in found {
            assert!(resolved.address.get().ip().is_loopback());
            assert_eq!(resolved.address.get().port(), port);
            assert_eq!(resolved.via, Via::Host);
        }
    }
}

#[tokio::test]
async fn an_address_needs_no_dns() {
    let found = found("[2001:db8::1]", Vec::new()).await.unwrap();
    let address = PeerAddr::new("[2001:db8::1]:4569".parse().unwrap());
    let via = Via::Literal;
    assert_eq!(found, [Resolved { address, via }]);
}

#[tokio::test]
async fn a_service_that_is_not_offered_is_told() {
    let error = found("pbx.example", vec![record(0, 0, "")])
        .await
        .unwrap_err();
    assert!(matches!(error, NetError::NoService { .. }), "{error}");
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_told() {
    // `invalid` never exists (RFC 6761 §6.4); without a network the resolver fails as well.
    let error = found("no-such-host.invalid", Vec::new()).await.unwrap_err();
    assert!(matches!(error, NetError::Unresolved { .. }), "{error}");
    assert!(
        error.to_string().contains("no-such-host.invalid"),
        "{error}"
    );
}
