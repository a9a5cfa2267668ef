//! Streams whole and broken; what is recognised only by correlation has a file of its own.

mod correlated;

use std::time::{Duration, Instant};

use super::*;

const SIGNAL: TestSignal = TestSignal::new(0x5eed);

/// A call whose time is counted: packet `n` of either side belongs to 20 ms times `n`.
struct Call {
    listener: Listener,
    start: Instant,
}

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn octets(law: Law, samples: &[i16]) -> Vec<u8> {
    let mut octets = Vec::new();
    law.encode_block(samples, &mut octets);
    octets
}

fn sent_in(law: Law, number: u64) -> Vec<u8> {
    octets(law, &SIGNAL.block(number))
}

/// Noise of the same band and level that is not ours.
fn noise(number: u64) -> Vec<u8> {
    octets(Law::Mu, &TestSignal::new(99).block(number))
}

impl Call {
    fn new() -> Self {
        Self {
            listener: Listener::new(SIGNAL),
            start: Instant::now(),
        }
    }

    fn send(&mut self, number: u64) {
        let at = self.start + millis(20 * number);
        self.listener
            .note_sent(number, &sent_in(Law::Mu, number), at);
    }

    fn hear(&mut self, payload: &[u8], law: Law, timestamp: u64, at: Duration) -> Carries {
        let timestamp = Timestamp::from_millis(u32::try_from(timestamp).unwrap());
        self.listener
            .handle_audio(payload, Some(law), timestamp, self.start + at)
    }

    /// Sends blocks up to `count`, and hears 20 ms of `echo` for each from `delay` blocks on.
    fn run(&mut self, count: u64, delay: u64, law: Law, echo: impl Fn(u64) -> Option<Vec<u8>>) {
        for number in 0..count {
            self.send(number);
            if let Some(back) = number.checked_sub(delay)
                && let Some(payload) = echo(back)
            {
                self.hear(&payload, law, 20 * back + 40, millis(20 * number + 7));
            }
        }
    }
}

#[test]
fn a_clean_echo_is_recognised_octet_by_octet() {
    let mut call = Call::new();
    call.run(500, 5, Law::Mu, |number| Some(sent_in(Law::Mu, number)));
    let evidence = call.listener.evidence();
    assert_eq!(evidence.sent, 500);
    let round_trip = evidence.returned.round_trip.unwrap();
    assert_eq!(round_trip.min, millis(107));
    assert_eq!(round_trip.max, millis(107));
    assert!(round_trip.median.abs_diff(millis(107)) < millis(4));
    assert_eq!(
        evidence.returned,
        Returned {
            blocks: 495,
            exact: 495,
            in_flight: 5,
            round_trip: Some(round_trip),
            ..Returned::default()
        }
    );
    assert_eq!(
        evidence.inbound,
        Inbound {
            packets: 495,
            jitter: Some(Duration::ZERO),
            worst_jitter: Some(Duration::ZERO),
            ..Inbound::default()
        }
    );
    let variation = evidence.variation.unwrap();
    assert_eq!((variation.packets, variation.max), (495, Duration::ZERO));
    assert_eq!(call.listener.report().packets, 495);
    assert_eq!(call.listener.report().loss_percent, 0);
}

#[test]
fn what_waited_at_its_sender_is_not_lost_on_any_way() {
    for (name, audio) in [
        (
            "ours",
            (|number| sent_in(Law::Mu, number)) as fn(u64) -> Vec<u8>,
        ),
        ("a tone", noise),
    ] {
        let mut call = Call::new();
        // 40 packets wait, and leave at once with one timestamp, of 40 that the clock passed over.
        call.run(200, 5, Law::Mu, |number| {
            (!(100..140).contains(&number)).then(|| audio(number))
        });
        for number in 200..240 {
            call.send(number);
            let (back, at) = (number - 100, millis(20 * 199 + 7));
            let timestamp = Timestamp::from_millis(20 * 194 + 40);
            call.listener
                .handle_queued(&audio(back), Some(Law::Mu), timestamp, call.start + at);
        }
        let AudioEvidence {
            inbound, returned, ..
        } = call.listener.evidence();
        assert_eq!((inbound.lost, inbound.packets), (0, 195), "{name}");
        assert_eq!((inbound.duplicated, inbound.reordered), (0, 0), "{name}");
        assert_eq!(returned.lost_outbound, 0, "{name}");
    }
}

