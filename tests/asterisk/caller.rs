//! A real Asterisk 16 calls `serve`.

use std::{thread, time::Duration};

use nix::sys::signal::Signal;

use crate::{
    server::{PATIENCE, Server},
    support::{
        asterisk::{Asterisk, PLAIN_SECRET, SECRET, rsa_key},
        loopback,
        process::{self, plain},
    },
};

/// The accounts that a client of the harness knows.
fn users() -> String {
    format!(
        r#"
        [alice]
        secret = "{SECRET}"
        [plain1]
        secret = "{PLAIN_SECRET}"
        auth = ["plaintext"]
        [rsa1]
        rsa_public_key = "{}"
        [notok]
        secret = "{SECRET}"
        call_token = "optional"
        [tokyes]
        secret = "{SECRET}"
        call_token = "required"
        [trunk1]
        secret = "{SECRET}"
        trunk = true
        [crypt1]
        secret = "{SECRET}"
        encryption = "optional"
        [crypt2]
        secret = "{SECRET}"
        encryption = "required"
        [nosecret]
        auth = []
        "#,
        rsa_key().with_extension("pub").display()
    )
}

fn client_of(server: &Server) -> Asterisk {
    let client = Asterisk::client(loopback::address(), server.address).start(&plain);
    client.cli("iax2 set debug on");
    client
}

/// Calls an extension and has the client do something there.
fn originate(client: &Asterisk, account: &str, extension: &str, what: &str) {
    client.cli(&format!(
        "channel originate IAX2/to-{account}/{extension} {what}"
    ));
}

/// Waits until the client's log has a line with all of `words` behind one with `after`.
fn wait_for_log(client: &Asterisk, after: &str, words: &[&str]) {
    let found = process::poll(PATIENCE, || {
        let log = client.log();
        let log = &log[log.find(after)?..];
        log.lines()
            .any(|line| words.iter().all(|word| line.contains(word)))
            .then_some(())
    });
    assert!(
        found.is_some(),
        "no {words:?} after {after:?} in\n{}",
        client.log()
    );
}

/// Packets received and lost, from the line that says how a call ended.
fn reception(line: &str) -> (u32, u32) {
    let words: Vec<&str> = line.split_whitespace().collect();
    let before = |word: &str| {
        let at = words.iter().position(|it| it.starts_with(word));
        let number = at.and_then(|at| words.get(at.checked_sub(1)?));
        number.and_then(|number| number.parse().ok())
    };
    let received = words
        .iter()
        .position(|word| *word == "packets")
        .and_then(|at| words.get(at.checked_sub(1)?)?.parse().ok());
    match (received, before("lost")) {
        (Some(received), Some(lost)) => (received, lost),
        _ => panic!("no packets in {line}"),
    }
}

/// Ends all calls once they have lasted for so long.
fn hang_up_after(client: &Asterisk, time: Duration) {
    thread::sleep(time);
    client.cli("channel request hangup all");
}

#[test]
#[ignore = "needs the Asterisk that tests/all fetches"]
fn asterisk_hears_the_tone_and_the_echo_whatever_the_account() {
    let server = Server::start(&users(), "-v");
    let client = client_of(&server);
    let accounts = [
        "alice", "plain1", "rsa1", "notok", "tokyes", "trunk1", "crypt1", "crypt2", "nosecret",
    ];
    // The tone goes to Asterisk, from there to the echo, and all the way back.
    for account in accounts {
        let echo = format!("application Dial IAX2/to-{account}/600");
        originate(&client, account, "601", &echo);
        for extension in ["601", "600"] {
            let name = format!(" {account} at");
            let accepted = format!("to {extension}: accepted, ulaw");
            let line = server.wait_for(&[&name, &accepted]);
            let encrypted = line.ends_with(", encrypted");
            assert_eq!(encrypted, account.starts_with("crypt"), "{line}");
        }
    }
    hang_up_after(&client, Duration::from_secs(3));
    for account in accounts {
        for extension in ["601", "600"] {
            let name = format!(" {account} at");
            let line = server.wait_for(&[&name, &format!("to {extension}: the peer hung up")]);
            let (received, lost) = reception(&line);
            // The first calls last longer than the last one; a busy machine sends late, and that looks like holes.
            assert!(received >= 100 && lost * 10 < received, "{line}");
        }
    }
    let log = server.terminate();
    let trunks = |arrow: &str| {
        let lines = log.lines().filter(|line| line.contains(arrow));
        lines.filter(|line| line.contains(" trunk, ")).count()
    };
    let (came, went) = (trunks("DEBUG ←"), trunks("DEBUG →"));
    assert!(
        came >= 100 && went >= 100,
        "trunk frames: {came} came, {went} went"
    );
}

