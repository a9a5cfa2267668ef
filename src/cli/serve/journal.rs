//! What `serve` logs: one line for what concerns an account, one sum for what anybody can make happen as
//! often as he likes.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use iax2_natcheck::{
    net::{clock, sockets::Sockets},
    probe::{provider::Provider, reflector::ReflectorCounts},
    proto::{
        call::{Ending, Side},
        door::Refusal,
        endpoint::{EndpointCounts, EndpointEvent},
        registrar::{Registrar, RegistrarCounts, RegistrarEvent},
        switchboard::{Leg, Switchboard, SwitchboardCounts, SwitchboardEvent},
    },
};

/// How often is summed up.
pub(super) const PERIOD: Duration = Duration::from_secs(10);

/// What happened since the last summary.
#[derive(Default)]
pub(super) struct Period {
    refusals: BTreeMap<Refusal, u64>,
    before: Counts,
}

/// What a provider counts.
#[derive(Clone, Copy, Default)]
struct Counts {
    endpoint: EndpointCounts,
    reflector: ReflectorCounts,
    registrar: RegistrarCounts,
    switchboard: SwitchboardCounts,
}

impl Counts {
    fn of(provider: &Provider) -> Self {
        let (endpoint, reflector) = provider.counts();
        let registrar = provider.endpoint().registrar().map(Registrar::counts);
        let switchboard = provider.endpoint().switchboard().map(Switchboard::counts);
        Self {
            endpoint,
            reflector,
            registrar: registrar.unwrap_or_default(),
            switchboard: switchboard.unwrap_or_default(),
        }
    }

    /// Requests over a rate limit.
    const fn limited(&self) -> u64 {
        self.registrar.limited + self.switchboard.limited + self.endpoint.limited
    }
}

impl Period {
    /// Logs what happened.
    pub(super) fn log(&mut self, event: &EndpointEvent) {
        match event {
            EndpointEvent::Registrar(event) => self.log_registrar(event),
            EndpointEvent::Switchboard(event) => self.log_switchboard(event),
        }
    }

    fn log_registrar(&mut self, event: &RegistrarEvent) {
        match event {
            RegistrarEvent::Registered {
                user,
                peer,
                moved: true,
            } => {
                tracing::info!("{user} registered at {peer}");
            }
            RegistrarEvent::Registered {
                user,
                peer,
                moved: false,
            } => {
                tracing::debug!("{user} registered again at {peer}");
            }
            RegistrarEvent::Released { user } => tracing::info!("{user} gave its registration up"),
            RegistrarEvent::Expired { user } => {
                tracing::info!("the registration of {user} expired");
            }
            RegistrarEvent::Refused { user, peer, why } => {
                tracing::debug!("refused {user} at {peer}: {why}");
                *self.refusals.entry(*why).or_default() += 1;
            }
            RegistrarEvent::Reachable { user, round_trip } => {
                tracing::debug!("{user} answers after {} ms", round_trip.as_millis());
            }
            RegistrarEvent::Unreachable { user } => tracing::info!("{user} does not answer"),
        }
    }

    fn log_switchboard(&mut self, event: &SwitchboardEvent) {
        match event {
            SwitchboardEvent::Refused { user, peer, why } => {
                tracing::debug!("refused a call of {user} at {peer}: {why}");
                *self.refusals.entry(*why).or_default() += 1;
            }
            SwitchboardEvent::Accepted {
                leg,
                format,
                encrypted,
            } => {
                let encrypted = if *encrypted { ", encrypted" } else { "" };
                tracing::info!("{}: accepted, {format}{encrypted}", named(leg));
            }
            SwitchboardEvent::Ringing(leg) => tracing::info!("{}: ringing", named(leg)),
            SwitchboardEvent::Ended {
                leg,
                ending,
                lasted,
                received,
                ..
            } => {
                let lasted = lasted.map_or_else(String::new, |lasted| {
                    format!(" after {:.1} s", lasted.as_secs_f64())
                });
                let received = received.map_or_else(String::new, |received| {
                    format!(
                        "; {} packets received, {} lost, jitter {} ms",
                        received.packets, received.lost, received.jitter_ms
                    )
                });
                let how = how(ending);
                tracing::info!("{}: {how}{lasted}{received}", named(leg));
            }
        }
    }

