//! `check`: the main job.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::{Duration, SystemTime},
};

use anyhow::{Result, bail};
use iax2_natcheck::{
    check::{Finding, Question, router_rules, snat, taint::ends},
    net::resolve::{Service, Target},
    os::{
        OsError,
        asterisk::{self, RegistryEntry},
        conntrack::Wanted,
        firewall::{self, uplink},
        sysctl,
    },
    probe::{
        calls::plan::{CallPlan, CallsConfig},
        evidence::{AsteriskEvidence, Evidence},
        inbound::InboundPlan,
        survey::CALLS_SOCKET,
    },
    proto::{auth::Credentials, media::directions::FarEnd, registration::reregister_after},
    report::assemble::Looked,
    types::PeerAddr,
    wire::iax2::PORT,
};

use crate::cli::{
    args::{CheckArgs, Common, Profile, ProviderArgs},
    progress::Progress,
    runtime::block_on,
    survey::{self, Subject},
    taint::Inspector,
};

/// Calls to the extension that echoes, and how long each talks.
const ECHO_CALLS: u32 = 3;
const ECHO_TALK: Duration = Duration::from_secs(3);

/// Whom nodes of AllStarLink call each other as, without a secret.
const RADIO: &str = "radio";

/// Runs the whole survey, and reports.
///
/// # Errors
///
/// Where nothing could be measured at all: a name without address, no socket, no running Asterisk.
pub(crate) fn run(check: &CheckArgs, common: &Common, progress: &Progress) -> Result<u8> {
    let started_at = SystemTime::now();
    let args = &check.provider;
    let is_node = check.profile == Profile::Allstarlink;
    if is_node && args.asterisk {
        bail!("a node of AllStarLink registers with nobody over IAX2; leave --asterisk out");
    }
    block_on(async {
        let asterisk = if args.asterisk {
            Some(registry_entry(args).await?)
        } else {
            None
        };
        let target = target(args, asterisk.as_ref())?;
        let provider = survey::address(&target, Service::IAX2, args.bind).await?;
        let credentials = if args.asterisk {
            None
        } else {
            survey::credentials(args)?
        };
        let user = asterisk
            .as_ref()
            .map(|entry| entry.user.clone())
            .or_else(|| {
                credentials
                    .as_ref()
                    .map(|credentials| credentials.user.clone())
            });
        let registers = credentials.is_some();
        if let Some(credentials) = &credentials {
            survey::warn_of_moving(&credentials.user, common, progress);
        }
        // Before the survey makes entries of its own.
        let router = router(check, provider, progress)?;
        let rules = match &router {
            Some(looked) => rules(check.router, looked, provider),
            None => vec![],
        };
        let mut config = survey::config(args, provider).await;
        if let Some(sweep) = &mut config.sweep {
            sweep.unaided = survey::unaided(args, credentials.as_ref())?;
        }
        if is_node {
            // Nothing registers, so no interval is to be survived; what has to stand is the way in.
            config.sweep = config.sweep.filter(|_| registers);
            config.inbound = InboundPlan {
                port: args.inbound.or(args.local_port).unwrap_or(PORT),
                needed: true,
            };
        }
        config.callback.clone_from(&args.callback);
        config.calls = args.echo.as_ref().map(|number| {
            let caller = credentials
                .clone()
                .or_else(|| is_node.then(|| Credentials::named(RADIO)));
            Box::new(echo_calls(number, caller, provider))
        });
        config.credentials = credentials;
        config.same_port = args.local_port.is_some();
        let other = survey::other_family(&target, provider, args.bind).await;
        let (evidence, other_family) = tokio::join!(
            survey::run(config, args, common, progress),
            survey::glance(other, common, progress)
        );
        let mut evidence = evidence?;
        evidence.other_family = other_family;
        evidence.asterisk = asterisk.map(into_evidence);
        let refresh = granted(&evidence);
        let subject = Subject {
            command: "check",
            question: if is_node {
                Question::Node
            } else {
                Question::Reachability
            },
            name: target.to_string(),
            provider,
            user: user.clone(),
            refresh: args.refresh,
            device: args.device,
            registers,
            started_at,
            router,
            rules,
        };
        let status = survey::report(subject, &evidence, common, progress)?;
        if let (Some(user), Some(refresh)) = (user.filter(|_| registers), refresh) {
            let line = format!(
                "Note: a PBX that registers as {user} has the account back with its next registration, \
                 within {} s; `asterisk -rx 'iax2 reload'` on the PBX makes it at once.",
                reregister_after(refresh).as_secs()
            );
            survey::tell(common, progress, &line);
        }
        Ok(status)
    })
}

