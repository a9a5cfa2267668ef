//! Every datagram of every capture, and how many frames of each kind an independent reader counts.

use std::collections::BTreeMap;

use iax2_natcheck::wire::iax2::{command::Command, command::FrameType, frame::Frame};

use super::fixtures::{captures, datagrams, exercise};

/// What tshark 4.0 counts in each capture with the filter `udp.port==4569 && !icmp`: its fields
/// `iax2.packet_type`, `iax2.type` and `iax2.iax.subclass`, numbers replaced by the names of RFC 5456.
/// The call of `call600-crypt2` is encrypted, so its frames have types that nobody gave them.
/// "refused" are datagrams shorter than their header, and in `odd-ast16` two POKEs whose element exceeds
/// the frame, which tshark marks as malformed: all sent on purpose.
#[rustfmt::skip] // a table
const COUNTS: [(&str, &str); 34] = [
    ("ast16/call600-alice", "ACCEPT 1, ACK 6, AUTHREP 1, AUTHREQ 1, CALLTOKEN 1, CONTROL 2, HANGUP 1, NEW 2, VOICE 2, mini 272"),
    ("ast16/call600-crypt2", "AUTHREQ 1, CALLTOKEN 1, IMAGE 1, NEW 2, VOICE 1, mini 272, type 101 1, type 109 1, type 123 1, type 152 1, type 187 1, type 193 1, type 23 1, type 234 1, type 244 1, type 58 1, type 64 1, type 84 1, type 86 1"),
    ("ast16/call600-plain1", "ACCEPT 1, ACK 6, AUTHREP 1, AUTHREQ 1, CALLTOKEN 1, CONTROL 2, HANGUP 1, NEW 2, VOICE 2, mini 274"),
    ("ast16/call600-rsa1", "ACCEPT 1, ACK 7, AUTHREP 1, AUTHREQ 1, CALLTOKEN 2, CONTROL 2, HANGUP 1, NEW 2, REGACK 1, REGAUTH 1, REGREQ 3, VOICE 2, mini 278"),
    ("ast16/call600-trunk1", "ACCEPT 1, ACK 6, AUTHREP 1, AUTHREQ 1, CALLTOKEN 1, CONTROL 2, HANGUP 1, NEW 2, VOICE 2, mini 138, trunk 138"),
    ("ast16/call601-alice", "ACCEPT 1, ACK 7, AUTHREP 1, AUTHREQ 1, CALLTOKEN 1, CONTROL 2, HANGUP 1, NEW 2, POKE 1, PONG 1, VOICE 2, mini 248"),
    ("ast16/call602-alice", "ACCEPT 1, ACK 5, AUTHREP 1, AUTHREQ 1, CALLTOKEN 1, CONTROL 2, HANGUP 1, NEW 2, POKE 1, PONG 1"),
    ("ast16/call603-alice", "ACCEPT 1, ACK 4, AUTHREP 1, AUTHREQ 1, CALLTOKEN 1, CONTROL 1, HANGUP 1, NEW 2, POKE 1, PONG 1"),
    ("ast16/call606-alice", "ACCEPT 1, ACK 5, AUTHREP 1, AUTHREQ 1, CALLTOKEN 2, CONTROL 1, HANGUP 1, NEW 2, POKE 1, PONG 1, REGACK 1, REGAUTH 1, REGREQ 3"),
    ("ast16/call607-alice", "ACCEPT 1, ACK 8, AUTHREP 1, AUTHREQ 1, CALLTOKEN 1, CONTROL 4, HANGUP 1, NEW 2, POKE 2, PONG 2"),
    ("ast16/call608-alice", "ACCEPT 1, ACK 26, AUTHREP 1, AUTHREQ 1, CALLTOKEN 1, CONTROL 2, DTMF 10, DTMF BEGIN 10, HANGUP 1, NEW 2, TEXT 2"),
    ("ast16/callback604-alice", "ACCEPT 1, ACK 4, CALLTOKEN 1, CONTROL 2, HANGUP 1, NEW 2"),
    ("ast16/qualify", "ACK 4, POKE 8, PONG 4"),
    ("ast16/register-alice", "ACK 1, CALLTOKEN 1, REGACK 1, REGAUTH 1, REGREQ 3"),
    ("ast16/register-badpw", "ACK 2, CALLTOKEN 1, REGAUTH 1, REGREJ 1, REGREQ 3"),
    ("ast16/register-bob", "ACK 2, CALLTOKEN 1, POKE 1, PONG 1, REGACK 1, REGAUTH 1, REGREQ 3"),
    ("ast16/register-crypt1", "ACK 1, CALLTOKEN 1, REGACK 1, REGAUTH 1, REGREQ 3"),
    ("ast16/register-crypt2", "ACK 1, CALLTOKEN 1, REGACK 1, REGAUTH 1, REGREQ 3"),
    ("ast16/register-nosecret", "ACK 1, CALLTOKEN 1, REGACK 1, REGREQ 2"),
    ("ast16/register-notok", "ACK 1, CALLTOKEN 1, REGACK 1, REGAUTH 1, REGREQ 3"),
    ("ast16/register-plain1", "ACK 1, CALLTOKEN 1, REGACK 1, REGAUTH 1, REGREQ 3"),
    ("ast16/register-rsa1", "ACK 1, CALLTOKEN 1, REGACK 1, REGAUTH 1, REGREQ 3"),
    ("ast16/register-rsa2", "ACK 1, CALLTOKEN 1, REGAUTH 1, REGREQ 2, REJECT 1"),
    ("ast16/register-tokyes", "ACK 1, CALLTOKEN 1, REGACK 1, REGAUTH 1, REGREQ 3"),
    ("ast16/register-trunk1", "ACK 1, CALLTOKEN 1, REGACK 1, REGAUTH 1, REGREQ 3"),
    ("ast16/register-unknownuser", "ACK 2, CALLTOKEN 1, REGAUTH 1, REGREJ 1, REGREQ 3"),
    ("ast16/spoofed-keepalive", "POKE 10, PONG 10, meta 5, mini 398, refused 5"),
    ("ast16/trunk3calls", "ACCEPT 3, ACK 18, AUTHREP 3, AUTHREQ 3, CALLTOKEN 3, CONTROL 6, HANGUP 3, NEW 6, VOICE 6, trunk 400"),
    ("ast16/unregister", "ACK 2, CALLTOKEN 2, REGACK 2, REGAUTH 2, REGREQ 6"),
    ("natlab-wan", "ACK 5, CALLTOKEN 5, REGACK 5, REGAUTH 5, REGREQ 15"),
    ("natlab2-wan", "ACK 4, CALLTOKEN 4, REGACK 4, REGAUTH 4, REGREQ 26"),
    ("odd-ast16", "ACK 49, CALLTOKEN 5, FWDOWNL 2, HANGUP 4, INVAL 2, LAGRQ 4, NEW 4, PING 4, POKE 24, PONG 14, PROVISION 2, REGACK 3, REGAUTH 5, REGREJ 10, REGREL 2, REGREQ 21, REJECT 6, TXCNT 2, VNAK 2, VOICE 2, command 99 4, meta 2, mini 8, refused 22, trunk 2, type 31 2, video 2"),
    ("register-rejected-cadence", "ACK 12, CALLTOKEN 4, POKE 5, PONG 5, REGACK 1, REGAUTH 4, REGREJ 3, REGREQ 12"),
    ("retry", "ACK 6, CALLTOKEN 6, REGACK 6, REGAUTH 6, REGREQ 66"),
];