#[test]
fn loss_on_the_way_back_is_a_hole_in_the_timestamps() {
    let mut call = Call::new();
    call.run(400, 5, Law::Mu, |number| {
        let lost = number % 50 == 20 || (100..104).contains(&number);
        (!lost).then(|| sent_in(Law::Mu, number))
    });
    let AudioEvidence {
        inbound, returned, ..
    } = call.listener.evidence();
    assert_eq!((inbound.lost, inbound.gaps), (8 + 4, 9));
    assert_eq!(inbound.longest_gap, millis(80));
    assert_eq!((returned.missing, returned.lost_outbound), (12, 0));
    assert_eq!(returned.blocks, 395 - 12);
    let runs = returned.missing_runs;
    assert_eq!(
        runs[2],
        Run {
            first: 100,
            count: 4
        }
    );
    assert_eq!(runs.len(), 9);
    assert_eq!((inbound.clock_jumps, inbound.pauses), (0, 0));
    assert_eq!(call.listener.report().loss_percent, 3);
}

#[test]
fn loss_on_the_way_out_leaves_the_timestamps_whole() {
    // The echo numbers what it sends, not what it should have got.
    let mut call = Call::new();
    let mut stamp = 0;
    for number in 0..1000 {
        call.send(number);
        if number % 20 != 3 {
            stamp += 20;
            call.hear(
                &sent_in(Law::Mu, number),
                Law::Mu,
                stamp,
                millis(20 * number + 50),
            );
        }
    }
    let evidence = call.listener.evidence();
    assert_eq!((evidence.inbound.lost, evidence.inbound.gaps), (0, 0));
    assert_eq!(evidence.returned.missing, 50);
    assert_eq!(evidence.returned.lost_outbound, 50);
    // Its clock falls behind ours; that makes the packets no later.
    assert_eq!(evidence.variation.unwrap().max, Duration::ZERO);
    assert_eq!(evidence.inbound.worst_jitter, Some(Duration::ZERO));
}

#[test]
fn an_echo_that_sets_its_clock_after_an_outage_lost_nothing_on_the_way_back() {
    // Ten blocks do not reach the far end, which then takes the time anew, as Asterisk does.
    let mut call = Call::new();
    for number in (0..100).chain(110..200) {
        call.send(number);
        call.hear(
            &sent_in(Law::Mu, number),
            Law::Mu,
            20 * number,
            millis(20 * number + 50),
        );
    }
    // The blocks were sent all the same: here they were not, so nothing is missing.
    let evidence = call.listener.evidence();
    assert_eq!(evidence.returned.missing, 0);

    let mut call = Call::new();
    let mut stamp = 0;
    for number in 0..200 {
        call.send(number);
        if (50..59).contains(&number) {
            continue; // lost on the way out; the clock stands still
        }
        // With the next loss of a single block the clock jumps over all ten.
        stamp += if number == 100 { 20 * 10 } else { 20 };
        if number == 99 {
            stamp -= 20;
            continue;
        }
        let at = millis(20 * number + 50);
        call.hear(&sent_in(Law::Mu, number), Law::Mu, stamp, at);
    }
    let evidence = call.listener.evidence();
    assert_eq!(
        (evidence.inbound.lost, evidence.inbound.clock_jumps),
        (0, 1)
    );
    assert_eq!(
        (evidence.returned.missing, evidence.returned.lost_outbound),
        (10, 10)
    );
    assert_eq!(evidence.variation.unwrap().max, Duration::ZERO);
}

#[test]
fn an_echo_that_stalls_and_shakes_up_its_queue_lost_nothing() {
    // Twelve blocks wait for 220 ms at a far end that then sets its clock by the time, and sends one of the
    // last first.
    let mut call = Call::new();
    let order = (0..100).chain([111]).chain(100..111).chain(112..200);
    for (turn, number) in order.enumerate() {
        let turn = turn as u64;
        if turn <= 100 {
            call.send(turn);
        }
        for waiting in if turn == 100 { 101..112 } else { 0..0 } {
            call.send(waiting);
        }
        if turn > 111 {
            call.send(turn);
        }
        let stamp = 20 * turn + if turn < 100 { 0 } else { 220 };
        let at = millis(20 * turn.max(111) + 50);
        call.hear(&sent_in(Law::Mu, number), Law::Mu, stamp, at);
    }
    let AudioEvidence {
        inbound, returned, ..
    } = call.listener.evidence();
    assert_eq!((inbound.lost, inbound.gaps, inbound.clock_jumps), (0, 0, 1));
    assert_eq!((returned.missing, returned.lost_outbound), (0, 0));
}

