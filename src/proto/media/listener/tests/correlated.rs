//! Echoes that are not what was sent octet by octet, and what must not be taken for one.

use super::*;
use crate::proto::media::tone::Milliwatt;

/// Our signal as one stream of samples, `late` samples late, through the octets of `law` and a gain.
fn stream(law: Law, gain: f64, late: usize, blocks: u64) -> Vec<i16> {
    let mut samples = vec![0; late];
    for number in 0..blocks {
        for octet in sent_in(Law::Mu, number) {
            #[allow(clippy::cast_possible_truncation)] // the gains are below one
            let sample = (f64::from(Law::Mu.decode(octet)) * gain) as i16;
            samples.push(law.decode(law.encode(sample)));
        }
    }
    samples
}

#[test]
fn an_echo_through_a_law_is_found() {
    for (law, gain) in [
        (Law::A, 1.0),
        (Law::A, 0.5),
        (Law::Mu, 0.5),
        (Law::Mu, -0.7),
    ] {
        for delay in [1, 10, 149] {
            let echo = stream(law, gain, 0, 500);
            let mut call = Call::new();
            call.run(500, delay, law, |number| {
                let from = usize::try_from(number).unwrap() * BLOCK;
                Some(octets(law, &echo[from..from + BLOCK]))
            });
            let AudioEvidence {
                inbound, returned, ..
            } = call.listener.evidence();
            let heard = 500 - delay;
            assert_eq!(
                returned.correlated + returned.exact,
                heard,
                "{law:?} {gain} {delay}"
            );
            assert_eq!(
                (returned.blocks, inbound.foreign),
                (heard, 0),
                "{law:?} {gain} {delay}"
            );
            assert_eq!((returned.missing, returned.before_first), (0, 0));
            let round_trip = returned.round_trip.unwrap();
            assert_eq!(round_trip.min, millis(20 * delay + 7));
            assert_eq!(round_trip.max, millis(20 * delay + 7));
        }
    }
}

#[test]
fn an_echo_cut_elsewhere_is_found() {
    for (late, size) in [(37, 160), (123, 160), (80, 240), (5, 80), (61, 320)] {
        let echo = stream(Law::A, 0.5, late, 500);
        let mut call = Call::new();
        let mut from = 0;
        for number in 0..500 {
            call.send(number);
            // What has reached the far end 100 ms ago.
            while from + size + 5 * BLOCK <= (usize::try_from(number).unwrap() + 1) * BLOCK {
                let payload = octets(Law::A, &echo[from..from + size]);
                call.hear(&payload, Law::A, from as u64 / 8, millis(20 * number));
                from += size;
            }
        }
        let AudioEvidence {
            inbound, returned, ..
        } = call.listener.evidence();
        let heard = (from / BLOCK) as u64;
        assert!(returned.blocks + 7 >= heard, "{late} {size}: {returned:?}");
        assert!(inbound.foreign <= 12, "{late} {size}: {inbound:?}");
        assert_eq!(
            (returned.duplicated, returned.missing),
            (0, 0),
            "{late} {size}"
        );
        assert_eq!(returned.lost_outbound, 0, "{late} {size}");
        assert_eq!((inbound.lost, inbound.clock_jumps), (0, 0));
        let shortest = returned.round_trip.unwrap().min;
        let least = Duration::from_micros(100_000 + 125 * late as u64);
        assert!(
            shortest + millis(20) >= least,
            "{late} {size}: {shortest:?}"
        );
        assert!(
            shortest <= least + millis(50),
            "{late} {size}: {shortest:?}"
        );
    }
}

