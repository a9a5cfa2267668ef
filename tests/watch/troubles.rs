//! Troubles seen from the PBX's own host, where the router cannot be asked: what is done, and what is not.

use std::{
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::{
    street::{PROVIDER, WAN},
    support::process,
    town::{Guardian, MASQUERADE, Town},
};

/// How long a diagnosis may take on a busy machine.
const SOON: Duration = Duration::from_secs(60);
/// Longer than a quiet period with the timers below, and the retries around it.
const CURE: Duration = Duration::from_secs(150);
/// The timers that the street's router has.
const TIMERS: &str = "[nat]\nexchange = \"20s\"\nstream = \"40s\"\n[policy]\nmin_gap = \"2s\"\n";

fn on_pbx<'a>(town: &'a Town, more: &str) -> Guardian<'a> {
    let guardian = town.guardian(&town.street.pbx, "", more);
    guardian.wait_for("other", "healthy", SOON);
    guardian
}

/// Makes the flow to the main provider, and no other, a null binding.
fn taint(town: &Town) {
    let way = format!("{PROVIDER} via 192.168.100.1 dev eth1");
    town.street.ip(&[&format!("route add {way}")]);
    town.forget();
    // A packet of Asterisk's own makes the entry.
    let made = process::poll(SOON, || {
        let entries = town.entries(PROVIDER);
        entries.contains("dst=192.168.1.10 ").then_some(())
    });
    assert!(made.is_some(), "{}", town.entries(PROVIDER));
    town.street.ip(&[&format!("route del {way}")]);
}

/// Nothing that could disturb was done about a provider.
fn left_alone(guardian: &Guardian<'_>, provider: &str) {
    let mut decided = guardian.decided(provider);
    decided.retain(|kind| kind != "notify");
    assert!(decided.is_empty(), "{decided:?}\n{}", guardian.log());
}

/// Whether the IAX2 channel is unloaded.
fn is_out(town: &Town) -> bool {
    town.pbx
        .cli("iax2 show registry")
        .contains("No such command")
}

fn has_table(town: &Town) -> bool {
    Town::left_in_nft(&town.street.pbx).contains("iax2_natcheck")
}

#[test]
#[ignore = "needs root, ip, nft, conntrack and Asterisk 16"]
fn a_taint_is_waited_out_in_silence() {
    let town = Town::new(MASQUERADE);
    let guardian = on_pbx(&town, TIMERS);
    guardian.wait_for("main", "healthy", SOON);
    taint(&town);
    let began = Instant::now();
    let incidents = guardian.wait_for_incidents("main", 1, CURE);
    eprintln!(
        "quiet: over after {:.1?}: {:#}",
        began.elapsed(),
        incidents[0]
    );
    assert_eq!(incidents[0]["cause"], "tainted", "{}", guardian.log());
    assert!(town.gets_through(PROVIDER, WAN), "{}", guardian.log());
    assert!(guardian.decided("main").contains(&"quiet".to_owned()));
    left_alone(&guardian, "other");
    drop(guardian);
    assert!(!has_table(&town));
}

#[test]
#[ignore = "needs root, ip, nft, conntrack and Asterisk 16"]
fn one_that_is_killed_leaves_nothing_and_its_successor_goes_on() {
    let town = Town::new(MASQUERADE);
    let mut guardian = on_pbx(&town, TIMERS);
    guardian.wait_for("main", "healthy", SOON);
    taint(&town);
    let quiet = process::poll(SOON, || has_table(&town).then_some(()));
    assert!(quiet.is_some(), "{}", guardian.log());
    guardian.kill();
    let gone = process::poll(Duration::from_secs(5), || (!has_table(&town)).then_some(()));
    assert!(gone.is_some(), "the table stays");
    guardian.start();
    let incidents = guardian.wait_for_incidents("main", 1, CURE);
    assert_eq!(incidents[0]["cause"], "tainted", "{}", guardian.log());
    assert!(town.gets_through(PROVIDER, WAN));
    drop(guardian);
    assert!(!has_table(&town));
}

#[test]
#[ignore = "needs root, ip, nft, conntrack and Asterisk 16"]
fn a_module_that_was_out_when_it_was_killed_comes_in_again() {
    let town = Town::new(MASQUERADE);
    let more = format!("remedies = [\"reload-module\", \"notify\"]\u{0}{TIMERS}");
    let mut guardian = on_pbx(&town, &more);
    guardian.wait_for("main", "healthy", SOON);
    taint(&town);
    let is_out = || is_out(&town);
    let out = process::poll(SOON, || is_out().then_some(()));
    assert!(out.is_some(), "{}", guardian.log());
    guardian.kill();
    assert!(is_out());
    guardian.start();
    let back = process::poll(SOON, || (!is_out()).then_some(()));
    assert!(back.is_some(), "{}", guardian.log());
    guardian.wait_for("other", "healthy", SOON);
}

