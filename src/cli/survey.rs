//! What the commands that ask a provider have in common: names become addresses, the survey runs with its
//! progress, the evidence becomes a report.

use std::{
    io::{Write as _, stderr},
    net::{IpAddr, SocketAddr},
    ops::ControlFlow,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, bail};
use iax2_natcheck::{
    check::{self, Context, Finding, Question, devices::Device},
    net::{
        NetError, clock,
        drive::{Ended, drive},
        open_files, port_mapping,
        resolve::{Dns, Service, Target, resolve},
        sockets::Sockets,
        stop::Stopper,
        udp::{Ground, any_towards},
    },
    os::{gateway, host},
    probe::{
        evidence::Evidence,
        inbound::InboundPlan,
        lifetime::unaided::SIBLINGS,
        survey::{Experiment, Survey, SurveyConfig, SurveyEvent, SweepPlan, UnaidedPlan},
    },
    proto::auth::{Credentials, RsaKey},
    report::{
        self,
        assemble::{self, Frame, Looked},
        model,
    },
    types::{LocalAddr, PeerAddr},
};

use crate::cli::{
    args::{Common, Method, ProviderArgs},
    output,
    progress::Progress,
    secret, taint,
};

/// Whom the report is about, and what was to be answered.
pub(crate) struct Subject {
    /// The command.
    pub(crate) command: &'static str,
    /// Its question.
    pub(crate) question: Question,
    /// The provider as the user named it.
    pub(crate) name: String,
    /// What the name stands for.
    pub(crate) provider: PeerAddr,
    /// The account.
    pub(crate) user: Option<String>,
    /// The refresh to judge with.
    pub(crate) refresh: Option<Duration>,
    /// The box in front of the PBX, as the user names it.
    pub(crate) device: Option<&'static Device>,
    /// A registration was meant to be made.
    pub(crate) registers: bool,
    /// When the command began.
    pub(crate) started_at: SystemTime,
    /// What was seen of the router that this host is.
    pub(crate) router: Option<Looked>,
    /// What was found of the rules of that router.
    pub(crate) rules: Vec<Finding>,
}

/// Where the packets of a survey leave from, and what is asked of the router there.
#[derive(Clone, Copy, Default)]
pub(crate) struct Origin {
    /// The address; any that fits unless given.
    pub(crate) bind: Option<IpAddr>,
    /// The port of the first socket; any free one unless given.
    pub(crate) port: Option<u16>,
    /// A second address of this host in the same LAN.
    pub(crate) sibling: Option<IpAddr>,
    /// Whether the router is asked to map a port.
    pub(crate) port_mapping: bool,
}

impl From<&ProviderArgs> for Origin {
    fn from(args: &ProviderArgs) -> Self {
        Self {
            bind: args.bind,
            port: args.local_port,
            sibling: args.sibling,
            port_mapping: args.port_mapping,
        }
    }
}

/// The address of a host that the user named.
///
/// # Errors
///
/// Where the name has none, or none of the family of `bind`.
pub(crate) async fn address(
    target: &Target,
    service: Service,
    bind: Option<IpAddr>,
) -> Result<PeerAddr> {
    let found = resolve(target, service, &Dns::system()).await?;
    let fits =
        |address: PeerAddr| bind.is_none_or(|bind| bind.is_ipv4() == address.get().is_ipv4());
    match found
        .iter()
        .map(|resolved| resolved.address)
        .find(|address| fits(*address))
    {
        Some(address) => Ok(address),
        None => bail!("{target} has no address of the family of --bind; choose another --bind"),
    }
}

/// The address of the other family that the name of the provider has too; `None` where it has none, or where this
/// host is told which family to use.
pub(crate) async fn other_family(
    target: &Target,
    provider: PeerAddr,
    bind: Option<IpAddr>,
) -> Option<PeerAddr> {
    if bind.is_some() {
        return None;
    }
    let found = resolve(target, Service::IAX2, &Dns::system()).await.ok()?;
    let mut addresses = found.iter().map(|resolved| resolved.address);
    addresses.find(|other| other.get().is_ipv4() != provider.get().is_ipv4())
}

/// A short look at that address, which registers nothing; `None` where this host cannot even send there.
pub(crate) async fn glance(
    other: Option<PeerAddr>,
    common: &Common,
    progress: &Progress,
) -> Option<(PeerAddr, Box<Evidence>)> {
    let other = other?;
    let config = SurveyConfig {
        sweep: None,
        beside: [Experiment::Filtering].into(),
        ..SurveyConfig::new(other, rand::random())
    };
    let evidence = Box::pin(run(config, Origin::default(), common, progress)).await;
    evidence.ok().map(|evidence| (other, Box::new(evidence)))
}