#[test]
fn frames_of_each_kind_are_counted_as_tshark_counts_them() {
    let captures: BTreeMap<_, _> = captures().into_iter().collect();
    for (name, expected) in COUNTS {
        let mut counts = BTreeMap::<String, usize>::new();
        for datagram in datagrams(&captures[name]) {
            *counts.entry(kind(datagram)).or_default() += 1;
        }
        let counted: Vec<_> = counts
            .iter()
            .map(|(kind, count)| format!("{kind} {count}"))
            .collect();
        assert_eq!(counted.join(", "), expected, "{name}");
    }
}

#[test]
fn every_datagram_is_written_back_as_it_came() {
    let mut accepted = 0;
    for (_, capture) in captures() {
        accepted += datagrams(&capture)
            .into_iter()
            .filter(|datagram| exercise(datagram))
            .count();
    }
    assert!(accepted > 3000, "{accepted}");
}

fn kind(datagram: &[u8]) -> String {
    match Frame::decode(datagram) {
        Ok(Frame::Full(full)) => match (full.frame_type, full.command()) {
            (_, Some(Command::Unknown(command))) => format!("command {command}"),
            (_, Some(command)) => command.to_string(),
            (FrameType::Unknown(other), None) => format!("type {other}"),
            (frame_type, None) => frame_type.to_string(),
        },
        Ok(Frame::Mini(_)) => "mini".to_owned(),
        Ok(Frame::Video(_)) => "video".to_owned(),
        Ok(Frame::Trunk(_)) => "trunk".to_owned(),
        Ok(Frame::Meta(_)) => "meta".to_owned(),
        Err(_) => "refused".to_owned(),
    }
}
