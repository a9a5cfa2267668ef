//! Several servers behind one name: a call token of one is good at the others that share its key, and
//! nowhere else.

#![allow(clippy::unwrap_used)] // the helpers of tests are no tests to the lint

use std::{
    fs,
    io::Write as _,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use iax2_natcheck::lab::kernel::Namespace;
use nix::unistd::User;

use crate::support::{
    loopback,
    process::{Spawn, plain},
    site::inside,
    tool,
};

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(3);
/// Full frame of call 1 to none, at 1 ms, the first: type IAX, POKE.
const POKE: [u8; 12] = [0x80, 1, 0, 0, 0, 0, 0, 1, 0, 0, 6, 30];
/// Subclasses of IAX frames (RFC 5456, 8.4) and the elements used here (8.6).
const REGREQ: u8 = 13;
const REGAUTH: u8 = 14;
const CALLTOKEN: u8 = 40;
const IE_USERNAME: u8 = 6;
const IE_REFRESH: u8 = 19;
const IE_CALLTOKEN: u8 = 54;

/// A request to register from this call number, with this token.
fn request(call: u16, token: &[u8]) -> Vec<u8> {
    let [high, low] = (0x8000 | call).to_be_bytes();
    // Full frame; to no call; at 1 ms; first of its call; type IAX.
    let mut frame = vec![high, low, 0, 0, 0, 0, 0, 1, 0, 0, 6, REGREQ];
    for (element, value) in [
        (IE_USERNAME, b"alice".as_slice()),
        (IE_REFRESH, &[0, 60]),
        (IE_CALLTOKEN, token),
    ] {
        frame.push(element);
        frame.push(u8::try_from(value.len()).unwrap());
        frame.extend_from_slice(value);
    }
    frame
}

/// The subclass of the server's answer to this call, and the token in it; `None` where it says nothing.
fn answer(socket: &UdpSocket, server: Ipv4Addr, call: u16, token: &[u8]) -> Option<(u8, Vec<u8>)> {
    socket
        .send_to(&request(call, token), (server, 4569))
        .unwrap();
    let mut buffer = [0; 1500];
    // What others send again meanwhile is passed over.
    let frame = loop {
        let (length, from) = socket.recv_from(&mut buffer).ok()?;
        if from.ip() == server && buffer[2..4] == call.to_be_bytes() {
            break &buffer[..length];
        }
    };
    let mut elements = &frame[12..];
    let mut token = vec![];
    while let [element, length, rest @ ..] = elements {
        let (value, others) = rest.split_at(usize::from(*length));
        if *element == IE_CALLTOKEN {
            token = value.to_vec();
        }
        elements = others;
    }
    Some((frame[11], token))
}

/// A socket that does not wait for ever.
fn client() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

#[test]
#[ignore = "needs root to give it up"]
fn root_is_given_up_before_the_first_packet() {
    let mut users = tempfile::NamedTempFile::new().unwrap();
    writeln!(users, "[alice]\nsecret = \"s3cret\"").unwrap();
    let here = loopback::address();
    let line = format!("--bind {here} --users {}", users.path().display());
    let server = tool::serve(&line, &plain);
    let nobody = User::from_name("nobody").unwrap().unwrap();
    let threads = fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
    for thread in threads {
        let status = fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        let all = |key: &str| {
            let line = status.lines().find(|line| line.starts_with(key)).unwrap();
            line[key.len()..].split_whitespace().collect::<Vec<_>>()
        };
        let (user, group) = (nobody.uid.to_string(), nobody.gid.to_string());
        assert_eq!(all("Uid:"), [user.as_str(); 4]);
        assert_eq!(all("Gid:"), [group.as_str(); 4]);
        assert_eq!(all("Groups:"), [group.as_str()]);
        assert_eq!(all("CapPrm:"), ["0000000000000000"]);
    }
    // The accounts were read before, and the server serves.
    let (subclass, _) = answer(&client(), here, 11, b"").unwrap();
    assert_eq!(subclass, CALLTOKEN);
}

/// Asks a server on all addresses at each of two, and once more at the first.
fn ask_at_both(
    listen: &str,
    addresses: [&str; 2],
    spawn: &Spawn<'_>,
    client: impl Fn() -> UdpSocket,
) {
    let port = client().local_addr().unwrap().port();
    let _server = tool::serve(&format!("--bind {listen}:{port}"), spawn);
    let socket = client();
    let [first, second] = addresses.map(|ip| SocketAddr::new(ip.parse().unwrap(), port));
    for asked in [first, second, first] {
        socket.send_to(&POKE, asked).unwrap();
        let (_, answered) = socket.recv_from(&mut [0; 1500]).unwrap();
        assert_eq!(answered, asked);
    }
}

#[test]
fn a_server_on_all_addresses_answers_from_the_one_that_was_asked() {
    ask_at_both("0.0.0.0", ["127.88.0.1", "127.88.0.2"], &plain, client);
}

#[test]
#[ignore = "needs root for a network namespace"]
fn so_does_one_on_all_addresses_of_ipv6() {
    let host = Namespace::new("all-addresses").unwrap();
    let addresses = ["fd00::1", "fd00::2"];
    for address in addresses {
        let address = address.parse().unwrap();
        host.address("lo", address, 128).unwrap();
    }
    ask_at_both("[::]", addresses, &inside(&host), || {
        let socket = host.bind("[::]:0".parse().unwrap()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    });
}

#[test]
fn servers_with_one_key_take_each_others_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let mut users = tempfile::NamedTempFile::new().unwrap();
    writeln!(users, "[alice]\nsecret = \"s3cret\"").unwrap();
    let serve = |key: &str| {
        let path = folder.path().join(key);
        fs::write(&path, key.repeat(32)).unwrap();
        let here = loopback::address();
        let (users, key) = (users.path().display(), path.display());
        let line = format!("--bind {here} --users {users} --token-key-file {key}");
        (here, tool::serve(&line, &plain))
    };
    let [(first, _a), (second, _b), (stranger, _c)] = ["k", "k", "x"].map(serve);
    let socket = client();
    let (subclass, token) = answer(&socket, first, 11, b"").unwrap();
    assert_eq!(subclass, CALLTOKEN);
    assert!(!token.is_empty());
    for (call, server, expected) in [(12, first, true), (13, second, true), (14, stranger, false)] {
        let said = answer(&socket, server, call, &token);
        let is_taken = matches!(said, Some((REGAUTH, _)));
        assert_eq!(is_taken, expected, "{server}: {said:?}");
    }
    // It is good for the address alone that asked for it.
    let said = answer(&client(), second, 15, &token);
    assert!(!matches!(said, Some((REGAUTH, _))), "{said:?}");
}