/// The credentials that the options give; `None` without `--user`.
///
/// # Errors
///
/// Where a file cannot be read or holds nothing of use.
pub(crate) fn credentials(args: &ProviderArgs) -> Result<Option<Credentials>> {
    let Some(user) = &args.user else {
        if args.secret_file.is_some() || args.rsa_key.is_some() {
            bail!("a secret was given and no account; say whose it is with --user NAME");
        }
        return Ok(None);
    };
    if user.is_empty() || user.len() > 255 {
        bail!(
            "--user has {} octets; an account's name has 1 to 255",
            user.len()
        );
    }
    let rsa_key = match &args.rsa_key {
        None => None,
        Some(path) => {
            let pem = std::fs::read_to_string(path).with_context(|| {
                format!(
                    "{} cannot be read; give --rsa-key a PEM file",
                    path.display()
                )
            })?;
            let key = RsaKey::from_pem(&pem).map_err(|error| {
                anyhow::anyhow!(
                    "{}: {error}; make one with `openssl genrsa`",
                    path.display()
                )
            })?;
            Some(key)
        }
    };
    Ok(Some(Credentials {
        secret: secret::read(args.secret_file.as_ref())?,
        rsa_key,
        allow_plaintext: args.allow_plaintext,
        ..Credentials::named(user)
    }))
}

/// How the options want mappings timed with the registrar alone, as the account of `credentials`.
///
/// # Errors
///
/// Where an option is missing.
pub(crate) fn unaided(
    args: &ProviderArgs,
    credentials: Option<&Credentials>,
) -> Result<Option<UnaidedPlan>> {
    let (Some(method), Some(credentials)) = (args.method, credentials) else {
        return Ok(None);
    };
    if method == Method::Sibling && args.sibling.is_none() {
        bail!(
            "--method sibling needs a second address of this host in the same LAN; add one, such as with \
             `ip address add`, and give --sibling ADDRESS"
        );
    }
    Ok(Some(UnaidedPlan {
        method: method.unaided(),
        sibling: args.sibling.is_some(),
        credentials: credentials.clone(),
    }))
}

/// The survey that the options ask for; the command takes out what it does not want.
pub(crate) async fn config(args: &ProviderArgs, provider: PeerAddr) -> SurveyConfig {
    let bind = Some(args.bind.unwrap_or(provider.get().ip()));
    // A helper that cannot be found leaves a question open; the others are still worth asking.
    let mut reflector = None;
    if let Some(target) = &args.reflector {
        match address(target, Service::IAX2, bind).await {
            Ok(address) => reflector = Some(address),
            Err(error) => tracing::warn!("going on without the reflector: {error}"),
        }
    }
    let mut stun = Vec::new();
    for target in &args.stun {
        match address(target, Service::STUN, bind).await {
            Ok(address) => stun.push(address),
            Err(error) => tracing::warn!("going on without this STUN server: {error}"),
        }
    }
    SurveyConfig {
        reflector,
        stun,
        inbound: args
            .inbound
            .map_or_else(InboundPlan::default, |port| InboundPlan {
                port,
                needed: true,
            }),
        refresh: args.refresh.unwrap_or(Duration::from_secs(60)),
        assumed_refresh: args.refresh,
        hairpin: args.hairpin,
        sibling: args.sibling.is_some(),
        wait_for_refreshes: args.who_refreshes,
        sweep: Some(SweepPlan {
            longest: args.max_lifetime,
            budget: usize::try_from(args.sockets).unwrap_or(usize::MAX),
            ..SweepPlan::default()
        }),
        ..SurveyConfig::new(provider, rand::random())
    }
}

/// Runs a survey on this host. Ctrl-C, SIGTERM and the time limit end it early; what was found until then
/// stays.
///
/// # Errors
///
/// Where no socket can be opened.
pub(crate) async fn run(
    config: SurveyConfig,
    origin: impl Into<Origin>,
    common: &Common,
    progress: &Progress,
) -> Result<Evidence> {
    let (evidence, _) = run_with(config, origin, common, progress, |_| {}).await?;
    Ok(evidence)
}

