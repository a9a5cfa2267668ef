//! A survey of a scenario: the machine that `check` runs, in a virtual network with a provider of our
//! own at its far end.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use super::{error::LabError, kernel::NatLab, scenario::Scenario, world::World};
use crate::{
    net::{
        NetError, clock,
        drive::{Ended, drive},
        sockets::Sockets,
        udp::Ground,
    },
    probe::{
        evidence::Evidence,
        provider::{Provider, ProviderConfig},
        survey::{Survey, SurveyConfig, SurveyEvent, SweepPlan},
    },
    proto::{
        account::Account,
        auth::Credentials,
        contract::SocketKey,
        endpoint::{EndpointConfig, Profile},
        registrar::RegistrarConfig,
        reliable::RetryPolicy,
        token::{TokenKey, Tokens, WallClock},
    },
    types::PeerAddr,
    wire::iax2::PORT,
};

/// Why a demonstration could not be run.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The virtual network.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// The sockets in it.
    #[error(transparent)]
    Net(#[from] NetError),
}

/// The survey that a scenario calls for: its account, and idle times as long as its timers need.
#[must_use]
pub fn survey(scenario: &Scenario, seed: [u8; 32], now: Instant) -> Survey {
    let provider = PeerAddr::new(SocketAddr::new(scenario.server().into(), PORT));
    let config = SurveyConfig {
        credentials: Some(Credentials::with_secret(scenario.user, scenario.secret)),
        refresh: scenario.refresh,
        sweep: Some(SweepPlan {
            longest: scenario.max_lifetime,
            ..SweepPlan::default()
        }),
        ..SurveyConfig::new(provider, seed)
    };
    Survey::new(config, now)
}

/// Runs the survey in the kernel, through real NATs; the process must have [entered](super::kernel::enter)
/// the lab. `stop` ends it early; what was found until then is returned all the same.
///
/// # Errors
///
/// Where the network cannot be built, or a socket cannot be opened in it.
pub async fn in_kernel<S>(
    scenario: &Scenario,
    seed: [u8; 32],
    mut on_event: impl FnMut(&SurveyEvent),
    stop: impl Future<Output = S>,
) -> Result<Evidence, DemoError> {
    let lab = Arc::new(NatLab::new(&scenario.network)?);
    let addresses = server_addresses(scenario);
    let far = Arc::clone(&lab);
    let mut far_sockets = Sockets::server(
        Ground::new(move |address| far.server().bind(address).map_err(std::io::Error::other)),
        &addresses.values().copied().collect::<Vec<_>>(),
    )?;
    let near = Arc::clone(&lab);
    let mut near_sockets = Sockets::client(
        Ground::new(move |address| near.client().bind(address).map_err(std::io::Error::other)),
        Some(IpAddr::V4(scenario.network.client())),
    );
    let now = clock::now();
    let mut provider = provider(scenario, &addresses, seed, now);
    let mut machine = survey(scenario, seed, now);
    let serving = drive(
        &mut provider,
        &mut far_sockets,
        |_, _| ControlFlow::<Infallible>::Continue(()),
        std::future::pending::<Infallible>(),
    );
    let surveying = drive(
        &mut machine,
        &mut near_sockets,
        |event, _| {
            on_event(&event);
            if event == SurveyEvent::Finished {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        },
        stop,
    );
    let ended = tokio::select! {
        ended = surveying => ended?,
        ended = serving => match ended? {
            // A provider has neither a last event nor a stop; its sockets stay open.
            Ended::Event(never) | Ended::Stopped(never) => match never {},
            Ended::Idle => Ended::Idle,
        },
    };
    if !matches!(ended, Ended::Event(())) {
        machine.stop(clock::now());
    }
    Ok(machine.evidence())
}

/// Runs the survey in process, through simulated NATs, under a clock that does not wait.
#[must_use]
pub fn in_process(
    scenario: &Scenario,
    seed: [u8; 32],
    mut on_event: impl FnMut(&SurveyEvent),
) -> Evidence {
    const LIMIT: Duration = Duration::from_secs(3600);
    let start = clock::now();
    let mut world = World::new(start);
    let [low, ..] = seed;
    let site = world.site(scenario.network.site(low.into()));
    let addresses = server_addresses(scenario);
    let provider = provider(scenario, &addresses, seed, start);
    let _far = world.server(addresses, provider);
    let near = world.client(
        site,
        scenario.network.client().into(),
        survey(scenario, seed, start),
    );
    world.run_until_done(start + LIMIT, || near.machine().is_finished());
    for (_, event) in near.take_events() {
        on_event(&event);
    }
    near.machine().evidence()
}

/// A1:P1, A1:P2, A2:P1, A2:P2.
fn server_addresses(scenario: &Scenario) -> BTreeMap<SocketKey, SocketAddr> {
    let hosts = [scenario.server(), scenario.second_server()];
    let addresses = hosts
        .into_iter()
        .flat_map(|host| [PORT, PORT + 1].map(|port| SocketAddr::new(host.into(), port)));
    (0..).map(SocketKey).zip(addresses).collect()
}

fn provider(
    scenario: &Scenario,
    addresses: &BTreeMap<SocketKey, SocketAddr>,
    seed: [u8; 32],
    now: Instant,
) -> Provider {
    let clock = WallClock {
        at: now,
        says: SystemTime::now(),
    };
    let [.., key] = seed.as_chunks::<16>().0 else {
        unreachable!("32 octets are two keys")
    };
    let key = TokenKey::new(*key);
    let account = Account {
        refresh: scenario.refresh,
        ..Account::new(scenario.user, scenario.secret)
    };
    Provider::new(
        ProviderConfig {
            endpoint: EndpointConfig {
                registrar: Some(RegistrarConfig {
                    accounts: vec![account],
                    tokens: Tokens::for_calls(key.clone(), clock),
                    clock,
                    retry: RetryPolicy::QUICK,
                    seed,
                }),
                switchboard: None,
                profile: Profile::Asterisk,
                seed,
            },
            tokens: Tokens::for_probes(key, clock),
            sockets: addresses
                .iter()
                .map(|(key, address)| (*key, PeerAddr::new(*address)))
                .collect(),
            seed,
        },
        now,
    )
}
