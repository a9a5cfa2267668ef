//! Calls as they might have gone, and what is said of them.

use super::*;
use crate::{
    check::sample::context,
    probe::calls::{
        evidence::{CallsEvidence, Carriers},
        wire_use::WireUse,
    },
    proto::media::{
        jitter::Variation,
        listener::{Inbound, Returned, RoundTrip},
        report::ReceiverReport,
    },
    wire::iax2::format::Formats,
};

const TRIP: RoundTrip = RoundTrip {
    min: Duration::from_millis(40),
    median: Duration::from_millis(42),
    p95: Duration::from_millis(50),
    max: Duration::from_millis(60),
};

/// A call of ten seconds to an echo: all of it came back.
fn echoed() -> CallRecord {
    CallRecord {
        format: Some(Formats::ULAW),
        completed: true,
        audio: Some(AudioEvidence {
            sent: 500,
            inbound: Inbound {
                packets: 500,
                ..Inbound::default()
            },
            returned: Returned {
                blocks: 500,
                round_trip: Some(TRIP),
                ..Returned::default()
            },
            variation: Some(Variation {
                packets: 500,
                p3: Duration::ZERO,
                p97: Duration::from_millis(4),
                p99: Duration::from_millis(6),
                max: Duration::from_millis(9),
            }),
        }),
        carriers: Carriers {
            mini: 499,
            full: 1,
            trunk: 0,
        },
        ..CallRecord::default()
    }
}

/// The same, with nothing heard.
fn silent() -> CallRecord {
    CallRecord {
        audio: Some(AudioEvidence {
            sent: 500,
            inbound: Inbound::default(),
            returned: Returned::default(),
            variation: None,
        }),
        carriers: Carriers::default(),
        ..echoed()
    }
}

fn found(far_end: FarEnd, calls: Vec<CallRecord>) -> Vec<Finding> {
    let evidence = Evidence {
        calls: Some(CallsEvidence {
            number: "600".into(),
            far_end,
            uplink: None,
            planned: 1,
            local: None,
            calls,
            plain: WireUse::default(),
            trunked: WireUse::default(),
        }),
        ..Evidence::default()
    };
    findings(&evidence, &context())
}

fn ids(found: &[Finding]) -> Vec<FindingId> {
    found.iter().map(|it| it.id).collect()
}

#[test]
fn a_good_call_and_a_silence_of_unknown_meaning_are_no_findings() {
    assert_eq!(found(FarEnd::Echo, vec![echoed()]), []);
    assert_eq!(found(FarEnd::Unknown, vec![silent()]), []);
    assert_eq!(found(FarEnd::Unknown, vec![]), []);
}

#[test]
fn a_dead_direction_is_named_where_it_is_known() {
    let hears_us = CallRecord {
        report: Some(ReceiverReport {
            packets: 500,
            ..ReceiverReport::default()
        }),
        ..silent()
    };
    let rows = [
        (FarEnd::Echo, silent(), "nothing tells which"),
        (FarEnd::Echo, hears_us, "The far end hears us"),
        (FarEnd::Speaks, silent(), "We hear nothing"),
    ];
    for (far_end, call, words) in rows {
        let found = found(far_end, vec![call]);
        assert_eq!(ids(&found), [FindingId::OneWayAudio]);
        assert!(found[0].title.contains(words), "{}", found[0].title);
    }
}

#[test]
fn what_is_dead_only_when_trunked_is_a_mismatch() {
    let trunked = CallRecord {
        trunked: true,
        ..silent()
    };
    let mismatch = found(FarEnd::Unknown, vec![echoed(), trunked.clone()]);
    assert_eq!(ids(&mismatch), [FindingId::TrunkMismatch]);
    assert!(mismatch[0].do_this[0].contains("have the far end set trunk=yes"));
    let dead_both = found(FarEnd::Echo, vec![silent(), trunked]);
    assert_eq!(ids(&dead_both), [FindingId::OneWayAudio]);
}

#[test]
fn loss_and_disorder_are_told_with_their_figures() {
    let mut lossy = echoed();
    if let Some(audio) = &mut lossy.audio {
        audio.inbound.packets = 475;
        audio.inbound.lost = 25;
        audio.inbound.gaps = 24;
        audio.inbound.reordered = 9;
        audio.inbound.disordered_seconds = 5;
        audio.returned.blocks = 475;
        audio.returned.missing = 25;
    }
    let found = found(FarEnd::Echo, vec![lossy]);
    assert_eq!(
        ids(&found),
        [FindingId::PoorAudio, FindingId::ReorderedPackets]
    );
    let because = found[0].because.join("\n");
    assert!(because.contains("5.0 % of the packets lost"), "{because}");
    assert_eq!(found[0].severity, Severity::Critical);
    assert!(found[0].do_this.join("\n").contains("jitterbuffer=yes"));
}

#[test]
fn digits_are_mangled_by_loss_and_repetition_alone() {
    let rows: [(&[u8], &[u8], bool); 8] = [
        (b"12#", b"12#", false),
        (b"12#", b"", false),
        (b"12#", b"1#", true),
        (b"12#", b"112#", true),
        (b"12#", b"12##", true),
        (b"12#", b"12#608#", false),
        (b"12#", b"1234#", false),
        (b"11", b"111", true),
    ];
    for (sent, received, mangled) in rows {
        assert_eq!(is_mangled(sent, received), mangled, "{sent:?} {received:?}");
    }
}

/// A second of an echo that lacks so many packets, one by one.
fn short(lost: u64) -> CallRecord {
    let mut call = echoed();
    if let Some(audio) = &mut call.audio {
        audio.sent = 51;
        audio.inbound.packets = 51 - lost;
        audio.inbound.lost = lost;
        audio.inbound.gaps = lost;
        audio.returned.blocks = 51 - lost;
        audio.returned.missing = lost;
    }
    call
}

#[test]
fn short_calls_are_judged_together() {
    let mut burst = vec![short(0); 9];
    burst.push(short(2));
    assert_eq!(found(FarEnd::Echo, burst), []);
    let lossy = found(FarEnd::Echo, vec![short(3); 10]);
    assert_eq!(ids(&lossy), [FindingId::PoorAudio]);
    assert!(lossy[0].because[1].contains("5.9 % of the packets lost"));
}

#[test]
fn a_packet_or_two_out_of_order_are_no_disorder() {
    let mut call = short(0);
    if let Some(audio) = &mut call.audio {
        audio.inbound.reordered = 2;
    }
    assert_eq!(found(FarEnd::Echo, vec![call]), []);
}

#[test]
fn a_full_frame_that_never_arrives_names_the_direction() {
    use crate::{
        proto::call::Ending,
        wire::iax2::{command::FrameType, frame::Kind},
    };

    let blocked = CallRecord {
        heard: Some(Duration::from_secs(7)),
        ended: Some(Duration::from_secs(8)),
        ending: Some(Ending::Unanswered {
            frame: Kind {
                frame_type: FrameType::Voice,
                subclass: Kind::iax(crate::wire::iax2::command::Command::New).subclass,
            },
            heard: true,
        }),
        ..silent()
    };
    let found = found(FarEnd::Echo, vec![blocked]);
    assert_eq!(ids(&found), [FindingId::OneWayAudio]);
    assert_eq!(found[0].title, "The far end does not hear us");
}