#[test]
fn a_transcoded_echo_is_followed_through_loss_both_ways() {
    let echo = stream(Law::A, 0.5, 0, 2000);
    let mut call = Call::new();
    let mut stamp = 0;
    let mut lost_back = 0;
    for number in 0..2000_u64 {
        call.send(number);
        if number % 23 == 5 {
            continue; // on the way out
        }
        stamp += 20;
        if number % 31 == 7 {
            lost_back += 1;
            continue;
        }
        let from = usize::try_from(number).unwrap() * BLOCK;
        let payload = octets(Law::A, &echo[from..from + BLOCK]);
        call.hear(&payload, Law::A, stamp, millis(20 * number + 90));
    }
    let AudioEvidence {
        inbound, returned, ..
    } = call.listener.evidence();
    assert_eq!(inbound.foreign, 0);
    assert_eq!(inbound.lost, lost_back);
    let lost_out = (0..2000).filter(|number| number % 23 == 5).count() as u64;
    assert_eq!(returned.missing, lost_out + lost_back);
    assert_eq!(returned.lost_outbound, lost_out);
}

#[test]
fn the_echo_is_found_after_an_announcement() {
    let mut call = Call::new();
    call.run(1500, 10, Law::A, |number| {
        let samples: Vec<_> = if number < 700 {
            TestSignal::new(4).block(number).to_vec()
        } else {
            SIGNAL
                .block(number)
                .iter()
                .map(|sample| sample / 2)
                .collect()
        };
        Some(octets(Law::A, &samples))
    });
    let AudioEvidence {
        inbound, returned, ..
    } = call.listener.evidence();
    // The search waits 1.6 s at most.
    assert!((700..=781).contains(&inbound.foreign), "{inbound:?}");
    assert!(returned.blocks >= 790 - 81, "{returned:?}");
    assert_eq!((returned.missing, returned.duplicated), (0, 0));
    assert!(returned.before_first >= 700);
}

#[test]
fn nothing_else_is_taken_for_an_echo() {
    let tone = || {
        let mut tone = Milliwatt::new();
        (0..2000)
            .map(|_| octets(Law::Mu, &tone.next_block()))
            .collect::<Vec<_>>()
    };
    let many = |make: &dyn Fn(u64) -> Vec<u8>| (0..2000).map(make).collect::<Vec<_>>();
    let silence = many(&|_| vec![Law::Mu.silence(); BLOCK]);
    let cases = [
        ("a tone", tone()),
        ("noise", many(&noise)),
        (
            "blocks of long ago",
            many(&|number| {
                // Never sent in this call: it ends before them.
                sent_in(Law::Mu, number + 1_000_000)
            }),
        ),
        (
            "hum",
            many(&|number| {
                let wave = |at: u64| {
                    if ((number * 160 + at) / 80).is_multiple_of(2) {
                        900
                    } else {
                        -900
                    }
                };
                octets(
                    Law::Mu,
                    &std::array::from_fn::<i16, BLOCK, _>(|at| wave(at as u64)),
                )
            }),
        ),
        ("a constant", many(&|_| octets(Law::Mu, &[400; BLOCK]))),
        (
            "a click now and then",
            many(&|number| {
                let mut samples = [0; BLOCK];
                samples[usize::try_from(number % 160).unwrap()] = 12_000;
                octets(Law::Mu, &samples)
            }),
        ),
        ("silence", silence),
    ];
    for (name, packets) in cases {
        let mut call = Call::new();
        call.run(2000, 5, Law::Mu, |number| {
            packets.get(usize::try_from(number).unwrap()).cloned()
        });
        let AudioEvidence {
            inbound, returned, ..
        } = call.listener.evidence();
        assert_eq!(returned.blocks, 0, "{name}");
        assert_eq!(returned.exact + returned.correlated, 0, "{name}");
        assert_eq!(returned.round_trip, None, "{name}");
        assert_eq!(returned.before_first + returned.in_flight, 2000, "{name}");
        let silent = if name == "silence" { 1995 } else { 0 };
        assert_eq!(
            (inbound.silent, inbound.foreign),
            (silent, 1995 - silent),
            "{name}"
        );
    }
}

#[test]
fn unrelated_noise_is_never_taken_for_an_echo_whatever_its_seed() {
    for seed in 100..125 {
        let other = TestSignal::new(seed);
        for size in [BLOCK, BLOCK / 2] {
            let mut call = Call::new();
            call.run(300, 5, Law::Mu, |number| {
                Some(octets(Law::Mu, &other.block(number)[..size]))
            });
            assert_eq!(call.listener.evidence().returned.correlated, 0, "{seed}");
        }
    }
}