/// The test calls to an echo.
fn echo_calls(number: &str, caller: Option<Credentials>, provider: PeerAddr) -> CallsConfig {
    CallsConfig {
        number: number.to_owned(),
        far_end: FarEnd::Echo,
        credentials: caller,
        calls: ECHO_CALLS,
        plan: CallPlan {
            talk: ECHO_TALK,
            ..CallPlan::default()
        },
        ..CallsConfig::new(provider, CALLS_SOCKET, rand::random())
    }
}

/// What is to be seen of this host as a router, where it is one; `None` where it is none, or where this
/// user may not look and did not ask to.
fn router(check: &CheckArgs, provider: PeerAddr, progress: &Progress) -> Result<Option<Looked>> {
    const LOOK: Duration = Duration::from_secs(1);
    if !check.router && !sysctl::forwards() {
        return Ok(None);
    }
    let wanted = Wanted {
        port: provider.get().port(),
        peers: vec![provider.get().ip()],
    };
    let mut inspector = match Inspector::open(wanted) {
        Ok(inspector) if check.router || !inspector.is_blind() => inspector,
        Ok(_) => return Ok(None),
        Err(error) if check.router => return Err(error),
        Err(error) => {
            tracing::debug!("not looked at as a router: {error}");
            return Ok(None);
        }
    };
    let looked = inspector.look(LOOK, |elapsed| {
        progress.set("looking at this router", elapsed, Some(LOOK));
    })?;
    Ok(Some(looked))
}

/// What is found of the rules in force: where a host behind this one talks to the provider, or where
/// the user says that this is the router, because rules that translate are on many a host that is
/// none.
fn rules(is_router: bool, looked: &Looked, provider: PeerAddr) -> Vec<Finding> {
    let insides = looked
        .entries
        .iter()
        .map(|one| ends(&one.entry, &looked.router).inside)
        .filter(|inside| looked.router.owners(*inside).next().is_none());
    // The guard is one of IPv4: hosts of IPv6 mostly have public addresses.
    let hosts: Vec<Ipv4Addr> = insides
        .filter_map(|inside| match inside {
            IpAddr::V4(inside) => Some(inside),
            IpAddr::V6(_) => None,
        })
        .collect();
    let (IpAddr::V4(peer), port) = (provider.get().ip(), provider.get().port()) else {
        return vec![];
    };
    if !is_router && hosts.is_empty() {
        return vec![];
    }
    let read = || {
        let rules = firewall::in_force(None)?;
        let mut router = uplink::router(None, Some(peer), &snat::ways_out(&rules))?;
        router.lans = router_rules::networks(&rules, &router, &hosts, port);
        Ok::<_, OsError>(router_rules::findings(&rules, &router, port))
    };
    read().unwrap_or_else(|error| {
        tracing::warn!("the rules of this router are not judged: {error}");
        vec![]
    })
}

fn granted(evidence: &Evidence) -> Option<Duration> {
    evidence
        .registration
        .as_ref()
        .and_then(|registration| registration.refresh)
}

/// The provider that was named, or the one that Asterisk registers with.
fn target(args: &ProviderArgs, entry: Option<&RegistryEntry>) -> Result<Target> {
    if let Some(target) = &args.provider {
        return Ok(target.clone());
    }
    match entry.and_then(|entry| entry.host.as_ref()) {
        Some(host) => Ok(host.parse()?),
        None => bail!(
            "Asterisk does not know its provider's address either; give PROVIDER, and check the name in iax.conf"
        ),
    }
}

/// The registration of the running Asterisk that the command line means.
async fn registry_entry(args: &ProviderArgs) -> Result<RegistryEntry> {
    let entries = asterisk::Cli::default().registry().await?;
    let mut provider = None;
    if let Some(target) = &args.provider {
        provider = Some(
            survey::address(target, Service::IAX2, args.bind)
                .await?
                .to_string(),
        );
    }
    let named = args.provider.as_ref().map(ToString::to_string);
    let fits = |entry: &RegistryEntry| {
        let host = entry.host.as_ref();
        let at = provider.is_none() || host == provider.as_ref() || host == named.as_ref();
        at && args.user.as_deref().is_none_or(|user| entry.is_user(user))
    };
    let mut fitting: Vec<RegistryEntry> = entries.into_iter().filter(fits).collect();
    match fitting.len() {
        1 => Ok(fitting.remove(0)),
        0 => bail!(
            "the running Asterisk has no such registration; compare with `asterisk -rx 'iax2 show registry'`"
        ),
        count => bail!(
            "the running Asterisk has {count} registrations; say which with PROVIDER or --user"
        ),
    }
}

fn into_evidence(entry: RegistryEntry) -> AsteriskEvidence {
    AsteriskEvidence {
        user: entry.user,
        state: entry.state,
        refresh: Some(entry.refresh),
        perceived: entry.perceived,
    }
}
