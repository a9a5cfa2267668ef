//! Several servers behind one name: a call token of one is good at the others that share its key, and
//! nowhere else.

#![allow(clippy::unwrap_used)] // the helpers of tests are no tests to the lint

use std::{
    fs,
    io::Write as _,
    net::{Ipv4Addr, UdpSocket},
    time::Duration,
};

use crate::support::{loopback, process::plain, tool};

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

/// The subclass of the server's answer, and the token in it.
fn answer(socket: &UdpSocket, server: Ipv4Addr, request: &[u8]) -> (u8, Vec<u8>) {
    socket.send_to(request, (server, 4569)).unwrap();
    let mut buffer = [0; 1500];
    let (length, from) = socket.recv_from(&mut buffer).unwrap();
    assert_eq!(from.ip(), server);
    let frame = &buffer[..length];
    let mut elements = &frame[12..];
    let mut token = vec![];
    while let [element, length, rest @ ..] = elements {
        let (value, others) = rest.split_at(usize::from(*length));
        if *element == IE_CALLTOKEN {
            token = value.to_vec();
        }
        elements = others;
    }
    (frame[11], token)
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
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();

    let (subclass, token) = answer(&socket, first, &request(1, b""));
    assert_eq!(subclass, CALLTOKEN);
    assert!(!token.is_empty());
    for (call, server, expected) in [(2, first, true), (3, second, true), (4, stranger, false)] {
        let (subclass, _) = answer(&socket, server, &request(call, &token));
        assert_eq!(subclass == REGAUTH, expected, "{server}: {subclass}");
    }
    // It is good for the address alone that asked for it.
    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    other
        .set_read_timeout(socket.read_timeout().unwrap())
        .unwrap();
    let (subclass, _) = answer(&other, second, &request(5, &token));
    assert_ne!(subclass, REGAUTH);
}