    /// A line for registrations and calls and one for the reflector, where there is something to say; the
    /// next period begins.
    pub(super) fn sum_up(&mut self, provider: &Provider) -> Vec<String> {
        let counts = Counts::of(provider);
        let before = std::mem::replace(&mut self.before, counts);
        let refusals = std::mem::take(&mut self.refusals);
        let (registrar, switchboard) = (&counts.registrar, &counts.switchboard);
        let requests: Vec<String> = refusals
            .iter()
            .map(|(why, count)| (*count, format!("refused: {why}")))
            .chain(
                [
                    (
                        (registrar.odd + switchboard.odd)
                            - (before.registrar.odd + before.switchboard.odd),
                        "dropped: numbers that no first request has",
                    ),
                    (
                        (registrar.unproven + switchboard.unproven)
                            - (before.registrar.unproven + before.switchboard.unproven),
                        "challenged without a call token",
                    ),
                    (
                        switchboard.abandoned - before.switchboard.abandoned,
                        "calls given up before their caller was known",
                    ),
                    (
                        switchboard.entries_dropped - before.switchboard.entries_dropped,
                        "entries of trunk frames dropped",
                    ),
                    (
                        counts.limited() - before.limited(),
                        "not answered, over a rate limit",
                    ),
                ]
                .map(|(count, what)| (count, what.to_owned())),
            )
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        let (reflector, reflector_before) = (counts.reflector, before.reflector);
        let asked = [
            (reflector.clients - reflector_before.clients, "new clients"),
            (reflector.hellos - reflector_before.hellos, "greetings"),
            (reflector.asks - reflector_before.asks, "probes"),
            (reflector.refused - reflector_before.refused, "refused"),
            (
                reflector.limited - reflector_before.limited,
                "over a rate limit",
            ),
        ];
        let is_idle = asked.iter().all(|(count, _)| *count == 0);
        let asked = asked.map(|(count, what)| format!("{count} {what}"));
        let seconds = PERIOD.as_secs();
        let requests = (!requests.is_empty())
            .then(|| format!("requests in the last {seconds} s: {}", requests.join(", ")));
        let probes =
            (!is_idle).then(|| format!("reflector in the last {seconds} s: {}", asked.join(", ")));
        requests.into_iter().chain(probes).collect()
    }
}

/// Logs what was done in all.
pub(super) fn farewell(provider: &Provider, sockets: &Sockets, began: Instant) {
    let counts = Counts::of(provider);
    let (endpoint, reflector) = (counts.endpoint, counts.reflector);
    tracing::info!(
        "stopped after {} s: {} datagrams, {} calls, {} POKEs, {} probes, {} refused, {} over a rate limit, \
         {} malformed, {} answers that could not be sent",
        clock::now().saturating_duration_since(began).as_secs(),
        endpoint.datagrams + reflector.hellos + reflector.asks,
        counts.switchboard.accepted,
        endpoint.pokes,
        reflector.asks,
        reflector.refused,
        endpoint.limited + reflector.limited,
        endpoint.malformed,
        sockets.dropped(),
    );
}

/// `alice at 192.0.2.1:4569 to 600`, or `to alice at 192.0.2.1:4569` for what was rung.
fn named(leg: &Leg) -> String {
    let Leg {
        user, peer, number, ..
    } = leg;
    if leg.rung {
        format!("to {user} at {peer}")
    } else {
        format!("{user} at {peer} to {number}")
    }
}

fn how(ending: &Ending) -> String {
    match ending {
        Ending::HungUp {
            by: Side::Peer,
            cause,
            ..
        } => format!("the peer hung up, {cause}"),
        Ending::HungUp {
            cause,
            acknowledged,
            ..
        } => {
            let unheard = if *acknowledged { "" } else { ", unheard" };
            format!("hung up{unheard}, {cause}")
        }
        Ending::Rejected {
            by: Side::Peer,
            cause,
        } => format!("the peer rejected it, {cause}"),
        Ending::Rejected { cause, .. } => format!("rejected, {cause}"),
        Ending::TokenRefused { had_token: true } => "the peer refused its own token".to_owned(),
        Ending::TokenRefused { had_token: false } => {
            "the peer refused it without a cause".to_owned()
        }
        Ending::AuthUnsupported { reason, .. } => format!("not authenticated: {reason}"),
        Ending::NotEncrypted => "the peer does not encrypt".to_owned(),
        Ending::NoFormat(format) => format!("the peer chose the format {format}"),
        Ending::Invalidated { .. } => "INVAL, one end has no such call".to_owned(),
        Ending::Unanswered { frame, .. } => format!("the peer does not acknowledge {frame}"),
        Ending::Stalled => "the peer did not go on".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use iax2_natcheck::{
        probe::provider::ProviderConfig,
        proto::{
            endpoint::{EndpointConfig, Profile},
            token::{TokenKey, Tokens, WallClock},
        },
        types::PeerAddr,
    };

    use super::*;

    #[test]
    fn a_period_is_summed_up_once() {
        let now = clock::now();
        let clock = WallClock {
            at: now,
            says: SystemTime::UNIX_EPOCH,
        };
        let config = ProviderConfig {
            endpoint: EndpointConfig {
                registrar: None,
                switchboard: None,
                profile: Profile::Asterisk,
                seed: [1; 32],
            },
            tokens: Tokens::for_probes(TokenKey::new([1; 16]), clock),
            sockets: BTreeMap::new(),
            seed: [2; 32],
        };
        let provider = Provider::new(config, now);
        let mut period = Period::default();
        assert_eq!(period.sum_up(&provider), [""; 0], "nothing happened");
        for _ in 0..500 {
            let (user, why) = ("mallory".to_owned(), Refusal::Credentials);
            let peer = PeerAddr::new(([192, 0, 2, 1], 4569).into());
            period.log(&EndpointEvent::Registrar(RegistrarEvent::Refused {
                user: user.clone(),
                peer,
                why,
            }));
            let call = SwitchboardEvent::Refused { user, peer, why };
            period.log(&EndpointEvent::Switchboard(call));
        }
        assert_eq!(
            period.sum_up(&provider),
            ["requests in the last 10 s: 1000 refused: wrong secret, or no such account"]
        );
        assert_eq!(period.sum_up(&provider), [""; 0], "that was before");
    }
}
