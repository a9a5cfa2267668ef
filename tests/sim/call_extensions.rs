//! Calls to the extensions of a test provider.

use iax2_natcheck::{
    proto::{
        call::{CallEvent, Carrier, Reason, Side, Stage},
        switchboard::SwitchboardEvent,
    },
    wire::iax2::format::Formats,
};

use crate::{
    exchange::{assert_over, exchange, hung_up, millis, rejected},
    support::seconds,
};

#[test]
fn echo_brings_audio_and_digits_back() {
    let mut exchange = exchange();
    let alice = exchange.dial("600", |_| {});
    exchange.run(millis(100));
    assert_eq!(exchange.callers[alice].call.stage(), Stage::Up);
    exchange.speak(alice);
    let now = exchange.now;
    exchange.callers[alice].call.send_digit(b'5', false, now);
    exchange.callers[alice].call.send_digit(b'5', true, now);
    exchange.run(seconds(2));
    let caller = &exchange.callers[alice];
    assert_eq!(caller.echoes(), (0..100).collect::<Vec<_>>());
    let digits: Vec<_> = caller
        .events
        .iter()
        .filter_map(|(_, event)| match event {
            CallEvent::Dtmf { digit, ended } => Some((*digit, *ended)),
            _ => None,
        })
        .collect();
    assert_eq!(digits, [(b'5', false), (b'5', true)]);
    let fulls = caller
        .count(|event| matches!(event, CallEvent::Audio(audio) if audio.carrier == Carrier::Full));
    assert_eq!(fulls, 1);

    let now = exchange.now;
    exchange.callers[alice].call.hang_up(Reason::code(16), now);
    assert_eq!(exchange.run_to_end(alice), hung_up(Side::Us, 16));
    assert_over(&exchange, alice);
    let Some(SwitchboardEvent::Ended {
        ending, received, ..
    }) = exchange.switchboard_events().last()
    else {
        panic!("{:?}", exchange.events);
    };
    assert_eq!(*ending, hung_up(Side::Peer, 16));
    let received = received.unwrap();
    assert_eq!((received.packets, received.lost), (101, 0));
    // Late frames are still acknowledged for a while.
    assert_eq!(exchange.lines(), 1);
    exchange.run(seconds(6));
    assert_eq!(exchange.lines(), 0);
}

#[test]
fn the_tone_is_on_a_grid_and_loops() {
    let mut exchange = exchange();
    let alice = exchange.dial("601", |config| config.formats = vec![Formats::ALAW]);
    exchange.run(seconds(3));
    let caller = &exchange.callers[alice];
    let tone: Vec<_> = caller
        .events
        .iter()
        .filter_map(|(_, event)| match event {
            CallEvent::Audio(audio) => Some((audio.timestamp, audio.payload.clone())),
            _ => None,
        })
        .collect();
    assert!((147..=149).contains(&tone.len()), "{}", tone.len());
    assert!(tone.windows(2).all(|pair| pair[1].0 - pair[0].0 == 20));
    assert!(tone.windows(26).all(|loops| loops[0].1 == loops[25].1));
    assert_ne!(tone[0].1, tone[1].1);
    // In a format that it does not come in, it is not played.
    let speex = exchange.dial("601", |config| config.formats = vec![Formats::SPEEX]);
    let ending = exchange.run_to_end(speex);
    assert_eq!(ending, rejected("Unable to negotiate codec", 58));
}

#[test]
fn extensions_that_do_not_answer_say_why() {
    let mut exchange = exchange();
    let busy = exchange.dial("602", |_| {});
    assert_eq!(exchange.run_to_end(busy), hung_up(Side::Peer, 17));
    assert_eq!(exchange.callers[busy].controls(), ["busy"]);

    let silent = exchange.dial("603", |_| {});
    exchange.run(seconds(120));
    assert_eq!(exchange.callers[silent].controls(), ["ringing"]);
    assert_eq!(exchange.callers[silent].call.stage(), Stage::Linked);
    let now = exchange.now;
    exchange.callers[silent].call.hang_up(Reason::code(16), now);
    exchange.run_to_end(silent);

    let refused = exchange.dial("604", |_| {});
    let ending = exchange.run_to_end(refused);
    assert_eq!(ending, rejected("Call rejected", 21));

    let nowhere = exchange.dial("12345", |_| {});
    let ending = exchange.run_to_end(nowhere);
    assert_eq!(ending, rejected("No such context/extension", 3));
    exchange.run(seconds(10));
    assert_eq!(exchange.lines(), 0);
}

#[test]
fn extensions_that_answer_take_their_time() {
    let mut exchange = exchange();
    let late = exchange.dial("605", |_| {});
    exchange.run(millis(2900));
    assert_eq!(exchange.callers[late].controls(), ["ringing"]);
    exchange.run(millis(200));
    assert_eq!(exchange.callers[late].controls(), ["ringing", "answer"]);

    let short = exchange.dial("606", |_| {});
    exchange.run(millis(1900));
    assert_eq!(exchange.callers[short].call.stage(), Stage::Up);
    assert_eq!(exchange.run_to_end(short), hung_up(Side::Peer, 16));

    let early = exchange.dial("607", |_| {});
    exchange.run(millis(1500));
    let caller = &exchange.callers[early];
    assert_eq!(caller.controls(), ["progress", "ringing"]);
    assert!(caller.count(|event| matches!(event, CallEvent::Audio(_))) > 60);
    exchange.run(millis(600));
    exchange.speak(early);
    exchange.run(seconds(1));
    let caller = &exchange.callers[early];
    assert_eq!(caller.controls(), ["progress", "ringing", "answer"]);
    assert_eq!(caller.echoes().len(), 50);
}

#[test]
fn text_and_digits_come_unasked_and_return() {
    let mut exchange = exchange();
    let alice = exchange.dial("608", |_| {});
    exchange.run(seconds(2));
    let now = exchange.now;
    exchange.callers[alice]
        .call
        .send_text("grüße".as_bytes(), now);
    exchange.run(seconds(1));
    let caller = &exchange.callers[alice];
    let texts: Vec<_> = caller
        .events
        .iter()
        .filter_map(|(_, event)| match event {
            CallEvent::Text(text) => Some(String::from_utf8(text.clone()).unwrap()),
            _ => None,
        })
        .collect();
    assert_eq!(texts, ["iax2-natcheck", "grüße"]);
    let digits: String = caller
        .events
        .iter()
        .filter_map(|(_, event)| match event {
            CallEvent::Dtmf { digit, ended: true } => Some(char::from(*digit)),
            _ => None,
        })
        .collect();
    assert_eq!(digits, "608#");
}
