//! What to do about a NAT that forgets or that is inconsistent: in general, and on the box in front of
//! the PBX where that is known.

use std::time::Duration;

use crate::{
    check::{
        Context,
        devices::{self, Device},
        lifetime,
    },
    probe::evidence::{Evidence, LifetimeEvidence},
};

/// How much longer than the cycle a NAT should remember: the client may be late, its first request
/// lost, and the next comes after ten seconds.
const MARGIN: Duration = Duration::from_secs(15);

/// The NAT's timer that outlasts the interval between two registrations: the interval and 15 s,
/// rounded up to five seconds.
pub(super) fn timer_for(interval: Duration) -> Duration {
    Duration::from_secs((interval + MARGIN).as_secs().div_ceil(5) * 5)
}

/// The remedies of a timer that is too short, with the numbers of this measurement.
///
/// * The NAT's timer, see [`timer_for`].
/// * The period of qualify: half the timer less one second, so that one lost POKE does not let the
///   mapping die.
/// * The refresh: 6/5 of what ends five seconds before the timer, where that leaves 10 s or more.
pub(super) fn remedies(
    dead: Duration,
    interval: Duration,
    evidence: &Evidence,
    context: &Context,
) -> Vec<String> {
    let timer = timer_for(interval);
    let period = (dead / 2)
        .saturating_sub(Duration::from_secs(1))
        .max(Duration::from_secs(1))
        .as_millis();
    let mut remedies = vec![
        raise(timer, evidence, context),
        format!(
            "or keep it open: qualify=yes, qualifyfreqok={period} (in the PBX's iax.conf, in a \
             type=peer entry for the provider)"
        ),
    ];
    let refresh = dead.as_secs().saturating_sub(5) * 6 / 5;
    if refresh >= 10 {
        remedies.push(format!(
            "or ask the provider for a shorter refresh, in its iax.conf: minregexpire={refresh}, \
             maxregexpire={refresh}"
        ));
    }
    if lifetime::cycle(evidence, context).is_none() {
        remedies.push(
            "to judge by the refresh that is really granted: --user NAME --secret-file FILE; or \
             name it: --refresh DURATION"
                .into(),
        );
    }
    remedies
}

/// How the timer of the NAT is raised: on the box that is known, else where the timers measured point,
/// else on Linux.
fn raise(timer: Duration, evidence: &Evidence, context: &Context) -> String {
    let seconds = timer.as_secs();
    if let Some(known) = devices::known(evidence, context) {
        return known.device.raise(timer).unwrap_or_else(|| {
            format!(
                "no setting of the UDP timeout is known on {}; where its manual has one, raise it \
                 to {seconds} s or more",
                known.device
            )
        });
    }
    let on_linux = format!("sysctl -w net.netfilter.nf_conntrack_udp_timeout={seconds}");
    let measured = evidence.lifetime.as_ref();
    let alike = measured.map(devices::with_timers).unwrap_or_default();
    let linux = |device: &&Device| device.raise_command(timer).as_ref() == Some(&on_linux);
    match (alike.first(), measured.and_then(words_for)) {
        (Some(first), Some(words)) if !alike.iter().any(linux) => {
            let others = match alike.len() {
                1 => String::new(),
                count => format!(" and {} more", count - 1),
            };
            format!(
                "raise the UDP timeout of the router to {seconds} s or more; its timers are those of \
                 {first}{others}, and where they are set there tells: iax2-natcheck devices {words}"
            )
        }
        _ => format!("raise the UDP timeout to {seconds} s or more: {on_linux}"),
    }
}

/// The words that find the boxes with these timers in the knowledge base.
fn words_for(measured: &LifetimeEvidence) -> Option<String> {
    let first = *devices::with_timers(measured).first()?;
    Some(format!(
        "{}/{}",
        first.udp_timeout_s?, first.udp_stream_timeout_s?
    ))
}

