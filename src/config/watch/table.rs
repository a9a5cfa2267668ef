//! The tables of the file as they stand, and what makes a configuration of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use serde::Deserialize;
use toml::Spanned;

use super::{
    Ami, AsteriskAccess, Commands, Files, Metrics, Observe, OwnRegistration, WatchConfig,
    WatchedProvider,
    value::{command, duration, host, interface, octets, secret, socket, timer, user},
};
use crate::{
    config::{ConfigError, place::Place},
    guard::{
        action::ActionKind,
        policy::{Policy, ProviderPolicy},
    },
    types::is_printable,
    wire::iax2::PORT,
};

/// A text and where it stands.
pub(super) type Text = Spanned<String>;
/// Several texts and where they stand.
pub(super) type Words = Spanned<Vec<Text>>;

/// The whole file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    provider: Vec<Spanned<Provider>>,
    #[serde(default)]
    register: Vec<Spanned<Register>>,
    #[serde(default)]
    asterisk: Asterisk,
    #[serde(default)]
    observe: Observed,
    #[serde(default)]
    nat: Nat,
    #[serde(default)]
    policy: Patience,
    #[serde(default)]
    commands: Programs,
    #[serde(default)]
    files: Paths,
    #[serde(default)]
    metrics: Measured,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Provider {
    name: Text,
    host: Text,
    user: Option<Text>,
    remedies: Option<Words>,
    run: Option<Words>,
    keep_open_ttl: Option<Spanned<u8>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Register {
    name: Text,
    host: Text,
    user: Text,
    secret_file: Text,
    refresh: Option<Text>,
    port: Option<u16>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asterisk {
    ami: Option<Text>,
    ami_user: Option<Text>,
    ami_secret_file: Option<Text>,
    program: Option<Text>,
    config: Option<Text>,
    port: Option<Spanned<u16>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Observed {
    capture: Option<bool>,
    poke: Option<bool>,
    interface: Option<Text>,
    wan: Option<Text>,
    router: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nat {
    exchange: Option<Text>,
    stream: Option<Text>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Patience {
    dry_run: Option<bool>,
    agreeing: Option<Spanned<u8>>,
    samples: Option<Spanned<u8>>,
    min_gap: Option<Text>,
    max_gap: Option<Text>,
    per_hour: Option<Spanned<u16>>,
    reloads_per_hour: Option<u16>,
    longest_hold: Option<Text>,
    tell_again: Option<Text>,
    most_memory: Option<Text>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Programs {
    incident: Option<Words>,
    delete_entry: Option<Words>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Paths {
    state: Option<Text>,
    incidents: Option<Text>,
    socket: Option<Text>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Measured {
    listen: Option<Text>,
    textfile: Option<Text>,
}

impl File {
    /// The configuration that the tables make.
    pub(super) fn check(self, place: Place<'_>) -> Result<WatchConfig, ConfigError> {
        if self.provider.is_empty() && self.register.is_empty() {
            return Err(place.error(
                None,
                "nothing is watched; add a table [[provider]] with name and host",
            ));
        }
        let observe = Observe {
            capture: self.observe.capture.unwrap_or(true),
            poke: self.observe.poke.unwrap_or(true),
            interface: interface(place, "interface", self.observe.interface.as_ref())?,
            wan: interface(place, "wan", self.observe.wan.as_ref())?,
            router: self.observe.router.unwrap_or(false),
        };
        let commands = Commands {
            incident: command(place, "incident", self.commands.incident.as_ref())?,
            delete_entry: command(place, "delete_entry", self.commands.delete_entry.as_ref())?,
        };
        let can_delete = observe.router || commands.delete_entry.is_some();
        let mut policy = self.policy.check(place)?;
        if self.policy.per_hour.is_none() {
            let providers = u16::try_from(self.provider.len()).unwrap_or(u16::MAX);
            policy.per_hour = policy.per_hour.max(providers.saturating_mul(10));
        }
        policy.exchange = timer(
            place,
            "exchange",
            self.nat.exchange.as_ref(),
            policy.exchange,
        )?;
        policy.stream = timer(place, "stream", self.nat.stream.as_ref(), policy.stream)?;
        let mut names = Names::default();
        let mut providers = vec![];
        for table in &self.provider {
            let (provider, allowed) = table.get_ref().check(place, can_delete)?;
            names.take(place, &table.get_ref().name, "provider")?;
            names.take_line(place, table.get_ref())?;
            policy.providers.push(allowed);
            providers.push(provider);
        }
        let mut registrations = vec![];
        for table in &self.register {
            let register = table.get_ref();
            names.take(place, &register.name, "register")?;
            names.take_own(place, register)?;
            registrations.push(register.check(place)?);
        }
        Ok(WatchConfig {
            providers,
            registrations,
            asterisk: self.asterisk.check(place)?,
            observe,
            policy,
            dry_run: self.policy.dry_run.unwrap_or(false),
            commands,
            files: self.files.check(place),
            metrics: self.metrics.check(place)?,
        })
    }
}

/// What must not be there twice.
#[derive(Default)]
struct Names<'a> {
    names: BTreeSet<&'a str>,
    lines: BTreeMap<&'a str, BTreeSet<Option<&'a str>>>,
}

impl<'a> Names<'a> {
    fn take(&mut self, place: Place<'_>, name: &'a Text, table: &str) -> Result<(), ConfigError> {
        let text = name.get_ref();
        if text.is_empty() || !text.chars().all(is_printable) {
            return Err(place.at(
                name,
                "the name is empty or has control characters; give one",
            ));
        }
        if !self.names.insert(text) {
            return Err(place.at(
                name,
                &format!("another table is called \"{text}\"; give this [[{table}]] another name"),
            ));
        }
        Ok(())
    }

    /// A host may be there several times if users tell the lines apart.
    fn take_line(&mut self, place: Place<'_>, provider: &'a Provider) -> Result<(), ConfigError> {
        let users = self.lines.entry(provider.host.get_ref()).or_default();
        let user = provider.user.as_ref().map(|user| user.get_ref().as_str());
        let is_vague = !users.is_empty() && (user.is_none() || users.contains(&None));
        if is_vague || !users.insert(user) {
            return Err(place.at(
                &provider.host,
                "this host is watched already; tell the register lines apart by user, or take one out",
            ));
        }
        Ok(())
    }

    fn take_own(&mut self, place: Place<'_>, register: &'a Register) -> Result<(), ConfigError> {
        let users = self.lines.get(register.host.get_ref().as_str());
        let user = Some(register.user.get_ref().as_str());
        if users.is_some_and(|users| users.contains(&user) || users.contains(&None)) {
            return Err(place.at(
                &register.user,
                "Asterisk registers this account, and the registrar keeps one address an account; use \
                 an account of its own, or take the table out",
            ));
        }
        Ok(())
    }
}

impl Provider {
    fn check(
        &self,
        place: Place<'_>,
        can_delete: bool,
    ) -> Result<(WatchedProvider, ProviderPolicy), ConfigError> {
        let mut policy = ProviderPolicy::new(self.name.get_ref());
        policy.run = command(place, "run", self.run.as_ref())?.unwrap_or_default();
        policy.keep_open_ttl = match &self.keep_open_ttl {
            Some(ttl) if *ttl.get_ref() == 0 => {
                return Err(place.at(ttl, "keep_open_ttl is 0; write 1 to 255, or take it out"));
            }
            ttl => ttl.as_ref().map(|ttl| *ttl.get_ref()),
        };
        let known = Policy::REMEDIES.map(|kind| (kind.as_str(), kind));
        match &self.remedies {
            None => {
                if !can_delete {
                    policy.remedies.remove(&ActionKind::DeleteEntry);
                }
                if !policy.run.is_empty() {
                    policy.remedies.insert(ActionKind::Run);
                }
            }
            Some(words) => {
                policy.remedies = BTreeSet::new();
                for word in words.get_ref() {
                    let kind = place.word("remedies", word, &known)?;
                    match kind {
                        ActionKind::DeleteEntry if !can_delete => {
                            return Err(place.at(
                                word,
                                "\"delete-entry\" has nothing to delete from; set router = true in \
                                 [observe] on the router, or give delete_entry in [commands]",
                            ));
                        }
                        ActionKind::Run if policy.run.is_empty() => {
                            return Err(place.at(
                                word,
                                "\"run\" has no command; give run = [\"/path/to/program\"] in this \
                                 table, or take it out",
                            ));
                        }
                        _ => policy.remedies.insert(kind),
                    };
                }
                if let Some(run) = &self.run
                    && !policy.allows(ActionKind::Run)
                {
                    return Err(place.at(
                        run,
                        "run is never used; add \"run\" to remedies, or take it out",
                    ));
                }
            }
        }
        if let Some(ttl) = &self.keep_open_ttl
            && !policy.allows(ActionKind::KeepOpen)
        {
            return Err(place.at(
                ttl,
                "keep_open_ttl is never used; add \"keep-open\" to remedies, or take it out",
            ));
        }
        let provider = WatchedProvider {
            name: self.name.get_ref().clone(),
            host: host(place, &self.host)?,
            user: user(place, self.user.as_ref())?,
        };
        Ok((provider, policy))
    }
}

impl Register {
    fn check(&self, place: Place<'_>) -> Result<OwnRegistration, ConfigError> {
        let refresh = match &self.refresh {
            Some(value) => duration(place, "refresh", value, 1, 65_535)?,
            None => Duration::from_secs(60),
        };
        Ok(OwnRegistration {
            name: self.name.get_ref().clone(),
            host: host(place, &self.host)?,
            user: user(place, Some(&self.user))?.unwrap_or_default(),
            secret: secret(place, "secret_file", &self.secret_file)?,
            refresh,
            port: self.port.filter(|port| *port != 0),
        })
    }
}

impl Asterisk {
    fn check(&self, place: Place<'_>) -> Result<AsteriskAccess, ConfigError> {
        let ami = match (&self.ami, &self.ami_user, &self.ami_secret_file) {
            (Some(address), Some(user), Some(file)) => Some(Ami {
                address: socket(place, "ami", address)?,
                user: user.get_ref().clone(),
                secret: secret(place, "ami_secret_file", file)?,
            }),
            (None, None, None) => None,
            (Some(given), ..) | (_, Some(given), _) | (.., Some(given)) => {
                return Err(place.at(
                    given,
                    "ami, ami_user and ami_secret_file belong together; give all three, or none to \
                     use asterisk -rx",
                ));
            }
        };
        if let Some(port) = &self.port
            && *port.get_ref() == 0
        {
            return Err(place.at(port, "port is 0; write Asterisk's own, usually 4569"));
        }
        let config = self.config.as_ref();
        Ok(AsteriskAccess {
            ami,
            program: self.program.as_ref().map_or_else(
                || PathBuf::from("asterisk"),
                |program| program.get_ref().into(),
            ),
            config: config.map(|file| place.beside(file.get_ref())),
            port: self.port.as_ref().map_or(PORT, |port| *port.get_ref()),
        })
    }
}

impl Patience {
    fn check(&self, place: Place<'_>) -> Result<Policy, ConfigError> {
        let mut policy = Policy::default();
        let times = [
            ("min_gap", &self.min_gap, &mut policy.min_gap, 1),
            ("max_gap", &self.max_gap, &mut policy.max_gap, 1),
            (
                "longest_hold",
                &self.longest_hold,
                &mut policy.longest_hold,
                60,
            ),
            ("tell_again", &self.tell_again, &mut policy.tell_again, 60),
        ];
        for (key, given, value, least) in times {
            if let Some(given) = given {
                *value = duration(place, key, given, least, 30 * 86_400)?;
            }
        }
        if policy.min_gap > policy.max_gap {
            let key = self.min_gap.as_ref().or(self.max_gap.as_ref());
            return Err(place.error(
                key.map(Spanned::span),
                "min_gap is longer than max_gap; make it shorter, or the other longer",
            ));
        }
        for (key, given, value) in [
            ("agreeing", &self.agreeing, &mut policy.agreeing),
            ("samples", &self.samples, &mut policy.samples),
        ] {
            if let Some(given) = given {
                *value = *given.get_ref();
                if !(1..=100).contains(value) {
                    return Err(place.at(given, &format!("{key} is not between 1 and 100")));
                }
            }
        }
        if policy.agreeing > policy.samples {
            let key = self.agreeing.as_ref().or(self.samples.as_ref());
            return Err(place.error(
                key.map(Spanned::span),
                "more looks must agree than are remembered; make agreeing at most samples",
            ));
        }
        if let Some(given) = &self.per_hour {
            policy.per_hour = *given.get_ref();
            if !(1..=1000).contains(&policy.per_hour) {
                return Err(place.at(
                    given,
                    "per_hour is not between 1 and 1000; for none at all set dry_run = true",
                ));
            }
        }
        policy.reloads_per_hour = self.reloads_per_hour.unwrap_or(policy.reloads_per_hour);
        policy.most_memory = self
            .most_memory
            .as_ref()
            .map(|given| octets(place, given))
            .transpose()?;
        Ok(policy)
    }
}

impl Paths {
    fn check(&self, place: Place<'_>) -> Files {
        let path = |given: &Option<Text>, usual: &str| match given {
            Some(given) => place.beside(given.get_ref()),
            None => PathBuf::from(usual),
        };
        Files {
            state: path(&self.state, "/var/lib/iax2-natcheck/watch.json"),
            incidents: path(&self.incidents, "/var/lib/iax2-natcheck/incidents.jsonl"),
            socket: path(&self.socket, "/run/iax2-natcheck/watch.sock"),
        }
    }
}

impl Measured {
    fn check(&self, place: Place<'_>) -> Result<Metrics, ConfigError> {
        let listen = match &self.listen {
            Some(given) => {
                let address = socket(place, "listen", given)?;
                if !address.ip().is_loopback() {
                    return Err(place.at(
                        given,
                        "metrics are for this host alone; write 127.0.0.1:9469 or [::1]:9469, and let \
                         a proxy carry them further",
                    ));
                }
                Some(address)
            }
            None => None,
        };
        let textfile = self.textfile.as_ref();
        Ok(Metrics {
            listen,
            textfile: textfile.map(|file| place.beside(file.get_ref())),
        })
    }
}
