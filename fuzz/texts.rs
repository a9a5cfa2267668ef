//! What is fuzzed besides `bodies.rs`: the texts that users, other programs and routers give.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "every target compiles all of it and uses its part"
)]

use std::{net::IpAddr, path::Path, time::Instant};

use iax2_natcheck::{
    check::{
        router_rules,
        snat::{self, Elsewhere, GuardKind, Plan, Wish},
    },
    config::{
        ConfigError, users,
        watch::{self as configuration_of, import_cron},
    },
    guard::{machine::Guard, observation::ProviderId},
    os::asterisk::{
        self,
        manager::{self, message::Inbox},
    },
    probe::router::{Router, Setting, Uplink},
    report::{
        diff::{self, Diff},
        html, json, nagios, prometheus,
        script::{self, Direction},
        text,
    },
    types::is_printable,
    wire::{
        firewall::{Backend, Ruleset, read},
        port_mapping::{
            nat_pmp, pcp, ssdp,
            upnp::{self, Description},
        },
    },
};

/// Paths in a file are relative to a folder that is not there.
const FOLDER: &str = "/nonexistent/iax2-natcheck";

/// A configuration of the guardian is read, and obeyed, or refused in a sentence.
pub fn configuration(octets: &[u8]) {
    let content = String::from_utf8_lossy(octets);
    match configuration_of::parse(&content, &Path::new(FOLDER).join("watch.toml")) {
        Ok(config) => {
            let _ = (config.needs_net_admin(), config.needs_net_raw());
            assert_eq!(config.providers.len(), config.policy.providers.len());
            assert!(config.providers.len() + config.registrations.len() > 0);
            for (index, provider) in config.providers.iter().enumerate() {
                let id = ProviderId(u16::try_from(index).expect("fewer"));
                assert_eq!(config.provider(id), Some(provider));
            }
            let now = Instant::now();
            let mut guard = Guard::new(config.policy, [1; 32], now);
            guard.handle_timeout(now);
            while guard.poll_action().is_some() {}
            while guard.poll_event().is_some() {}
            assert!(guard.poll_timeout().is_none_or(|(due, _)| due > now));
        }
        Err(error) => sentence(&error, &content),
    }
}

/// A users file is read, or refused in a sentence.
pub fn accounts(octets: &[u8]) {
    let content = String::from_utf8_lossy(octets);
    if let Err(error) = users::parse(&content, &Path::new(FOLDER).join("users.toml")) {
        sentence(&error, &content);
    }
}

/// What is refused is said in one line that names a line of the file.
fn sentence(error: &ConfigError, content: &str) {
    if let ConfigError::Invalid { line, .. } = error {
        assert!(
            (1..=content.matches('\n').count() + 1).contains(line),
            "{error}"
        );
    }
    let said = error.to_string();
    assert!(!said.contains('\n') && said.starts_with(FOLDER), "{said}");
}

/// A script that is replaced becomes a configuration that is read, or is refused.
pub fn scripts(octets: &[u8]) {
    let content = String::from_utf8_lossy(octets);
    match import_cron::import(&content, Path::new("/root/iax.sh"), &[]) {
        Ok(imported) => {
            if let Err(error) = configuration_of::parse(&imported.toml, Path::new("/x")) {
                panic!("{error}\n{}", imported.toml);
            }
            assert!(imported.notes.iter().all(|note| !note.contains('\n')));
        }
        Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
    }
}

/// Rules of a packet filter are read and judged, and what is planned for them is written as scripts.
pub fn rules(octets: &[u8]) {
    let content = String::from_utf8_lossy(octets);
    for backend in [Backend::Iptables, Backend::IptablesLegacy] {
        match read(&content, backend) {
            Ok(ruleset) => {
                for setting in [Setting::Static, Setting::Dynamic] {
                    planned(&ruleset, setting, backend);
                }
            }
            Err(error) => {
                assert!(
                    (1..=content.matches('\n').count() + 1).contains(&error.line),
                    "{error}"
                );
                assert!(!error.what.contains('\n'), "{error}");
            }
        }
    }
}

fn planned(ruleset: &Ruleset, setting: Setting, backend: Backend) {
    let mut ways = snat::ways_out(ruleset);
    let wan = ways.pop().unwrap_or_else(|| "ppp0".to_owned());
    let router = Router {
        wan: Uplink {
            address: Some([198, 51, 100, 7].into()),
            setting,
            ..Uplink::named(wan)
        },
        others: ways.into_iter().map(Uplink::named).collect(),
        lans: vec![],
        udp_timeout_s: Some(30),
    };
    let wish = Wish {
        port: 4569,
        refresh: None,
        guard: GuardKind::Nft,
        backend,
    };
    let _ = router_rules::findings(ruleset, &router, wish.port);
    let plan = snat::plan(Some(ruleset), &router, &wish);
    written(&plan);
    written(&plan.inverted());
    written(&snat::way_back(ruleset, &wish));
    written(&snat::elsewhere(Elsewhere::Openwrt, &router, &wish));
}

