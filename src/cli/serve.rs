//! `serve`: a test provider and reflector.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    ops::ControlFlow,
    path::Path,
    pin::pin,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result, bail};
use iax2_natcheck::{
    config::users,
    net::{
        clock,
        drive::{Ended, drive},
        sockets::Sockets,
        stop::Stopper,
        udp::Ground,
    },
    probe::{
        provider::{Provider, ProviderConfig},
        reflector::ReflectorCounts,
    },
    proto::{
        contract::SocketKey,
        door::Refusal,
        endpoint::{self, EndpointConfig, EndpointCounts},
        registrar::{Registrar, RegistrarConfig, RegistrarCounts, RegistrarEvent},
        reliable::RetryPolicy,
        token::{TokenKey, Tokens, WallClock},
    },
    types::PeerAddr,
};

use crate::cli::{
    args::{Common, ServeArgs, serve::Profile},
    runtime::block_on,
};

/// What anybody can make happen as often as he likes is logged in sum, once in this time.
const PERIOD: Duration = Duration::from_secs(10);

/// Serves until SIGINT, SIGTERM or the time limit.
///
/// # Errors
///
/// Where a file is wrong or an address cannot be listened on.
pub(crate) fn run(args: &ServeArgs, common: &Common) -> Result<u8> {
    let addresses = addresses(args)?;
    let key = token_key(args.token_key_file.as_deref())?;
    let accounts = match &args.users {
        Some(path) => Some(users::read(path)?),
        None => None,
    };
    block_on(async {
        let mut stopper = Stopper::new()?;
        let mut sockets = Sockets::server(Ground::host(), &addresses)?;
        let now = clock::now();
        let clock = WallClock {
            at: now,
            says: SystemTime::now(),
        };
        let registers = accounts.as_ref().map_or(0, Vec::len);
        let config = ProviderConfig {
            endpoint: EndpointConfig {
                registrar: accounts.map(|accounts| RegistrarConfig {
                    accounts,
                    tokens: Tokens::for_calls(key.clone(), clock),
                    clock,
                    retry: match args.profile {
                        Profile::Asterisk => RetryPolicy::ASTERISK,
                        Profile::Rfc => RetryPolicy::RFC,
                    },
                    seed: rand::random(),
                }),
                profile: match args.profile {
                    Profile::Asterisk => endpoint::Profile::Asterisk,
                    Profile::Rfc => endpoint::Profile::Rfc,
                },
                seed: rand::random(),
            },
            tokens: Tokens::for_probes(key, clock),
            sockets: alternates(args, &sockets)?,
            seed: rand::random(),
        };
        let mut provider = Provider::new(config, now);
        for (_, local) in sockets.bound()? {
            tracing::info!("listening on {local}");
        }
        tracing::info!("{registers} accounts, reflector ready");
        let mut stop = pin!(stopper.wait(common.timeout));
        let mut period = Period::default();
        loop {
            let pause = async {
                tokio::select! {
                    _ = &mut stop => true,
                    () = tokio::time::sleep(PERIOD) => false,
                }
            };
            let refusals = &mut period.refusals;
            let on_event = |event, _| {
                log(&event, refusals);
                ControlFlow::<()>::Continue(())
            };
            let ended = drive(&mut provider, &mut sockets, on_event, pause).await?;
            for line in period.sum_up(&provider) {
                tracing::info!("{line}");
            }
            if !matches!(ended, Ended::Stopped(false)) {
                break;
            }
        }
        farewell(&provider, &sockets, now);
        Ok(0)
    })
}

/// What to listen on: with an alternate, the four combinations of RFC 5780 §6 come first.
fn addresses(args: &ServeArgs) -> Result<Vec<SocketAddr>> {
    let Some(alternate) = args.alternate else {
        return Ok(args.bind.clone());
    };
    let Some((first, others)) = args.bind.split_first() else {
        return Ok(Vec::new());
    };
    if first.ip().is_unspecified() || alternate.ip().is_unspecified() {
        bail!(
            "--alternate needs two addresses of this host; give --bind and --alternate one each, not 0.0.0.0"
        );
    }
    if first.is_ipv4() != alternate.is_ipv4() {
        bail!(
            "--bind {first} and --alternate {alternate} are of two families; give both IPv4 or both IPv6"
        );
    }
    if first.ip() == alternate.ip() || first.port() == alternate.port() {
        bail!(
            "--alternate {alternate} shares its address or port with --bind {first}; both must differ"
        );
    }
    let four = [first.ip(), alternate.ip()]
        .into_iter()
        .flat_map(|ip| [first.port(), alternate.port()].map(|port| SocketAddr::new(ip, port)));
    Ok(four.chain(others.iter().copied()).collect())
}

