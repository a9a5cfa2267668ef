//! `snat`: rules under which no entry of the NAT table goes wrong.

mod apply;

use std::{
    fs,
    io::{self, Read},
    path::Path,
    time::SystemTime,
};

use anyhow::{Context as _, Result, bail};
use iax2_natcheck::{
    check::{
        router_rules,
        snat::{self, GuardKind, Plan, Wish},
    },
    os::{OsError, firewall, firewall::uplink, host},
    probe::router::{Router, Setting, Uplink},
    report::{assemble::Frame, script, script::Direction, snat as report},
    wire::firewall::{Backend, Key, Prefix, Ruleset, Verdict, read},
};

use crate::cli::{
    args::{Common, Format, SnatArgs},
    output,
};

/// Plans the changes and prints them, or makes them.
///
/// # Errors
///
/// Where the rules cannot be read, nothing says which interface is meant, or a change is not made.
pub(crate) fn run(args: &SnatArgs, common: &Common) -> Result<u8> {
    if args.confirm {
        return apply::confirm(common);
    }
    let started_at = SystemTime::now();
    let source = Source::of(args)?;
    let router = router(args, &source)?;
    let wish = wish(args, &source);
    if args.apply {
        return apply::run(args, common, &source, &router, &wish);
    }
    let (plan, direction) = plan(args, &source, &router, &wish);
    let rules = source.rules.as_ref();
    let findings = rules.map(|rules| router_rules::findings(rules, &router, args.port));
    let frame = Frame {
        command: "snat".into(),
        started_at,
        finished_at: SystemTime::now(),
        host: host::host().into(),
        provider: None,
    };
    let report = report::report(&plan, &router, &findings.unwrap_or_default(), frame);
    match common.format() {
        Format::Text => {
            output::page(&report, common)?;
            let text = script::render(&plan, direction, &source.origin);
            output::write(&text, common)?;
        }
        Format::Json | Format::Jsonl | Format::Html | Format::Nagios | Format::Prometheus => {
            output::report(&report, common)?;
        }
    }
    Ok(0)
}

fn plan(args: &SnatArgs, source: &Source, router: &Router, wish: &Wish) -> (Plan, Direction) {
    let mut plan = match args.r#for {
        Some(kind) => snat::elsewhere(kind.into(), router, wish),
        None => snat::plan(source.rules.as_ref(), router, wish),
    };
    plan.notes.extend(source.note.clone());
    if !args.undo {
        return (plan, Direction::Forth);
    }
    // What was done already is taken back as the rules say; else what would be done.
    let marked = source.rules.as_ref().filter(|_| args.r#for.is_none());
    let mut back = marked
        .map(|rules| snat::way_back(rules, wish))
        .unwrap_or_default();
    if back.changes.is_empty() {
        return (plan.inverted(), Direction::Back);
    }
    back.files = plan.files;
    (back, Direction::Back)
}

/// Where the rules come from.
pub(super) struct Source {
    /// None: nothing is known of the rules.
    rules: Option<Ruleset>,
    /// They are those in force here, or would be.
    here: bool,
    /// In a sentence, for the head of the script.
    origin: String,
    /// What more could be done, and how.
    note: Option<String>,
}

impl Source {
    fn of(args: &SnatArgs) -> Result<Self> {
        let backend = args.backend.map(Backend::from);
        if let Some(path) = &args.rules {
            let (name, text) = text(path)?;
            let rules = read(&text, backend.unwrap_or(Backend::Iptables))
                .map_err(|error| anyhow::anyhow!("{name}, {error}"))?;
            return Ok(Self {
                rules: Some(rules),
                here: false,
                origin: format!("Read from {name}."),
                note: None,
            });
        }
        if args.r#for.is_some() {
            return Ok(Self::nothing(None));
        }
        match firewall::in_force(backend) {
            Ok(rules) => Ok(Self {
                rules: Some(rules),
                here: true,
                origin: "Read from the rules in force.".into(),
                note: None,
            }),
            Err(error @ (OsError::NoFirewall | OsError::FirewallRefused { .. }))
                if args.wan.is_some() && !args.apply =>
            {
                Ok(Self::nothing(Some(format!(
                    "the rules in force were not read ({error}): run as root on the router, this names \
                     the rule to replace and keeps its conditions; with --rules FILE it does so for a \
                     router elsewhere"
                ))))
            }
            Err(error) => Err(error).context("the rules in force cannot be read; run as root on the router, or give --rules FILE, or --wan for advice without them"),
        }
    }

    fn nothing(note: Option<String>) -> Self {
        Self {
            rules: None,
            here: note.is_some(),
            origin: "No rules were read.".into(),
            note,
        }
    }
}