#[test]
#[ignore = "needs the Asterisk that tests/all fetches"]
fn calls_share_trunk_frames_in_either_form() {
    for (option, words) in [
        ("trunktimestamps=no", "entries"),
        ("trunktimestamps=yes", "entries with timestamps"),
    ] {
        let server = Server::start(&users(), "-v");
        let client = Asterisk::client(loopback::address(), server.address)
            .general(option)
            .start(&plain);
        for _ in 0..3 {
            originate(
                &client,
                "trunk1",
                "601",
                "application Dial IAX2/to-trunk1/600",
            );
        }
        hang_up_after(&client, Duration::from_secs(4));
        for extension in ["601", "600"] {
            let line = server.wait_for(&[&format!("to {extension}: the peer hung up")]);
            let (received, lost) = reception(&line);
            assert!(received >= 100 && lost * 10 < received, "{line}");
        }
        let log = server.terminate();
        for arrow in ["DEBUG ←", "DEBUG →"] {
            let shared = log
                .lines()
                .filter(|line| line.contains(arrow) && line.contains(" trunk, "))
                .inspect(|line| assert!(line.ends_with(words), "{line}"))
                .filter(|line| !line.contains(" 1 entries"))
                .count();
            assert!(
                shared >= 50,
                "{option} {arrow}: {shared} frames with several calls"
            );
        }
    }
}

#[test]
#[ignore = "needs the Asterisk that tests/all fetches"]
fn an_asterisk_that_stalls_sends_all_at_once_and_loses_nothing() {
    let server = Server::start(&users(), "-v");
    let client = client_of(&server);
    let echo = "application Dial IAX2/to-trunk1/600";
    originate(&client, "trunk1", "601", echo);
    server.wait_for(&["to 600: accepted"]);
    thread::sleep(Duration::from_secs(2));
    client.signal(Signal::SIGSTOP);
    thread::sleep(Duration::from_millis(700));
    client.signal(Signal::SIGCONT);
    hang_up_after(&client, Duration::from_secs(2));
    for extension in ["601", "600"] {
        let line = server.wait_for(&[&format!("to {extension}: the peer hung up")]);
        let (received, lost) = reception(&line);
        // 35 packets waited. A few are lost by its own hand: it sets the clock of its mini frames anew.
        assert!(received >= 200 && lost <= 10, "{line}");
    }
}

#[test]
#[ignore = "needs the Asterisk that tests/all fetches"]
fn receiver_reports_agree() {
    let server = Server::start(&users(), "");
    let client = Asterisk::client(loopback::address(), server.address)
        .jitter_buffer()
        .start(&plain);
    originate(&client, "alice", "601", "application Echo");
    // Asterisk sends PING after 21 s.
    let complete = process::poll(2 * PATIENCE, || {
        let shown = client.cli("iax2 show netstats");
        netstats(&shown).filter(|both| both.iter().all(|(_, packets)| *packets > 0))
    });
    // Lost packets, and packets in thousands: what it received of ours, and we of its. Its jitter buffer drops
    // some of what it sends back.
    let shown = client.cli("iax2 show netstats");
    let [(here, 1), (there, 1)] = complete.unwrap_or_default() else {
        panic!("{shown}");
    };
    assert!(here <= 20 && there <= 20, "{shown}");
    client.cli("channel request hangup all");
}

