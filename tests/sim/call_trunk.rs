//! Calls in trunk frames.

use iax2_natcheck::{
    proto::{
        account::Account,
        call::{CallEvent, Carrier},
        trunk::{MTU, TrunkSender},
    },
    wire::iax2::frame::{Frame, Numbers},
};

use crate::{
    exchange::{Exchange, alice, exchange, millis},
    support::seconds,
};

#[test]
fn trunk_frames_are_answered_in_kind() {
    for timestamps in [false, true] {
        let account = Account {
            trunk: true,
            ..alice()
        };
        let mut exchange = Exchange::new(vec![account], &[]);
        let start = exchange.now;
        exchange.trunk = Some(TrunkSender::new(MTU, timestamps, start));
        for _ in 0..20 {
            let which = exchange.dial_from("192.0.2.1:4569", "600", |_| {});
            exchange.callers[which].call.set_trunked(true);
        }
        let tone = exchange.dial_from("192.0.2.1:4569", "601", |_| {});
        exchange.run(millis(100));
        for which in 0..20 {
            exchange.speak(which);
        }
        exchange.run(seconds(10));
        for caller in &exchange.callers[..20] {
            assert_eq!(
                caller.echoes(),
                (0..500).collect::<Vec<_>>(),
                "{timestamps}"
            );
            let steady = caller
                .events
                .iter()
                .filter_map(|(_, event)| match event {
                    CallEvent::Audio(audio) if audio.carrier == Carrier::Trunk => {
                        Some(audio.timestamp)
                    }
                    _ => None,
                })
                .collect::<Vec<_>>();
            assert!(steady.len() > 495);
            // The first packets of the trunk come while calls still join it.
            let steps = steady[5..].windows(2).map(|pair| pair[1] - pair[0]);
            assert!(
                steps.clone().all(|step| (19..=21).contains(&step)),
                "{timestamps}"
            );
        }
        // Who sends none is sent none.
        let minis = exchange.callers[tone].count(
            |event| matches!(event, CallEvent::Audio(audio) if audio.carrier == Carrier::Mini),
        );
        assert!(minis > 480, "{minis}");
        let trunks: Vec<_> = exchange
            .sent
            .iter()
            .filter(|sent| Numbers::of(&sent.payload) == Some(Numbers::Meta))
            .collect();
        // 20 calls need three datagrams, every 20 ms.
        assert!((1480..1520).contains(&trunks.len()), "{}", trunks.len());
        for sent in trunks {
            assert!(sent.payload.len() <= MTU);
            let Ok(Frame::Trunk(trunk)) = Frame::decode(&sent.payload) else {
                panic!("{sent:?}");
            };
            assert_eq!(trunk.has_entry_timestamps(), timestamps);
        }
    }
}

#[test]
fn tones_of_one_peer_share_trunk_frames() {
    let account = Account {
        trunk: true,
        ..alice()
    };
    let mut exchange = Exchange::new(vec![account], &[]);
    exchange.trunk = Some(TrunkSender::new(MTU, true, exchange.now));
    for pause in 0..7 {
        let which = exchange.dial_from("192.0.2.1:4569", "601", |_| {});
        exchange.callers[which].call.set_trunked(true);
        exchange.run(millis(100 + 3 * pause));
        exchange.speak(which);
    }
    exchange.run(seconds(1));
    exchange.sent.clear();
    exchange.run(seconds(2));
    let frames = exchange
        .sent
        .iter()
        .filter_map(|sent| match Frame::decode(&sent.payload) {
            Ok(Frame::Trunk(trunk)) => Some(trunk.entries().count()),
            _ => None,
        });
    let entries: Vec<_> = frames.collect();
    assert_eq!(entries, vec![7; 100]);
}

#[test]
fn a_trunk_mismatch_is_one_way_audio() {
    let mut exchange = exchange();
    exchange.trunk = Some(TrunkSender::new(MTU, true, exchange.now));
    let alice = exchange.dial("601", |_| {});
    exchange.callers[alice].call.set_trunked(true);
    exchange.run(millis(100));
    exchange.speak(alice);
    exchange.run(seconds(2));
    let counts = exchange.provider.endpoint().switchboard().unwrap().counts();
    assert_eq!(
        counts.entries_dropped, 99,
        "all but the first, a full frame"
    );
    let heard = exchange.callers[alice].count(|event| matches!(event, CallEvent::Audio(_)));
    assert!(heard > 95, "{heard}");
}