#[test]
fn order_and_repetition_are_counted_once() {
    let mut call = Call::new();
    for number in 0..100 {
        call.send(number);
    }
    let echo = |call: &mut Call, number: u64, at: u64| {
        call.hear(&sent_in(Law::Mu, number), Law::Mu, 20 * number, millis(at));
    };
    for number in (0..40).chain([42, 40, 41, 43, 43]).chain(44..60).chain([3]) {
        echo(&mut call, number, 2000 + 20 * number);
    }
    let AudioEvidence {
        inbound, returned, ..
    } = call.listener.evidence();
    assert_eq!(inbound.packets, 62);
    assert_eq!(
        (inbound.reordered, inbound.duplicated, inbound.lost),
        (2, 2, 0)
    );
    assert_eq!((returned.out_of_order, returned.duplicated), (2, 2));
    assert_eq!((returned.blocks, returned.lost_outbound), (60, 0));
}

#[test]
fn an_echo_overtaken_on_the_way_out_is_not_lost() {
    let mut call = Call::new();
    for (stamp, number) in (0..30).chain([31, 30]).chain(32..60).enumerate() {
        call.send(stamp as u64);
        let at = millis(20 * stamp as u64 + 60);
        if stamp == 30 {
            call.send(31);
        }
        call.hear(&sent_in(Law::Mu, number), Law::Mu, 20 * stamp as u64, at);
    }
    let AudioEvidence {
        inbound, returned, ..
    } = call.listener.evidence();
    assert_eq!((inbound.reordered, inbound.lost), (0, 0));
    assert_eq!((returned.out_of_order, returned.missing), (1, 0));
    assert_eq!(returned.lost_outbound, 0);
}

#[test]
fn overtaking_on_the_way_out_again_and_again_adds_up_to_no_lateness() {
    let mut call = Call::new();
    // Of every ten blocks the sixth comes after the eighth.
    let order = (0..300).flat_map(|tens| [0, 1, 2, 3, 4, 6, 7, 5, 8, 9].map(|one| 10 * tens + one));
    for (stamp, number) in order.enumerate() {
        let stamp = stamp as u64;
        if stamp == 0 {
            call.send(0);
            call.send(1);
        }
        call.send(stamp + 2);
        let at = millis(20 * stamp + 60);
        call.hear(&sent_in(Law::Mu, number), Law::Mu, 20 * stamp, at);
    }
    let evidence = call.listener.evidence();
    assert_eq!(evidence.returned.out_of_order, 300);
    let variation = evidence.variation.unwrap();
    assert!(variation.max < millis(80), "{variation:?}");
}

#[test]
fn blocks_that_left_in_one_go_have_no_order() {
    let mut call = Call::new();
    for number in 0..40 {
        // Two at a time, every 40 ms.
        let at = call.start + millis(20 * (number / 2 * 2));
        call.listener
            .note_sent(number, &sent_in(Law::Mu, number), at);
    }
    for (stamp, number) in (0..40).map(|number: u64| number ^ 1).enumerate() {
        let stamp = stamp as u64;
        let at = millis(20 * stamp + 900);
        call.hear(&sent_in(Law::Mu, number), Law::Mu, 20 * stamp, at);
    }
    let returned = call.listener.evidence().returned;
    assert_eq!((returned.blocks, returned.out_of_order), (40, 0));
}

#[test]
fn silence_that_was_announced_is_no_loss() {
    let mut call = Call::new();
    for number in (0..50).chain(100..150) {
        if number == 100 {
            call.listener.note_pause();
        }
        call.hear(&noise(number), Law::Mu, 20 * number, millis(20 * number));
    }
    // A hole that is no whole number of packets, and one that spans more time than has passed.
    call.hear(&noise(0), Law::Mu, 20 * 150 + 30, millis(20 * 152));
    call.hear(&noise(1), Law::Mu, 20 * 150 + 50 + 4000, millis(20 * 153));
    // The sender begins anew.
    call.hear(&noise(2), Law::Mu, 0, millis(20 * 154));
    call.hear(&noise(3), Law::Mu, 20, millis(20 * 155));
    let inbound = call.listener.evidence().inbound;
    assert_eq!((inbound.pauses, inbound.clock_jumps), (1, 3));
    assert_eq!(
        (inbound.lost, inbound.reordered, inbound.foreign),
        (0, 0, 104)
    );
}

