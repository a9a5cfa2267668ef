//! What each fault of the test provider looks like from a caller's end.

use iax2_natcheck::{
    proto::{
        account::Account,
        call::{CallEvent, Carrier, Ending, Manners, Reason, Side, Stage},
        contract::SocketKey,
        switchboard::fault::{FAULTS, Fault},
        trunk::{MTU, TrunkSender},
    },
    wire::iax2::{
        command::{Command, Control, FrameType},
        frame::Kind,
    },
};

use crate::{
    exchange::{Exchange, alice, full_frames, hung_up, millis},
    support::seconds,
};

fn faulty(faults: &[&str]) -> Exchange {
    let faults: Vec<Fault> = faults.iter().map(|name| name.parse().unwrap()).collect();
    let account = Account {
        trunk: true,
        ..alice()
    };
    Exchange::new(vec![account], &faults)
}

/// A call to the echo that speaks for so long.
fn spoken(faults: &[&str], length: u64) -> Exchange {
    let mut exchange = faulty(faults);
    exchange.dial("600", |_| {});
    exchange.run(millis(100));
    exchange.speak(0);
    exchange.run(seconds(length));
    exchange
}

#[test]
fn a_dropped_datagram_is_sent_again() {
    // AUTHREQ, ACCEPT, ANSWER, stop tones.
    for (number, waits) in [(1, 2000), (2, 2000), (3, 0), (4, 0)] {
        let mut exchange = faulty(&[&format!("drop={number}")]);
        exchange.dial("600", |_| {});
        exchange.run(seconds(5));
        let caller = &exchange.callers[0];
        assert_eq!(caller.call.stage(), Stage::Up, "{number}");
        let start = caller.events[0].0;
        let answered = caller
            .events
            .iter()
            .find(|(_, event)| *event == CallEvent::Progress(Control::Answer))
            .map(|(at, _)| at.duration_since(start))
            .unwrap();
        assert!(answered >= millis(waits), "{number}: {answered:?}");
        assert!(answered < millis(waits + 200), "{number}: {answered:?}");
    }
}

#[test]
fn silence_is_a_new_that_nobody_answers() {
    let mut exchange = faulty(&["silence"]);
    exchange.dial("600", |_| {});
    let ending = exchange.run_to_end(0);
    let frame = Kind::iax(Command::New);
    assert_eq!(
        ending,
        Ending::Unanswered {
            frame,
            heard: false
        }
    );
    let token = exchange.callers[0].count(|event| *event == CallEvent::TokenReceived);
    assert_eq!((token, exchange.lines()), (1, 0));
}

#[test]
fn silence_after_answer_is_a_call_that_dies_of_it() {
    let mut exchange = spoken(&["silence-after-answer"], 1);
    assert_eq!(exchange.callers[0].call.stage(), Stage::Up);
    let Ending::Unanswered { frame, heard: true } = exchange.run_to_end(0) else {
        panic!("{:?}", exchange.callers[0].ending());
    };
    assert_eq!(frame.frame_type, FrameType::Voice);
    exchange.run(seconds(60));
    assert_eq!(exchange.lines(), 0);
}

#[test]
fn another_port_is_heard_by_who_does_not_look() {
    let exchange = spoken(&["other-port"], 2);
    assert_eq!(exchange.callers[0].echoes().len(), 100);
    let answer = exchange
        .sent
        .iter()
        .position(|sent| sent.payload.ends_with(&[FrameType::Control.get(), 0xff]))
        .unwrap();
    let (before, after) = exchange.sent.split_at(answer + 1);
    assert!(before.iter().all(|sent| sent.socket == SocketKey(0)));
    assert!(after.iter().all(|sent| sent.socket == SocketKey(1)));
}

#[test]
fn inval_ends_a_call_that_was_up() {
    let exchange = spoken(&["inval"], 1);
    let Some(Ending::Invalidated { about: Some(about) }) = exchange.callers[0].ending() else {
        panic!("{:?}", exchange.callers[0].events);
    };
    assert_eq!(about.frame_type, FrameType::Voice);
    assert_eq!(exchange.lines(), 0, "forgotten at once");
}