/// The remedies of a NAT that shows several addresses: `general` ones make way for what the known box
/// has to be told, `others` stay.
pub(super) fn consistent(
    evidence: &Evidence,
    context: &Context,
    general: &[&str],
    others: &[&str],
) -> Vec<String> {
    let own = devices::known(evidence, context).and_then(|known| known.device.make_consistent());
    let general = general.iter().map(|step| (*step).to_owned());
    let first: Vec<String> = own.map_or_else(|| general.collect(), |own| vec![own]);
    let others = others.iter().map(|step| (*step).to_owned());
    first.into_iter().chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check::sample::{context, edge, exchange, with_exchange},
        probe::behaviour::Shape,
    };

    fn with_device(words: &str) -> Context {
        Context {
            device: devices::named(words).first().copied(),
            ..context()
        }
    }

    #[test]
    fn the_remedies_follow_the_measurement() {
        // dead, cycle, timer to set, qualifyfreqok, refresh to ask for
        let rows = [
            (30, 50, "65", "14000", Some("30")),
            (60, 150, "165", "29000", Some("66")),
            (10, 50, "65", "4000", None),
            (3, 8, "25", "1000", None),
            (17, 33, "50", "7500", Some("14")),
        ];
        for (dead, cycle, timer, period, refresh) in rows {
            let evidence = with_exchange(dead - 1, dead);
            let (dead, cycle) = (Duration::from_secs(dead), Duration::from_secs(cycle));
            let remedies = remedies(dead, cycle, &evidence, &context());
            assert!(
                remedies[0].ends_with(&format!("udp_timeout={timer}")),
                "{remedies:?}"
            );
            assert!(
                remedies[1].contains(&format!("qualifyfreqok={period} ")),
                "{remedies:?}"
            );
            match refresh {
                Some(refresh) => {
                    assert!(remedies[2].ends_with(&format!("maxregexpire={refresh}")));
                }
                None => assert_eq!(remedies.len(), 2),
            }
        }
    }

    #[test]
    fn a_known_box_is_told_its_own_steps() {
        let evidence = with_exchange(29, 30);
        let first = |words: &str| {
            let (dead, interval) = (Duration::from_secs(30), Duration::from_secs(50));
            remedies(dead, interval, &evidence, &with_device(words)).remove(0)
        };
        let rows = [
            ("sonicwall tz", "65 s or more at Firewall > Advanced"),
            ("routeros v7", "tracking set udp-timeout=65s"),
            ("fritzbox", "no setting of the UDP timeout is known"),
        ];
        for (words, expected) in rows {
            let step = first(words);
            assert!(step.contains(expected), "{step}");
            assert!(!step.contains("sysctl"), "{step}");
        }
    }

    #[test]
    fn timers_that_are_not_those_of_linux_do_not_lead_to_its_settings() {
        let measured = |timers: [u64; 3]| Evidence {
            lifetime: Some(LifetimeEvidence {
                shapes: Shape::ALL
                    .into_iter()
                    .zip(timers.map(|timer| edge(timer - 1, timer)))
                    .collect(),
                ..exchange(edge(1, 2), 300)
            }),
            ..Evidence::default()
        };
        let step = |timers| raise(Duration::from_secs(165), &measured(timers), &context());
        assert!(step([60, 60, 60]).ends_with(": iax2-natcheck devices 60/60"));
        assert!(step([60, 60, 60]).contains("Netgate pfSense CE/Plus and"));
        assert!(step([30, 30, 120]).ends_with("nf_conntrack_udp_timeout=165"));
        assert!(step([7, 7, 11]).ends_with("nf_conntrack_udp_timeout=165"));
    }

    #[test]
    fn an_inconsistent_box_is_told_its_switch() {
        let general = ["on a Linux router: x"];
        let evidence = Evidence::default();
        let told = |context: &Context| consistent(&evidence, context, &general, &["ask"]);
        assert_eq!(told(&context()), ["on a Linux router: x", "ask"]);
        let sonicwall = told(&with_device("sonicwall tz"));
        assert!(
            sonicwall[0].contains("Enable consistent NAT"),
            "{sonicwall:?}"
        );
        assert_eq!(sonicwall.len(), 2);
        assert_eq!(told(&with_device("fritzbox")), told(&context()));
    }
}