#[test]
fn jitter_is_that_of_the_rfc() {
    // Packets alternate between 0 and 16 ms late: each differs from the last by 16 ms.
    let mut call = Call::new();
    for number in 0..400 {
        let late = 16 * (number % 2);
        call.hear(
            &noise(number),
            Law::Mu,
            20 * number,
            millis(20 * number + late),
        );
    }
    let evidence = call.listener.evidence();
    let jitter = evidence.inbound.jitter.unwrap();
    assert!(
        jitter.abs_diff(millis(16)) < Duration::from_micros(10),
        "{jitter:?}"
    );
    // J(1) = 16/16 ms.
    let mut two = Call::new();
    two.hear(&noise(0), Law::Mu, 0, millis(0));
    two.hear(&noise(1), Law::Mu, 20, millis(36));
    assert_eq!(two.listener.evidence().inbound.jitter, Some(millis(1)));
    let variation = evidence.variation.unwrap();
    assert_eq!(variation.max, millis(16));
    assert_eq!((variation.p3, variation.p97), (Duration::ZERO, millis(16)));
}

#[test]
fn clocks_that_drift_apart_are_no_lateness() {
    // 200 parts in a million, for an hour: 0.7 s in all, 2 ms in the ten seconds that count.
    let mut call = Call::new();
    for number in 0..180_000_u64 {
        let at = Duration::from_micros(20_004 * number);
        call.hear(&[0xff; 160], Law::Mu, 20 * number, at);
    }
    let variation = call.listener.evidence().variation.unwrap();
    assert!(variation.max < Duration::from_micros(2100), "{variation:?}");
    assert_eq!(variation.packets, 180_000);
}

#[test]
fn other_codecs_are_recognised_octet_by_octet() {
    let mut call = Call::new();
    let frame = |number: u64| {
        let mut frame = [0_u8; 33];
        frame[1..9].copy_from_slice(&number.to_be_bytes());
        frame
    };
    for number in 0..200 {
        let at = call.start + millis(20 * number);
        call.listener.note_sent(number, &frame(number), at);
        if let Some(back) = number.checked_sub(3).filter(|back| back % 10 != 0) {
            let timestamp = Timestamp::from_millis(u32::try_from(20 * back).unwrap());
            call.listener
                .handle_audio(&frame(back), None, timestamp, at);
        }
    }
    let AudioEvidence {
        inbound, returned, ..
    } = call.listener.evidence();
    assert_eq!(
        (returned.exact, returned.missing, inbound.lost),
        (177, 19, 19)
    );
    assert_eq!(returned.round_trip.unwrap().max, millis(60));
    let foreign = call
        .listener
        .handle_audio(&[9; 33], None, Timestamp::ZERO, call.start);
    assert_eq!(foreign, Carries::Foreign);
}

#[test]
fn garbage_neither_panics_nor_grows() {
    let mut call = Call::new();
    for number in 0..3000_u64 {
        call.listener.note_sent(
            number.wrapping_mul(0x0123_4567_89ab) % 5000,
            &noise(number)[..usize::try_from(number % 161).unwrap()],
            call.start,
        );
        let timestamp = number.wrapping_mul(0x9e37_79b9) & 0xffff_ffff;
        let payload = vec![(number % 251) as u8; usize::try_from(number * 7 % 500).unwrap()];
        call.hear(&payload, Law::A, timestamp, millis(number % 100));
        call.hear(&noise(number), Law::Mu, 0xffff_ffff - timestamp, millis(0));
    }
    call.listener.note_sent(u64::MAX - 1, &noise(0), call.start);
    call.hear(&noise(1), Law::Mu, 0, millis(3));
    let evidence = call.listener.evidence();
    assert_eq!(evidence.inbound.packets, 6001);
    assert!(evidence.returned.missing_runs.len() <= 64);
}