#[test]
#[ignore = "needs root, ip, nft, conntrack and Asterisk 16"]
fn one_that_is_told_to_end_puts_the_module_in_first() {
    let town = Town::new(MASQUERADE);
    let more = format!("remedies = [\"reload-module\", \"notify\"]\u{0}{TIMERS}");
    let mut guardian = on_pbx(&town, &more);
    guardian.wait_for("main", "healthy", SOON);
    taint(&town);
    let is_out = || is_out(&town);
    let out = process::poll(SOON, || is_out().then_some(()));
    assert!(out.is_some(), "{}", guardian.log());
    let running = guardian.take();
    running.signal(Signal::SIGTERM);
    let ended = running.end(SOON);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(!is_out(), "{}", ended.stderr);
}

#[test]
#[ignore = "needs root, ip, nft, conntrack and Asterisk 16"]
fn a_silent_provider_is_waited_for() {
    let town = Town::new(MASQUERADE);
    let guardian = on_pbx(&town, TIMERS);
    guardian.wait_for("main", "healthy", SOON);
    let net = &town.street.net;
    net.nft(&format!(
        "table ip down {{ chain input {{ type filter hook input priority -10; ip daddr {PROVIDER} udp dport 4569 drop; }}; }}\n"
    ))
    .unwrap();
    guardian.wait_for("main", "provider-down", CURE);
    thread::sleep(Duration::from_secs(45));
    assert_eq!(guardian.state("other"), "healthy");
    net.nft("delete table ip down\n").unwrap();
    let began = Instant::now();
    let incidents = guardian.wait_for_incidents("main", 1, CURE);
    eprintln!(
        "provider down: over {:.1?} after its return: {:#}",
        began.elapsed(),
        incidents[0]
    );
    assert_eq!(incidents[0]["cause"], "provider-down");
    left_alone(&guardian, "other");
    drop(guardian);
    assert!(!has_table(&town));
}

#[test]
#[ignore = "needs root, ip, nft, conntrack and Asterisk 16"]
fn a_wan_that_flaps_causes_no_storm() {
    let town = Town::new(MASQUERADE);
    let more = "[observe]\nrouter = true\nwan = \"ppp0\"\n[policy]\nmin_gap = \"2s\"\n";
    let street = &town.street;
    let guardian = town.guardian(&street.router, "", more);
    guardian.wait_for("main", "healthy", SOON);
    for _ in 0..20 {
        street.wan_down();
        thread::sleep(Duration::from_secs(1));
        street.wan_up(WAN);
        thread::sleep(Duration::from_secs(1));
    }
    let took = town.wait_until_through(WAN, CURE);
    let took = took.unwrap_or_else(|| panic!("{}", guardian.log()));
    guardian.wait_for("main", "healthy", CURE);
    let decided = guardian.decided("main");
    eprintln!("flapping: through {took:.1?} after the end; {decided:?}");
    assert!(decided.len() <= 24, "{decided:?}");
}

#[test]
#[ignore = "needs root, ip, nft, conntrack and Asterisk 16"]
fn a_wrong_secret_is_a_matter_for_a_person() {
    let town = Town::with(MASQUERADE, 10, |pbx| {
        pbx.general("register => crypt1:wrong@203.0.113.1")
    });
    let wrong = "user = \"crypt1\"";
    let guardian = town.guardian_as(&town.street.pbx, "", TIMERS, |text| {
        text.replacen("user = \"alice\"", wrong, 1)
    });
    guardian.wait_for("other", "healthy", SOON);
    guardian.wait_for("main", "rejected", SOON);
    thread::sleep(Duration::from_secs(60));
    left_alone(&guardian, "main");
    left_alone(&guardian, "other");
    let decided = guardian.decided("main");
    assert_eq!(decided, ["notify"], "{}", guardian.log());
}