/// The same, with each event shown to `tell`; gives what was recorded of a call, too.
///
/// # Errors
///
/// Where no socket can be opened.
pub(crate) async fn run_with(
    mut config: SurveyConfig,
    origin: impl Into<Origin>,
    common: &Common,
    progress: &Progress,
    tell: impl Fn(&SurveyEvent),
) -> Result<(Evidence, Option<Vec<i16>>)> {
    let provider = config.provider;
    let origin = origin.into();
    for sweep in [&mut config.sweep, &mut config.hop_timers]
        .into_iter()
        .flatten()
    {
        sweep.budget = affordable(sweep.budget);
    }
    let mut sockets = Sockets::client(Ground::host(), origin.bind);
    if let Some(port) = origin.port {
        let ip = origin.bind.unwrap_or_else(|| any_towards(provider).ip());
        sockets = sockets.with_first(SocketAddr::new(ip, port))?;
    }
    if let Some(ip) = origin.sibling {
        sockets = sockets.with_siblings(ip, SIBLINGS);
    }
    let mut stopper = Stopper::new()?;
    // On the heap: a survey is large, and a future that is awaited carries it.
    let mut survey = Box::new(Survey::new(config, clock::now()));
    let began = clock::now();
    show(progress, &SurveyEvent::Reached, began.elapsed());
    let driving = drive(
        &mut *survey,
        &mut sockets,
        |event, now| {
            show(progress, &event, now.saturating_duration_since(began));
            tell(&event);
            if event == SurveyEvent::Finished {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        },
        stopper.wait(common.timeout),
    );
    // What this makes it has to remove, so that it ends by itself.
    let looking = async {
        if !origin.port_mapping {
            return None;
        }
        let look = port_mapping::look(gateway::default_gateway(), rand::random());
        Some(Box::pin(look).await)
    };
    let (ended, port_mapping) = tokio::join!(driving, looking);
    let ended = ended?;
    if !matches!(ended, Ended::Event(())) {
        // The reflector is told, in the one turn that this takes; a binding that was moved takes longer.
        survey.stop(clock::now());
        let patience = if survey.is_finished() {
            Duration::ZERO
        } else {
            RESTORING
        };
        drive(
            &mut *survey,
            &mut sockets,
            |event, _| match event {
                SurveyEvent::Finished => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            },
            tokio::time::sleep(patience),
        )
        .await?;
    }
    let recording = survey.recording().map(<[i16]>::to_vec);
    let evidence = Evidence {
        port_mapping,
        ..survey.evidence()
    };
    Ok((evidence, recording))
}

/// How long a survey that was stopped may take to move the account's binding back.
const RESTORING: Duration = Duration::from_secs(3);

/// As many mappings at once as the limit of open files lets this process have, at most `budget`. Retries
/// on fresh ports may need as many sockets again.
fn affordable(budget: usize) -> usize {
    const OTHERS: usize = 64;
    let wanted = budget.saturating_mul(2).saturating_add(OTHERS);
    match open_files::raise(u64::try_from(wanted).unwrap_or(u64::MAX)) {
        Ok(()) => budget,
        Err(NetError::OpenFiles { hard, .. }) => {
            let hard = usize::try_from(hard).unwrap_or(usize::MAX);
            let budget = (hard.saturating_sub(2 * OTHERS) / 2).max(3);
            tracing::warn!(
                "the limit of open files allows {budget} mappings at once; the sweep takes longer"
            );
            budget
        }
        Err(error) => {
            tracing::warn!("{error}");
            budget
        }
    }
}

/// Shows on the progress bar what is being done.
pub(crate) fn show(progress: &Progress, event: &SurveyEvent, elapsed: Duration) {
    match event {
        SurveyEvent::Progress(state) => {
            let message = match state.alive {
                Some(alive) => format!("timing mappings, alive after {} s", alive.as_secs()),
                None => "timing mappings".to_owned(),
            };
            progress.set(&message, state.elapsed, Some(state.at_most));
        }
        SurveyEvent::Reached | SurveyEvent::Mapped | SurveyEvent::Registration(_) => {
            progress.set("asking the provider", elapsed, None);
        }
        SurveyEvent::Calls(_) => progress.set("calling", elapsed, None),
        SurveyEvent::CalledBack
        | SurveyEvent::SweepBegun
        | SurveyEvent::Edge { .. }
        | SurveyEvent::Done
        | SurveyEvent::Finished => {}
    }
}

/// Judges what was found, writes the report, and gives the status.
///
/// # Errors
///
/// Where the report cannot be written.
pub(crate) fn report(
    subject: Subject,
    evidence: &Evidence,
    common: &Common,
    progress: &Progress,
) -> Result<u8> {
    let context = Context {
        question: subject.question,
        provider: subject.provider,
        credentials: subject.registers,
        refresh: subject.refresh,
        device: subject.device,
    };
    let mut judgement = check::judge(evidence, &context);
    if let Some(looked) = &subject.router {
        judgement.add(taint::findings(looked, &judgement));
    }
    judgement.add(subject.rules);
    let local = evidence
        .registration
        .as_ref()
        .and_then(|registration| registration.local)
        .or_else(|| evidence.calls.as_ref()?.local)
        .or_else(|| Some(evidence.mapping.as_ref()?.observations.first()?.local));
    let frame = Frame {
        command: subject.command.to_owned(),
        started_at: subject.started_at,
        finished_at: SystemTime::now(),
        host: model::Host {
            local_address: local.map(LocalAddr::get),
            ..host::host().into()
        },
        provider: Some(model::Provider {
            name: subject.name,
            address: Some(subject.provider.get()),
            user: subject.user,
        }),
    };
    let mut report = assemble::assemble(frame, evidence, &judgement);
    if let Some(looked) = &subject.router {
        looked.add_to(&mut report);
    }
    progress.finish();
    output::report(&report, common)?;
    Ok(report::status(&report))
}

/// Says, before a registration, what it does to a PBX that uses the same account.
pub(crate) fn warn_of_moving(user: &str, common: &Common, progress: &Progress) {
    let line = format!(
        "Note: this registers as {user}. A PBX that uses the account is unreachable until its own next \
         registration moves the account back; check --asterisk, on the PBX itself, registers nothing."
    );
    tell(common, progress, &line);
}

/// One line to the user that is no part of the report.
pub(crate) fn tell(common: &Common, progress: &Progress, line: &str) {
    if !common.quiet {
        // Where stderr is closed, nobody reads it.
        progress.aside(|| {
            let _ = writeln!(stderr(), "{line}");
        });
    }
}