/// Lost packets and thousands of packets of a channel, as it counts itself and as it is told.
fn netstats(shown: &str) -> Option<[(u32, u32); 2]> {
    let line = shown.lines().find(|line| line.starts_with("IAX2/"))?;
    let numbers: Vec<i64> = line
        .split_whitespace()
        .skip(2)
        .filter_map(|word| word.parse().ok())
        .collect();
    let [local, remote] = [numbers.get(0..7)?, numbers.get(7..14)?].map(|half| {
        let number = |at: usize| u32::try_from(half[at]).unwrap_or(0);
        (number(2), number(6))
    });
    Some([local, remote])
}

#[test]
#[ignore = "needs the Asterisk that tests/all fetches"]
fn asterisk_is_told_how_each_extension_fares() {
    let server = Server::start(&users(), "-v");
    let client = client_of(&server);
    for (extension, words) in [
        ("602", "is busy"),
        ("603", "is ringing"),
        ("604", ": Call rejected"),
        ("605", "answered"),
        ("606", "answered"),
        ("607", "is making progress"),
        ("610", ": No such context/extension"),
    ] {
        originate(&client, "alice", extension, "application Echo");
        wait_for_log(&client, &format!("CALLED NUMBER   : {extension}"), &[words]);
    }
    server.wait_for(&["to 602:", "(cause 17)"]);
    server.wait_for(&["to 604:", "rejected, Call rejected (cause 21)"]);
    server.wait_for(&["to 606:", "hung up, normal clearing (cause 16) after 2.0 s"]);
    server.wait_for(&["to 610:", "rejected", "(cause 3)"]);
    let waiting = client.cli("core show channels");
    assert!(waiting.contains("Ringing"), "603 rings on:\n{waiting}");
    wait_for_log(&client, "Called to-alice/607", &["answered"]);
    client.cli("channel request hangup all");
    server.wait_for(&["to 603:", "the peer hung up"]);
}

#[test]
#[ignore = "needs the Asterisk that tests/all fetches"]
fn text_and_digits_go_both_ways() {
    let server = Server::start(&users(), "-v");
    let client = client_of(&server);
    // The client's own 608 says "hello from 608" and dials 1234#.
    originate(&client, "alice", "608", "extension 608@test");
    for digit in ["6", "0", "8", "#", "1", "2", "3", "4"] {
        let begun = ["Rx-Frame", "Type: DTMF_B", &format!("Subclass: {digit}")];
        wait_for_log(&client, "Called to-alice/608", &begun);
        let ended = ["Rx-Frame", "Type: DTMF_E", &format!("Subclass: {digit}")];
        wait_for_log(&client, "Called to-alice/608", &ended);
    }
    server.wait_for(&["to 608:", "the peer hung up"]);
    let log = server.terminate();
    let texts = |arrow: &str| {
        let lines = log.lines().filter(|line| line.contains(arrow));
        lines.filter(|line| line.contains(" TEXT")).count()
    };
    assert_eq!((texts("DEBUG ←"), texts("DEBUG →")), (1, 2), "{log}");
}

#[test]
#[ignore = "needs the Asterisk that tests/all fetches"]
fn callback_rings_the_asterisk_that_called() {
    let server = Server::start(&users(), "-v");
    let client = Asterisk::client(loopback::address(), server.address)
        .register("alice")
        .start(&plain);
    server.wait_for(&["alice registered at"]);
    originate(&client, "alice", "609", "application Milliwatt");
    server.wait_for(&["to alice at", "accepted, ulaw"]);
    // Its extension s echoes.
    hang_up_after(&client, Duration::from_secs(3));
    // Asterisk hangs both legs up at once; whichever it says first makes the server hang up the other.
    for who in [" alice at", " to alice at"] {
        let line = server.wait_for(&[who, "hung up"]);
        let (received, lost) = reception(&line);
        assert!(received >= 100 && lost == 0, "{line}");
    }
}