fn written(plan: &Plan) {
    for direction in [Direction::Forth, Direction::Back] {
        assert!(!script::render(plan, direction, "Read from a file.").is_empty());
    }
    assert!(script::rollback(plan).starts_with("#!/bin/sh\n"));
}

/// What a manager interface says is taken apart the same, however it arrives, and read.
pub fn manager(octets: &[u8]) {
    let mut taken = [1, 7, 4096].map(|size| {
        let mut inbox = Inbox::default();
        let whole = octets.chunks(size).all(|piece| inbox.push(piece).is_ok());
        let messages: Vec<_> = std::iter::from_fn(|| inbox.take()).collect();
        (whole, messages)
    });
    let (_, messages) = std::mem::take(&mut taken[0]);
    assert!(taken[1..].iter().all(|(_, others)| *others == messages));
    for message in &messages {
        let registration = manager::registry_entry(message);
        assert!(registration.is_err_and(|what| !what.is_empty()) || message.get("Host").is_some());
        if let Some(channel) = manager::Channel::of(message) {
            assert!(channel.name.contains(channel.peer()));
        }
        let _ = manager::ManagerPeer::of(message);
    }
}

/// What the command line of Asterisk prints is read, or refused with its line.
pub fn console(octets: &[u8]) {
    let content = String::from_utf8_lossy(octets);
    let lines = content.lines().count();
    if let Ok(entries) = asterisk::parse_registry(&content) {
        assert!(entries.len() < lines);
        assert!(entries.iter().all(|entry| !entry.state.is_empty()));
    }
    if let Ok(peers) = asterisk::parse_peers(&content) {
        assert!(peers.len() < lines);
    }
    assert!(asterisk::parse_channels(&content).len() <= lines);
}

/// Saved reports are read, shown in every form, and compared; of two in one input the second begins behind a
/// line that is empty.
pub fn reports(octets: &[u8]) {
    let content = String::from_utf8_lossy(octets);
    let (before, after) = content.split_once("\n\n").unwrap_or((&content, ""));
    let read = [before, after].map(json::read);
    for report in read.iter().flatten() {
        let again = json::read(&json::render(report));
        assert_eq!(again.as_ref().ok(), Some(report));
        assert_eq!(json::line(report).lines().count(), 1);
        let page = html::render(report);
        assert!(page.ends_with("</html>\n") || page.ends_with("</html>"));
        assert!(!page.contains("<script"), "{page}");
        for colours in [false, true] {
            shown(&text::render(report, colours), colours);
        }
        let line = nagios::render(report);
        assert_eq!(line.trim_end().lines().count(), 1);
        let metrics = prometheus::render(report);
        assert!(metrics.ends_with('\n'));
        for told in [line, metrics, page, json::render(report)] {
            shown(&told, false);
        }
    }
    let [Ok(before), Ok(after)] = read else {
        return;
    };
    for diff in [Diff::of(&before, &after), Diff::of(&after, &before)] {
        shown(&diff::render(&diff), false);
    }
}

/// Nothing that stands on a terminal moves its cursor or turns a text around.
fn shown(told: &str, colours: bool) {
    let moves =
        |letter: char| !is_printable(letter) && letter != '\n' && !(colours && letter == '\u{1b}');
    assert!(!told.contains(moves), "{told:?}");
}

/// What routers answer that are asked to map ports.
pub fn port_mapping(octets: &[u8]) {
    let _ = nat_pmp::Answer::decode(octets);
    let _ = pcp::Answer::decode(octets);
    let router = IpAddr::from([192, 168, 1, 1]);
    let content = String::from_utf8_lossy(octets);
    let urls = [ssdp::location(octets, router), ssdp::Url::parse(&content)];
    for url in urls.into_iter().flatten() {
        let _ = url.join(&content);
        let _ = url.join("control");
    }
    let Some(url) = ssdp::Url::parse("http://192.168.1.1:5000/root.xml") else {
        return;
    };
    if let Some(description) = Description::parse(&content, &url) {
        assert!(description.device.chars().count() <= 120);
    }
    let _ = upnp::Answer::parse(&content);
}
