//! `serve`: a test provider and reflector.

mod journal;

use std::{
    collections::BTreeMap, fs, net::SocketAddr, ops::ControlFlow, path::Path, pin::pin,
    time::SystemTime,
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
    os::privileges::become_nobody,
    probe::provider::{Provider, ProviderConfig},
    proto::{
        call::Manners,
        contract::SocketKey,
        endpoint::{self, EndpointConfig},
        registrar::RegistrarConfig,
        switchboard::{
            SwitchboardConfig,
            fault::{Fault, Faults},
        },
        token::{TokenKey, Tokens, WallClock},
        trunk,
    },
    types::PeerAddr,
};

use self::journal::{PERIOD, Period, farewell};
use crate::cli::{
    args::{Common, ServeArgs, serve::Profile},
    runtime::block_on,
};

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
        let manners = match args.profile {
            Profile::Asterisk => Manners::ASTERISK,
            Profile::Rfc => Manners::RFC,
        };
        let faults: Faults = args.fault.iter().copied().collect();
        let others = others(args, &sockets)?;
        // Files are read and sockets open; strangers need not speak to root.
        match become_nobody() {
            Ok(true) => tracing::debug!("root was given up: this is nobody from here on"),
            Ok(false) => {}
            Err(error) => tracing::warn!("{error}"),
        }
        let tokens = Tokens::for_calls(key.clone(), clock);
        let config = ProviderConfig {
            endpoint: EndpointConfig {
                switchboard: accounts.clone().map(|accounts| SwitchboardConfig {
                    accounts,
                    tokens: tokens.clone(),
                    manners: faults.bend(manners),
                    faults,
                    others,
                    trunk_mtu: trunk::MTU,
                    seed: rand::random(),
                }),
                registrar: accounts.map(|accounts| RegistrarConfig {
                    accounts,
                    tokens,
                    clock,
                    retry: manners.retry,
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
        for fault in &args.fault {
            tracing::warn!("calls go wrong on purpose: --fault {fault}");
        }
        let mut stop = pin!(stopper.wait(common.timeout));
        let mut period = Period::default();
        loop {
            let pause = async {
                tokio::select! {
                    _ = &mut stop => true,
                    () = tokio::time::sleep(PERIOD) => false,
                }
            };
            let on_event = |event, _| {
                period.log(&event);
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

/// The socket that stands in for each: at the same address where there is one, else at another.
fn others(args: &ServeArgs, sockets: &Sockets) -> Result<BTreeMap<SocketKey, SocketKey>> {
    let bound = sockets.bound()?;
    let others: BTreeMap<_, _> = bound
        .iter()
        .filter_map(|(key, local)| {
            let mut rest = bound.iter().filter(|(other, _)| other != key);
            let near = rest
                .clone()
                .find(|(_, other)| other.get().ip() == local.get().ip());
            near.or_else(|| rest.next())
                .map(|(other, _)| (*key, *other))
        })
        .collect();
    if others.is_empty() && args.fault.contains(&Fault::OtherPort) {
        bail!("--fault other-port needs a second port to answer from; give --bind twice");
    }
    Ok(others)
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