#[test]
fn a_naked_reject_follows_a_good_token() {
    let mut exchange = faulty(&["naked-reject"]);
    exchange.dial("600", |_| {});
    let ending = exchange.run_to_end(0);
    assert_eq!(ending, Ending::TokenRefused { had_token: true });
    assert_eq!(exchange.lines(), 0);
}

#[test]
fn a_cause_rejects_every_call() {
    let mut exchange = faulty(&["cause=34"]);
    exchange.dial("600", |_| {});
    let ending = Ending::Rejected {
        by: Side::Peer,
        cause: Reason::code(34),
    };
    assert_eq!(exchange.run_to_end(0), ending);
}

#[test]
fn manners_change_one_by_one() {
    let stops = |exchange: &Exchange| {
        full_frames(&exchange.sent)
            .filter(|frame| frame.control() == Some(Control::StopTones))
            .count()
    };
    assert_eq!(stops(&spoken(&[], 1)), 1);
    assert_eq!(stops(&spoken(&["no-stop-tones"], 1)), 0);

    let fulls = |exchange: &Exchange| {
        exchange.callers[0].count(
            |event| matches!(event, CallEvent::Audio(audio) if audio.carrier == Carrier::Full),
        )
    };
    assert_eq!(fulls(&spoken(&[], 70)), 1);
    assert_eq!(fulls(&spoken(&["wrap=mini"], 70)), 1);
    let full = spoken(&["wrap=full"], 70);
    assert_eq!(fulls(&full), 2);
    assert!(full.callers[0].echoes().is_sorted());

    for (fault, at) in [
        ("retry=10", vec![2, 12, 22]),
        ("retry=2", vec![1, 3, 7, 15]),
    ] {
        let mut exchange = faulty(&[fault]);
        exchange.dial("600", |config| config.manners = Manners::ASTERISK);
        exchange.run(millis(17));
        // The challenge is on its way, and meets nobody.
        exchange.vanish(0);
        let began = exchange.now;
        let mut again = vec![];
        for _ in 0..400 {
            let before = exchange.sent.len();
            exchange.run(millis(100));
            let late = exchange.now.duration_since(began).as_secs_f64();
            again.extend((before..exchange.sent.len()).map(|_| late.round()));
        }
        let expected: Vec<f64> = at.into_iter().map(f64::from).collect();
        assert_eq!(again, expected, "{fault}");
    }
}

#[test]
fn one_way_takes_audio_and_sends_none() {
    let mut exchange = spoken(&["one-way"], 2);
    assert!(exchange.callers[0].echoes().is_empty());
    let tone = exchange.dial("601", |_| {});
    exchange.run(seconds(1));
    let audio = |event: &CallEvent| matches!(event, CallEvent::Audio(_));
    assert_eq!(exchange.callers[tone].count(audio), 0);
    let now = exchange.now;
    let caller = &mut exchange.callers[0];
    caller.call.ping(now);
    exchange.run(millis(50));
    let mut reports = exchange.callers[0]
        .events
        .iter()
        .filter_map(|(_, event)| match event {
            CallEvent::Pong { report, .. } => *report,
            _ => None,
        });
    // What the far end received is no secret.
    assert!(reports.next_back().unwrap().packets > 100);
    let now = exchange.now;
    exchange.callers[0].call.hang_up(Reason::code(16), now);
    assert_eq!(exchange.run_to_end(0), hung_up(Side::Us, 16));
}

#[test]
fn a_deaf_trunk_hears_the_first_packet_alone() {
    for (fault, echoes) in [(&[][..], 100), (&["deaf-trunk"][..], 1)] {
        let mut exchange = faulty(fault);
        exchange.trunk = Some(TrunkSender::new(MTU, false, exchange.now));
        exchange.dial("600", |_| {});
        exchange.callers[0].call.set_trunked(true);
        exchange.run(millis(100));
        exchange.speak(0);
        exchange.run(seconds(2));
        assert_eq!(exchange.callers[0].echoes().len(), echoes);
    }
}

#[test]
fn every_fault_leaves_nothing_behind() {
    for (name, _) in FAULTS {
        let name = name.replace('N', "3");
        let mut exchange = spoken(&[&name], 1);
        let now = exchange.now;
        exchange.callers[0].call.hang_up(Reason::code(16), now);
        exchange.run_to_end(0);
        exchange.run(seconds(60));
        assert_eq!(exchange.lines(), 0, "{name}");
    }
}