fn text(path: &Path) -> Result<(String, String)> {
    let (name, text) = if path == Path::new("-") {
        let mut text = String::new();
        let read = io::stdin().lock().read_to_string(&mut text).map(|_| text);
        ("stdin".to_owned(), read)
    } else {
        (path.display().to_string(), fs::read_to_string(path))
    };
    let text = text.with_context(|| {
        format!("{name} cannot be read; give what iptables-save or `nft list ruleset` wrote")
    })?;
    Ok((name, text))
}

/// The router by what the user says, what this host says where it is the router, and the rules.
fn router(args: &SnatArgs, source: &Source) -> Result<Router> {
    let nothing = Ruleset::default();
    let rules = source.rules.as_ref().unwrap_or(&nothing);
    let mut router = match (of_this_host(args, source)?, &args.wan) {
        (Some(router), _) => router,
        (None, Some(wan)) => bare(wan),
        (None, None) => bare(&only_interface(rules)?),
    };
    let wan = router.wan.interface.clone();
    for interface in snat::ways_out(rules) {
        let known = router
            .others
            .iter()
            .any(|other| other.interface == interface);
        if interface != wan && !known && snat::translates(rules, &interface) {
            router.others.push(Uplink::named(interface));
        }
    }
    if router.wan.present != Some(true)
        && source.rules.is_some()
        && !snat::ways_out(rules).is_empty()
        && !snat::translates(rules, &wan)
    {
        bail!(
            "there is no interface {wan}, and no rule that was read translates what leaves by it; the \
             rules name {}",
            snat::ways_out(rules).join(", ")
        );
    }
    if let Some(address) = args.r#static {
        router.wan.address = Some(address);
        router.wan.setting = Setting::Static;
        router.wan.because = vec!["given by --static".into()];
    }
    if !args.lan.is_empty() {
        router.lans.clone_from(&args.lan);
    } else if router.lans.is_empty() {
        router.lans = translated_networks(rules, &wan);
    }
    Ok(router)
}

/// What this host says of itself, where its rules are meant.
fn of_this_host(args: &SnatArgs, source: &Source) -> Result<Option<Router>> {
    if !source.here {
        return Ok(None);
    }
    let translated = source
        .rules
        .as_ref()
        .map(snat::ways_out)
        .unwrap_or_default();
    match uplink::router(args.wan.as_deref(), args.peer, &translated) {
        Ok(router) if router.wan.present == Some(true) => Ok(Some(router)),
        // A line that is down may have no interface; a rule for it says that this is its router.
        Ok(mut router) => {
            let rules = source.rules.as_ref();
            if !rules.is_some_and(|rules| snat::translates(rules, &router.wan.interface)) {
                router = Router {
                    others: vec![],
                    lans: vec![],
                    ..router
                };
            }
            Ok(Some(router))
        }
        Err(_) if args.wan.is_some() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn bare(wan: &str) -> Router {
    Router {
        wan: Uplink::named(wan),
        others: vec![],
        lans: vec![],
        udp_timeout_s: None,
    }
}

fn only_interface(rules: &Ruleset) -> Result<String> {
    match snat::ways_out(rules).as_slice() {
        [name] => Ok(name.clone()),
        [] => bail!("no rule that was read says which interface leads to the provider; give --wan"),
        names => bail!(
            "several interfaces lead out by the rules that were read ({}); say with --wan which leads \
             to the provider",
            names.join(", ")
        ),
    }
}

/// The private networks whose sources are translated at the WAN; none where a rule takes all sources.
fn translated_networks(rules: &Ruleset, wan: &str) -> Vec<Prefix> {
    let mut networks: Vec<Prefix> = Vec::new();
    for rule in snat::translating(rules, wan) {
        let mut sources = rule.matches.iter().filter(|found| found.key == Key::Source);
        let Some(source) = sources.find(|found| !found.negated && !found.values.is_empty()) else {
            return vec![];
        };
        networks.extend(
            source
                .values
                .iter()
                .filter_map(|value| value.parse::<Prefix>().ok()),
        );
    }
    networks.retain(|network| network.is_private());
    networks.sort_unstable();
    networks.dedup();
    networks
}

fn wish(args: &SnatArgs, source: &Source) -> Wish {
    let has_nft = !source.here || source.rules.is_none() || firewall::program("nft").is_some();
    let guard = match args.guard {
        Some(guard) => guard.into(),
        None if has_nft => GuardKind::Nft,
        None => GuardKind::Forward,
    };
    let first = source.rules.as_ref().and_then(|rules| {
        let mut translating = rules
            .rules
            .iter()
            .filter(|rule| matches!(rule.verdict, Verdict::Masquerade(_) | Verdict::Snat { .. }));
        translating.next().map(|rule| rule.place.backend)
    });
    let backend = args
        .backend
        .map(Backend::from)
        .or(first)
        .unwrap_or(Backend::Iptables);
    Wish {
        port: args.port,
        refresh: args.refresh,
        guard,
        backend,
    }
}