/// The sockets that stand in for each other: the first four, where there is an alternate.
fn alternates(args: &ServeArgs, sockets: &Sockets) -> Result<BTreeMap<SocketKey, PeerAddr>> {
    let count = if args.alternate.is_some() { 4 } else { 0 };
    let bound = sockets.bound()?;
    Ok(bound
        .into_iter()
        .take(count)
        .map(|(key, local)| (key, PeerAddr::new(local.get())))
        .collect())
}

/// The key in a file, or a random one.
fn token_key(path: Option<&Path>) -> Result<TokenKey> {
    let Some(path) = path else {
        return Ok(TokenKey::new(rand::random()));
    };
    let content = fs::read(path).with_context(|| {
        format!(
            "{} cannot be read; make it with `head -c 32 /dev/urandom > {0}` on one host and copy it to the others",
            path.display()
        )
    })?;
    TokenKey::from_file(&content).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))
}

fn log(event: &RegistrarEvent, refusals: &mut BTreeMap<Refusal, u64>) {
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
        RegistrarEvent::Expired { user } => tracing::info!("the registration of {user} expired"),
        RegistrarEvent::Refused { user, peer, why } => {
            tracing::debug!("refused {user} at {peer}: {why}");
            *refusals.entry(*why).or_default() += 1;
        }
        RegistrarEvent::Reachable { user, round_trip } => {
            tracing::debug!("{user} answers after {} ms", round_trip.as_millis());
        }
        RegistrarEvent::Unreachable { user } => tracing::info!("{user} does not answer"),
    }
}

/// What happened since the last summary.
#[derive(Default)]
struct Period {
    refusals: BTreeMap<Refusal, u64>,
    before: (EndpointCounts, ReflectorCounts, RegistrarCounts),
}

impl Period {
    /// A line for the registrar and one for the reflector, where there is something to say; the next
    /// period begins.
    fn sum_up(&mut self, provider: &Provider) -> Vec<String> {
        let (endpoint, reflector) = provider.counts();
        let registrar = provider
            .endpoint()
            .registrar()
            .map(Registrar::counts)
            .unwrap_or_default();
        let refusals = std::mem::take(&mut self.refusals);
        let (endpoint_before, reflector_before, registrar_before) =
            std::mem::replace(&mut self.before, (endpoint, reflector, registrar));
        let registrations: Vec<String> = refusals
            .iter()
            .map(|(why, count)| (*count, format!("refused: {why}")))
            .chain([
                (
                    registrar.odd - registrar_before.odd,
                    "dropped: numbers that no first request has".to_owned(),
                ),
                (
                    registrar.unproven - registrar_before.unproven,
                    "challenged without a call token".to_owned(),
                ),
                (
                    (registrar.limited + endpoint.limited)
                        - (registrar_before.limited + endpoint_before.limited),
                    "not answered, over a rate limit".to_owned(),
                ),
            ])
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
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
        (!registrations.is_empty())
            .then(|| {
                format!(
                    "requests in the last {seconds} s: {}",
                    registrations.join(", ")
                )
            })
            .into_iter()
            .chain(
                (!is_idle)
                    .then(|| format!("reflector in the last {seconds} s: {}", asked.join(", "))),
            )
            .collect()
    }
}

fn farewell(provider: &Provider, sockets: &Sockets, began: Instant) {
    let (endpoint, reflector) = provider.counts();
    tracing::info!(
        "stopped after {} s: {} datagrams, {} POKEs, {} probes, {} refused, {} over a rate limit, {} malformed, \
         {} answers that could not be sent",
        clock::now().saturating_duration_since(began).as_secs(),
        endpoint.datagrams + reflector.hellos + reflector.asks,
        endpoint.pokes,
        reflector.asks,
        reflector.refused,
        endpoint.limited + reflector.limited,
        endpoint.malformed,
        sockets.dropped(),
    );
}

#[cfg(test)]
mod tests {
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
                profile: endpoint::Profile::Asterisk,
                seed: [1; 32],
            },
            tokens: Tokens::for_probes(TokenKey::new([1; 16]), clock),
            sockets: BTreeMap::new(),
            seed: [2; 32],
        };
        let provider = Provider::new(config, now);
        let mut period = Period::default();
        assert_eq!(period.sum_up(&provider), [""; 0], "nothing happened");
        for _ in 0..1000 {
            let refused = RegistrarEvent::Refused {
                user: "mallory".to_owned(),
                peer: PeerAddr::new(([192, 0, 2, 1], 4569).into()),
                why: Refusal::Credentials,
            };
            log(&refused, &mut period.refusals);
        }
        assert_eq!(
            period.sum_up(&provider),
            ["requests in the last 10 s: 1000 refused: wrong secret, or no such account"]
        );
        assert_eq!(period.sum_up(&provider), [""; 0], "that was before");
    }
}
