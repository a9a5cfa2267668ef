//! Packets that overtake each other, in process: no rule of the kernel's does it.

use std::{
    net::SocketAddr,
    time::{Duration, Instant, SystemTime},
};

use iax2_natcheck::{
    check::{self, Context, Question},
    lab::{
        link::{Faults, LinkConfig},
        nat::NatConfig,
        world::{SiteConfig, World},
    },
    probe::{
        calls::{
            Calls,
            plan::{CallPlan, CallsConfig},
        },
        evidence::Evidence,
    },
    proto::{contract::SocketKey, media::directions::FarEnd},
    report::{
        assemble::{self, Frame},
        json, model,
    },
    types::PeerAddr,
};
use serde_json::Value;

use crate::support::{
    dial::Dial,
    echo::{Echo, Fate},
    json_contract,
    tool::findings,
};

/// Two calls of ten seconds through a NAT and this line; what the report says.
fn report(link: LinkConfig) -> Value {
    let callee: SocketAddr = ([203, 0, 113, 1], 4569).into();
    let now = Instant::now();
    let mut world = World::new(now);
    let site = world.site(SiteConfig {
        nats: vec![NatConfig::linux([198, 51, 100, 7].into())],
        link,
        ..SiteConfig::default()
    });
    world.server([(SocketKey(0), callee)], Echo::new(|_| Fate::Echoed));
    let dial = Dial {
        far_end: FarEnd::Echo,
        plan: CallPlan::default(),
        ..Dial::new(callee, [192, 168, 1, 10].into(), "600")
    };
    let config = CallsConfig {
        calls: 2,
        concurrent: 2,
        seed: [5; 32],
        ..dial.config()
    };
    let client = world.client(site, [192, 168, 1, 10].into(), Calls::new(config, now, now));
    let limit = now + Duration::from_secs(60);
    assert!(world.run_until_done(limit, || client.machine().is_finished()));
    let evidence = Evidence {
        calls: Some(client.machine().evidence()),
        ..Evidence::default()
    };
    let context = Context {
        question: Question::Calls,
        provider: PeerAddr::new(callee),
        credentials: false,
        refresh: None,
        device: None,
    };
    let frame = Frame {
        command: "call".into(),
        started_at: SystemTime::UNIX_EPOCH,
        finished_at: SystemTime::UNIX_EPOCH + Duration::from_secs(12),
        host: model::Host {
            os: Some("none".into()),
            kernel: Some("none".into()),
            local_address: None,
        },
        provider: Some(model::Provider {
            name: callee.to_string(),
            address: Some(callee),
            user: None,
        }),
    };
    let judgement = check::judge(&evidence, &context);
    let text = json::render(&assemble::assemble(frame, &evidence, &judgement));
    let report = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
    json_contract::validate(&report);
    report
}

/// Every packet takes 30 ms, and up to so much more.
fn jittery(millis: u64) -> Faults {
    Faults {
        delay: Duration::from_millis(30),
        jitter: Duration::from_millis(millis),
        ..Faults::NONE
    }
}

fn media(report: &Value, key: &str) -> u64 {
    let media = &report["measurements"]["calls"]["media"];
    media[key]
        .as_u64()
        .unwrap_or_else(|| panic!("{key}: {media}"))
}

#[test]
fn a_line_in_order_is_no_finding() {
    // There and back, less than the gap between two packets.
    let report = report(LinkConfig::both(jittery(8), 3));
    assert_eq!(findings(&report), [""; 0], "{report:#}");
    assert_eq!(media(&report, "reordered"), 0);
    assert_eq!(media(&report, "returned_out_of_order"), 0);
    assert_eq!(media(&report, "lost"), 0);
    assert_eq!(media(&report, "returned"), media(&report, "sent"));
}

#[test]
fn packets_that_overtake_each_other_are_named_and_none_is_lost() {
    for (name, link) in [
        ("both", LinkConfig::both(jittery(60), 3)),
        (
            "out",
            LinkConfig {
                outbound: jittery(60),
                inbound: jittery(0),
                seed: 3,
            },
        ),
        (
            "in",
            LinkConfig {
                outbound: jittery(0),
                inbound: jittery(60),
                seed: 3,
            },
        ),
    ] {
        let report = report(link);
        assert_eq!(
            findings(&report),
            ["reordered-packets"],
            "{name}: {report:#}"
        );
        assert_eq!(media(&report, "lost"), 0, "{name}: {report:#}");
        assert_eq!(media(&report, "returned"), media(&report, "sent"), "{name}");
        assert!(
            media(&report, "returned_out_of_order") > 100,
            "{name}: {report:#}"
        );
        // An echo of packets out of order is in order by its own clock.
        assert_eq!(
            media(&report, "reordered") > 100,
            name != "out",
            "{name}: {report:#}"
        );
        let calls = &report["measurements"]["calls"];
        assert_eq!(calls["pattern"], "none", "{name}");
    }
}
