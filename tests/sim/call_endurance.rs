//! Long calls, many calls, and calls on a bad line.

use iax2_natcheck::{
    proto::call::{CallEvent, Ending, Manners, Side, Stage},
    wire::iax2::command::Command,
};

use crate::{
    exchange::{exchange, full_frames, millis},
    support::seconds,
};

#[test]
fn an_hour_of_echo_keeps_its_audio() {
    for manners in [Manners::OURS, Manners::ASTERISK] {
        let mut exchange = exchange();
        exchange.keeps = false;
        let alice = exchange.dial("600", |config| config.manners = manners);
        exchange.run(millis(100));
        exchange.speak(alice);
        let mut next = 0;
        for _ in 0..360 {
            exchange.run(seconds(10));
            let caller = &mut exchange.callers[alice];
            for number in caller.echoes() {
                assert_eq!(number, next);
                next += 1;
            }
            caller
                .events
                .retain(|(_, event)| !matches!(event, CallEvent::Audio(_)));
        }
        assert!(next >= 179_990, "{next}");
        let caller = &exchange.callers[alice];
        assert_eq!(caller.ending(), None);
        assert_eq!(caller.call.counts().retransmissions, 0);
        let report = caller
            .events
            .iter()
            .rev()
            .find_map(|(_, event)| match event {
                CallEvent::Pong { report, .. } => *report,
                _ => None,
            });
        let report = report.unwrap();
        assert_eq!((report.lost, report.out_of_order), (0, 0));
        assert!(report.packets > 178_000);
    }
}

#[test]
fn calls_are_limited_in_number_and_length() {
    let mut exchange = exchange();
    exchange.keeps = false;
    let address = "192.0.2.1:4569";
    for _ in 0..1024 {
        exchange.dial_from(address, "603", |_| {});
        exchange.run(millis(1));
    }
    exchange.run(millis(100));
    let one_too_many = exchange.dial_from(address, "603", |_| {});
    let ending = exchange.run_to_end(one_too_many);
    assert_eq!(ending, Ending::TokenRefused { had_token: true });
    let elsewhere = exchange.dial("600", |_| {});
    exchange.run(millis(100));
    assert_eq!(exchange.callers[elsewhere].call.stage(), Stage::Up);
    for which in 0..1024 {
        exchange.vanish(which);
    }
    // Who is gone is noticed; who stays is thanked after four hours.
    exchange.run(seconds(60));
    assert_eq!(exchange.lines(), 1);
    exchange.run(seconds(4 * 3600 - 62));
    assert_eq!(exchange.callers[elsewhere].ending(), None);
    exchange.run(seconds(2));
    let Some(Ending::HungUp {
        by: Side::Peer,
        cause,
        ..
    }) = exchange.callers[elsewhere].ending()
    else {
        panic!("it lasts");
    };
    assert_eq!(cause.code, Some(102));
    exchange.run(seconds(20));
    assert_eq!(exchange.lines(), 0);
}

#[test]
fn loss_and_reordering_do_not_harm_a_call() {
    let mut exchange = exchange();
    let mut number = 0u32;
    exchange.loses = Box::new(move |_, _| {
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        number >> 24 < 26
    });
    let alice = exchange.dial("608", |_| {});
    exchange.run(seconds(40));
    let caller = &exchange.callers[alice];
    assert_eq!(caller.ending(), None, "{:?}", caller.events);
    assert_eq!(caller.count(|event| matches!(event, CallEvent::Text(_))), 1);
    assert_eq!(
        caller.count(|event| matches!(event, CallEvent::Dtmf { .. })),
        8
    );
    let vnaks = full_frames(&exchange.sent)
        .filter(|frame| frame.command() == Some(Command::Vnak))
        .count();
    assert!(vnaks < 50, "{vnaks}");
}
