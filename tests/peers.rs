//! The real servers that the other tests rely on are there, and do what those tests take for granted.

#[path = "support/support.rs"]
mod support;

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    path::Path,
    time::Duration,
};

use iax2_natcheck::os::asterisk::Cli;
use support::{
    asterisk::Asterisk,
    coturn::Coturn,
    golden, loopback,
    pcap::Capture,
    process::{self, plain},
    tshark,
};

/// More than any of the servers needs to answer on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

#[test]
#[ignore = "needs the Asterisk that tests/all fetches"]
fn asterisk_boots_and_answers_a_poke() {
    let asterisk = Asterisk::registrar(loopback::address()).start(&plain);
    let golden = golden::all();
    let answer = ask(asterisk.address(), &golden["stateless/poke"]);
    assert_eq!(answer, golden["stateless/pong"]);
}

/// What `check --asterisk` reads, read from a real one.
#[test]
#[ignore = "needs the Asterisk that tests/all fetches"]
fn the_tables_of_asterisk_are_understood() {
    let registrar = Asterisk::registrar(loopback::address())
        .refresh(30)
        .start(&plain);
    let client = Asterisk::client(loopback::address(), registrar.address())
        .register("alice")
        .start(&plain);
    client.wait_for_registration("alice");
    let cli = |asterisk: &Asterisk| {
        let (program, config) = asterisk.program_and_configuration();
        Cli {
            program: program.to_owned(),
            config: Some(config),
            limit: PATIENCE,
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let registry = runtime.block_on(cli(&client).registry()).unwrap();
    let [entry] = &registry[..] else {
        panic!("{registry:?}")
    };
    assert!(entry.is_user("alice"), "{entry:?}");
    assert_eq!(entry.refresh, Duration::from_secs(30));
    assert_eq!(entry.perceived.unwrap().get(), client.address());
    let peers = runtime.block_on(cli(&registrar).peers()).unwrap();
    let alice = peers.iter().find(|peer| peer.name == "alice").unwrap();
    assert_eq!(alice.host, Some(client.address().ip().to_string()));
}

#[test]
#[ignore = "needs the Asterisk that tests/all fetches"]
fn accounts_of_every_kind_register() {
    let registrar = Asterisk::registrar(loopback::address())
        .refresh(30)
        .start(&plain);
    let accounts = [
        "alice", "bob", "plain1", "rsa1", "trunk1", "notok", "tokyes", "crypt1", "crypt2",
        "nosecret",
    ];
    let mut client = Asterisk::client(loopback::address(), registrar.address());
    for account in accounts {
        client = client.register(account);
    }
    let client = client.start(&plain);
    // The perceived addresses, not the states: those may lag behind.
    let perceived = client.address().to_string();
    let registry = client.wait_for("iax2 show registry", |text| {
        text.matches(&perceived).count() == accounts.len()
    });
    for account in accounts {
        let line = registry
            .lines()
            .find(|line| line.split_whitespace().nth(2) == Some(account))
            .unwrap_or_else(|| panic!("no {account} in\n{registry}"));
        assert!(line.contains(" 30  Re"), "granted refresh: {line}");
    }
    let peers = registrar.wait_for("iax2 show peers", |text| text.contains("OK ("));
    assert!(
        peers.contains("[1 online, 0 offline, 9 unmonitored]"),
        "{peers}"
    );
}

#[test]
#[ignore = "needs the Asterisk that tests/all fetches"]
fn a_wrong_secret_is_rejected() {
    let registrar = Asterisk::registrar(loopback::address()).start(&plain);
    let client = Asterisk::client(loopback::address(), registrar.address())
        .register_with("alice", "wrong")
        .general("authdebug=yes")
        .start(&plain);
    let rejected = "Registration of 'alice' rejected: 'Registration Refused'";
    let seen = process::poll(PATIENCE, || client.log().contains(rejected).then_some(()));
    assert!(seen.is_some(), "{}", client.log());
}

#[test]
#[ignore = "needs the Asterisk that tests/all fetches"]
fn calls_reach_the_extensions_and_options_take_effect() {
    let registrar = Asterisk::registrar(loopback::address())
        .port(4999)
        .jitter_buffer()
        .qualify("alice", 1000)
        .general("delayreject=yes")
        .section("[extra]\ntype=friend\nhost=dynamic\nsecret=x\n")
        .start(&plain);
    let client = Asterisk::client(loopback::address(), registrar.address())
        .register("alice")
        .option("to-alice", "transfer=no")
        .start(&plain);
    client.wait_for_registration("alice");
    let peers = registrar.wait_for("iax2 show peers", |text| {
        text.lines()
            .any(|l| l.starts_with("alice") && l.contains("OK ("))
    });
    assert!(peers.contains("extra"), "{peers}");
    for (extension, application) in [("600", "Echo"), ("601", "Milliwatt"), ("605", "Wait")] {
        client.cli(&format!(
            "channel originate IAX2/to-alice/{extension} application Milliwatt"
        ));
        let channels = registrar.wait_for("core show channels concise", |text| {
            text.contains(&format!("!{extension}!")) && text.contains(application)
        });
        assert!(channels.contains("!Up!"), "{channels}");
    }
    // The client's own dialplan takes the call that comes back.
    client.cli("channel originate IAX2/to-alice/604 application Milliwatt");
    client.wait_for("core show channels concise", |text| {
        text.contains("!test!s!")
    });
}

#[test]
#[ignore = "needs the Asterisk that tests/all fetches"]
fn asterisk_leaves_nothing_behind() {
    let asterisk = Asterisk::registrar(loopback::address()).start(&plain);
    let process = format!("/proc/{}", asterisk.pid());
    let configuration = asterisk.iax_conf();
    assert!(Path::new(&process).exists() && configuration.exists());
    drop(asterisk);
    assert!(!Path::new(&process).exists(), "{process} still runs");
    assert!(!configuration.exists(), "{}", configuration.display());
}

#[test]
#[ignore = "needs the coturn that tests/all installs"]
fn coturn_names_its_other_address() {
    let (primary, alternate) = (loopback::address(), loopback::address());
    let server = Coturn::start(primary.into(), alternate.into(), &plain);
    // A Binding request without attributes (RFC 8489 §5).
    let mut request = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    request.extend(*b"twelve bytes");
    let answer = ask(server.primary(), &request);
    assert_eq!(answer[..2], [1, 1], "no Binding success response");
    assert_eq!(answer[8..20], request[8..20], "another transaction");
    // OTHER-ADDRESS (RFC 5780 §7.4): 8 octets, IPv4, port, address.
    let mut other = vec![0x80, 0x2c, 0, 8, 0, 1];
    other.extend(server.alternate().port().to_be_bytes());
    other.extend(alternate.octets());
    assert!(
        answer.windows(other.len()).any(|window| window == other),
        "no OTHER-ADDRESS {} in {answer:02x?}",
        server.alternate()
    );
}

#[test]
#[ignore = "needs the tshark that tests/all installs"]
fn tshark_reads_the_captures_we_write() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("poke.pcap");
    let poke = &golden::all()["stateless/poke"];
    let (four, six) = (Ipv4Addr::new(192, 0, 2, 1), "2001:db8::1".parse().unwrap());
    let mut capture = Capture::new();
    for ip in [IpAddr::V4(four), six] {
        let at = Duration::new(1_700_000_000, 250_000_000);
        let address = SocketAddr::new(ip, 4569);
        capture.push(at, address, address, poke);
    }
    capture.write(&file).unwrap();

    let names = [
        "frame.time_epoch",
        "ip.src",
        "ipv6.dst",
        "udp.checksum.status",
        "iax2.src_call",
        "_ws.col.Info",
    ];
    let info = "IAX, source call# 77, timestamp 1234ms POKE";
    let expected = [
        ["1700000000.250000000", "192.0.2.1", "", "1", "77", info],
        ["1700000000.250000000", "", "2001:db8::1", "1", "77", info],
    ];
    assert_eq!(tshark::fields(&file, "", &names), expected);
    let packets = tshark::json(&file, "ipv6");
    assert_eq!(packets.as_array().map(Vec::len), Some(1));
    let layers = &packets[0]["_source"]["layers"];
    assert_eq!(
        layers["iax2"]["iax2.packet_type_tree"]["iax2.src_call"],
        "77"
    );
}

/// The names of the golden datagrams say what they are, by tshark's word.
#[test]
#[ignore = "needs the tshark that tests/all installs"]
fn golden_datagrams_are_what_their_names_say() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("golden.pcap");
    let golden = golden::all();
    let named: Vec<_> = golden
        .iter()
        .filter(|(name, _)| {
            !["-wire", "-pad", "/key"]
                .iter()
                .any(|part| name.contains(part))
        })
        .collect();
    let mut capture = Capture::new();
    let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 4569);
    for (_, bytes) in &named {
        capture.push(Duration::from_secs(1), address, address, bytes);
    }
    capture.write(&file).unwrap();
    let rows = tshark::fields(&file, "", &["_ws.col.Info"]);
    assert_eq!(rows.len(), named.len());
    for ((name, _), row) in named.iter().zip(&rows) {
        let stem = name.rsplit('/').next().unwrap();
        let kind = match stem {
            "answer" => "ANSWER".to_owned(),
            "mini" | "mini-plain" => "Mini packet".to_owned(),
            "stop-sounds" => "stop sounds".to_owned(),
            "voice" | "voice-plain" => "Voice".to_owned(),
            // tshark 4.0 misreads trunk entries, and has no name for RTKEY.
            "plain" | "timestamps" | "rtkey-plain" => continue,
            other => other.split('-').next().unwrap().to_uppercase(),
        };
        assert!(row[0].contains(&kind), "{name}: tshark says {:?}", row[0]);
    }
}

#[test]
fn commands_that_hang_are_ended() {
    let mut command = std::process::Command::new("sleep");
    command.arg("60");
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut sleeper = process::Process::start(&mut command, &plain, log.path());
    assert!(sleeper.wait(Duration::from_millis(100)).is_none());
    let process = format!("/proc/{}", sleeper.pid());
    assert!(fs::exists(&process).unwrap());
    drop(sleeper);
    assert!(!fs::exists(&process).unwrap());
}

#[test]
fn loopback_addresses_differ() {
    let (a, b) = (loopback::address(), loopback::address());
    assert!(a.is_loopback() && b.is_loopback() && a != b);
}

/// The first datagram that comes back for `request`.
#[allow(clippy::unwrap_used, reason = "a test may panic")]
fn ask(server: SocketAddr, request: &[u8]) -> Vec<u8> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send_to(request, server).unwrap();
    let mut buffer = [0; 2048];
    let (length, source) = socket.recv_from(&mut buffer).unwrap();
    assert_eq!(source, server);
    buffer[..length].to_vec()
}