#[test]
#[ignore = "needs root, ip, nft, conntrack and Asterisk 16"]
fn a_hole_is_kept_open() {
    // Registered every 25 s, and forgotten after 20.
    let town = Town::with(MASQUERADE, 30, |pbx| pbx);
    let guardian = on_pbx(&town, TIMERS);
    let kept = process::poll(SOON, || {
        guardian
            .decided("main")
            .contains(&"keep-open".to_owned())
            .then_some(())
    });
    assert!(kept.is_some(), "{}", guardian.log());
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(60) {
        assert!(
            town.gets_through(PROVIDER, WAN),
            "shut after {:?}: {}\n{}",
            began.elapsed(),
            town.entries(PROVIDER),
            guardian.log()
        );
        thread::sleep(Duration::from_millis(500));
    }
    guardian.wait_for("main", "healthy", SOON);
    let log = town.provider.log();
    assert!(!log.contains("midget"), "{log}");
}

#[test]
#[ignore = "needs root, ip, nft, conntrack and Asterisk 16"]
fn a_call_with_audio_outlives_an_incident() {
    let town = Town::new(MASQUERADE);
    let more = format!(
        "remedies = [\"hold\", \"quiet\", \"reregister\", \"reload-module\", \"notify\"]\u{0}{TIMERS}"
    );
    let guardian = on_pbx(&town, &more);
    guardian.wait_for("main", "healthy", SOON);
    town.pbx
        .cli("channel originate IAX2/to-alice/600 application Milliwatt");
    town.pbx
        .wait_for("core show channels concise", |text| text.contains("!Up!"));
    // Registrations alone are lost: REGREQ is octets 6 and 13 of a full frame.
    town.street
        .net
        .nft(&format!(
            "table ip down {{ chain input {{ type filter hook input priority -10; ip daddr {PROVIDER} udp dport 4569 @th,144,16 0x060d drop; }}; }}\n"
        ))
        .unwrap();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(120) {
        let channels = town.pbx.cli("core show channels concise");
        assert!(
            channels.contains("!Up!"),
            "the call has ended\n{}",
            guardian.log()
        );
        thread::sleep(Duration::from_secs(1));
    }
    let decided = guardian.decided("main");
    for kind in ["hold", "quiet", "delete-entry", "reload-module"] {
        assert!(
            !decided.contains(&kind.to_owned()),
            "{decided:?}\n{}",
            guardian.log()
        );
    }
    eprintln!(
        "call: {} {:#}",
        guardian.state("main"),
        guardian.status().unwrap()
    );
    town.street.net.nft("delete table ip down\n").unwrap();
    guardian.wait_for("main", "healthy", SOON);
}

#[test]
#[ignore = "needs root, ip, nft, conntrack and Asterisk 16"]
fn an_asterisk_that_restarts_is_found_again() {
    let town = Town::new(MASQUERADE);
    let guardian = on_pbx(&town, TIMERS);
    guardian.wait_for("main", "healthy", SOON);
    let pbx = town.restart();
    let blind = process::poll(SOON, || guardian.log().contains("cannot see").then_some(()));
    assert!(blind.is_some(), "{}", guardian.log());
    guardian.wait_for("main", "healthy", SOON);
    guardian.wait_for("other", "healthy", SOON);
    // Refused while it still boots.
    let out = process::poll(SOON, || {
        town.pbx.cli("module unload chan_iax2.so");
        is_out(&town).then_some(())
    });
    assert!(out.is_some());
    guardian.wait_for("main", "asterisk-down", SOON);
    town.pbx.cli("module load chan_iax2.so");
    guardian.wait_for("main", "healthy", SOON);
    drop(pbx);
    guardian.wait_for("main", "asterisk-down", SOON);
    left_alone(&guardian, "main");
    left_alone(&guardian, "other");
}

/// Healthy for this long, and nothing is done.
fn healthy(minutes: u64) {
    let town = Town::with(MASQUERADE, 15, |pbx| pbx);
    let guardian = on_pbx(&town, TIMERS);
    guardian.wait_for("main", "healthy", SOON);
    thread::sleep(Duration::from_secs(60 * minutes));
    for provider in ["main", "other"] {
        assert!(guardian.decided(provider).is_empty(), "{}", guardian.log());
        // It may be registering again just now.
        guardian.wait_for(provider, "healthy", SOON);
    }
    assert!(guardian.incidents().is_empty());
    assert!(!has_table(&town));
}

#[test]
#[ignore = "needs root, ip, nft, conntrack and Asterisk 16"]
fn nothing_is_done_while_all_is_well() {
    healthy(1);
}

#[test]
#[ignore = "needs root, ip, nft, conntrack and Asterisk 16; 10 minutes"]
fn full_nothing_is_done_in_ten_healthy_minutes() {
    healthy(10);
}
