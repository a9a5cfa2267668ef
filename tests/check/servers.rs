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
    let patience = Some(Duration::from_secs(3));
    socket.set_read_timeout(patience).unwrap();
    socket
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
