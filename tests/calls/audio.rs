//! Faults that leave calls up and spoil their audio: loss, one direction dead, disorder.

#![allow(clippy::unwrap_used)] // the helpers of tests are no tests to the lint

use iax2_natcheck::lab::network::Network;
use serde_json::Value;

use crate::{
    placed::{LINUX, Placed, drop_forwarded, side_by_side},
    support::{
        asterisk::Asterisk,
        site::{PROVIDER, Site},
    },
};

/// What is longer than signalling ever is here, and no longer than audio, each way.
const OUT: &str = "iifname \"lan\" udp length > 170";
const IN: &str = "iifname \"wan\" udp length > 170";

#[test]
#[ignore = "needs root, ip, nft and the Asterisk that tests/all fetches"]
fn five_percent_of_loss_are_poor_audio_and_no_lost_calls() {
    let bursts = side_by_side(3, |_| {
        let network = Network {
            loss_percent: 5,
            ..Network::behind([LINUX])
        };
        let site = Site::of(network);
        let _provider = Asterisk::registrar(PROVIDER).start(&site.far());
        Placed::on(
            &site,
            "600",
            "--calls 20 --concurrent 10 --duration 4s --expect echo",
        )
    });
    let mut retransmissions = 0;
    for burst in &bursts {
        let (calls, media) = (burst.calls(), burst.media());
        println!("{media}");
        let sent = media["sent"].as_f64().unwrap();
        let lost = media["lost"].as_f64().unwrap() / sent;
        assert!((0.07..0.15).contains(&lost), "{lost}: {media:#}");
        let out = media["lost_outbound"].as_f64().unwrap() / sent;
        assert!((0.03..0.07).contains(&out), "{out}: {media:#}");
        let received = media["received"].as_f64().unwrap();
        let inbound = media["lost_inbound"].as_f64().unwrap();
        let inbound = inbound / (received + inbound);
        assert!((0.03..0.07).contains(&inbound), "{inbound}: {media:#}");
        assert_eq!(calls["completed"], 20, "{calls:#}");
        assert_eq!(calls["pattern"], "none", "{calls:#}");
        assert_eq!(burst.findings(), ["poor-audio"], "{:#}", burst.report);
        retransmissions += calls["retransmissions"].as_u64().unwrap();
    }
    // About seven in each burst; a burst without any is a matter of luck, three are not.
    assert!(retransmissions > 0);
}

/// One call through a filter, with or without a jitter buffer at the far end.
fn filtered(rule: &str, buffered: bool, extension: &str, options: &str) -> Placed {
    let site = Site::behind([LINUX]);
    let mut provider = Asterisk::registrar(PROVIDER);
    if buffered {
        provider = provider.jitter_buffer();
    }
    let _provider = provider.start(&site.far());
    drop_forwarded(&site, rule);
    Placed::on(&site, extension, options)
}

/// The finding, and what is said of each direction.
#[track_caller]
fn assert_one_way(placed: &Placed, outbound: &Value, inbound: &Value) {
    assert!(
        placed.findings().contains(&"one-way-audio"),
        "{:#}",
        placed.report
    );
    let media = placed.media();
    assert_eq!(media["one_way"], true);
    assert_eq!(&media["outbound"], outbound, "{media:#}");
    assert_eq!(&media["inbound"], inbound, "{media:#}");
    assert_eq!(placed.ended.status, 2);
}

#[test]
#[ignore = "needs root, ip, nft and the Asterisk that tests/all fetches"]
fn audio_dropped_on_the_way_in_is_one_way() {
    let cases = [
        (false, "600", "--duration 5s --expect echo"),
        (true, "600", "--duration 5s --expect echo"),
        (false, "601", "--duration 5s --expect sound"),
    ];
    let all = side_by_side(3, |at| {
        let (buffered, extension, options) = cases[at];
        filtered(IN, buffered, extension, options)
    });
    // Without reports the echo is silent, and that alone tells no direction.
    assert_one_way(&all[0], &Value::Null, &Value::Null);
    assert_one_way(&all[1], &true.into(), &false.into());
    assert_one_way(&all[2], &Value::Null, &false.into());
    for placed in &all {
        assert_eq!(placed.findings(), ["one-way-audio"], "{:#}", placed.report);
        assert_eq!(placed.calls()["completed"], 1);
    }
}

#[test]
#[ignore = "needs root, ip, nft and the Asterisk that tests/all fetches"]
fn audio_dropped_on_the_way_out_is_one_way() {
    let cases = [
        (false, "600", "--duration 4s --expect echo"),
        (true, "600", "--duration 4s --expect echo"),
        (false, "601", "--duration 4s --expect sound"),
        (false, "600", "--duration 12s --expect echo"),
    ];
    let all = side_by_side(4, |at| {
        let (buffered, extension, options) = cases[at];
        filtered(OUT, buffered, extension, options)
    });
    // The far end says which frame it lacks, in every case.
    for (placed, inbound) in all
        .iter()
        .zip([Value::Null, Value::Null, true.into(), Value::Null])
    {
        assert_one_way(placed, &false.into(), &inbound);
        assert_eq!(
            placed.signature("call-state-lost"),
            0,
            "{:#}",
            placed.report
        );
    }
}
