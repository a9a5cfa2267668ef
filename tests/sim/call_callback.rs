//! Calls that come back to the account that made them.

use iax2_natcheck::{
    proto::call::{CallEvent, Ending, Reason, Side},
    wire::iax2::{command::Control, format::Formats},
};

use crate::{
    exchange::{exchange, hung_up, millis},
    support::seconds,
};

#[test]
fn callback_rings_the_registered_account_and_the_two_are_one_call() {
    let mut exchange = exchange();
    exchange.register("198.51.100.7:4569");
    let alice = exchange.dial("609", |config| {
        config.caller = Some(("100".to_owned(), "Alice".to_owned()));
    });
    exchange.run(millis(100));
    let callee = exchange.callers.len() - 1;
    assert_eq!(callee, 1, "it was called");
    let now = exchange.now;
    let call = &mut exchange.callers[callee].call;
    assert_eq!(call.capability(), Formats::ULAW);
    call.accept(Formats::ULAW, now);
    call.control(Control::Ringing, now);
    exchange.run(millis(500));
    assert_eq!(exchange.callers[alice].controls(), ["ringing"]);
    let now = exchange.now;
    exchange.callers[callee].call.answer(now);
    exchange.run(millis(100));
    assert_eq!(exchange.callers[alice].controls(), ["ringing", "answer"]);
    exchange.speak(alice);
    exchange.run(seconds(1));
    let now = exchange.now;
    exchange.callers[callee].call.send_digit(b'9', true, now);
    exchange.callers[callee].call.send_text(b"hello", now);
    exchange.speak(callee);
    exchange.run(seconds(1));
    let there = exchange.callers[callee].echoes();
    assert!(there.is_sorted() && there.len() > 95, "{there:?}");
    assert!(exchange.callers[alice].echoes().len() > 45);
    let heard = |wanted: fn(&CallEvent) -> bool| exchange.callers[alice].count(wanted);
    assert_eq!(
        heard(|event| matches!(event, CallEvent::Dtmf { digit: b'9', .. })),
        1
    );
    assert_eq!(heard(|event| matches!(event, CallEvent::Text(_))), 1);

    let now = exchange.now;
    exchange.callers[callee].call.hang_up(Reason::code(16), now);
    assert_eq!(exchange.run_to_end(alice), hung_up(Side::Peer, 16));
    exchange.run(seconds(10));
    assert_eq!(exchange.lines(), 0);
    assert_eq!(
        exchange.callers[callee].ending(),
        Some(&hung_up(Side::Us, 16))
    );
}

#[test]
fn callback_says_why_it_does_not_come() {
    let mut exchange = exchange();
    let absent = exchange.dial("609", |_| {});
    let Ending::HungUp {
        by: Side::Peer,
        cause,
        ..
    } = exchange.run_to_end(absent)
    else {
        panic!("{:?}", exchange.callers[absent].events);
    };
    assert_eq!(cause.code, Some(20));

    exchange.register("198.51.100.7:4569");
    let busy = exchange.dial("609", |_| {});
    exchange.run(millis(100));
    let (callee, now) = (exchange.callers.len() - 1, exchange.now);
    exchange.callers[callee].call.reject(Reason::code(17), now);
    assert_eq!(exchange.run_to_end(busy), hung_up(Side::Peer, 17));
    assert_eq!(exchange.callers[busy].controls(), ["busy"]);

    exchange.is_deaf = true;
    let silent = exchange.dial("609", |_| {});
    assert_eq!(exchange.run_to_end(silent), hung_up(Side::Peer, 18));

    exchange.is_deaf = false;
    exchange.register("198.51.100.7:4569");
    let given_up = exchange.dial("609", |_| {});
    exchange.run(millis(100));
    let (callee, now) = (exchange.callers.len() - 1, exchange.now);
    exchange.callers[callee].call.accept(Formats::ULAW, now);
    exchange.callers[given_up]
        .call
        .hang_up(Reason::code(16), now);
    assert_eq!(exchange.run_to_end(callee), hung_up(Side::Peer, 16));
    exchange.run(seconds(10));
    assert_eq!(exchange.lines(), 0);
}
