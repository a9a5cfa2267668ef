//! From what the user wrote to addresses: `HOST[:PORT]`, SRV records, and the system's resolver.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    str::FromStr,
    time::Duration,
};

use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
    proto::rr::RData,
};

use crate::{net::NetError, types::PeerAddr};

/// How long SRV records are waited for before the host's own addresses are taken.
const SRV_PATIENCE: Duration = Duration::from_secs(3);

/// A kind of server: its port, and its name in SRV records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service {
    /// The port of servers that name none.
    pub port: u16,
    /// The label before the host's name.
    pub srv: &'static str,
}

impl Service {
    /// An IAX2 provider (RFC 5456 §8; SRV label as deployed).
    pub const IAX2: Self = Self {
        port: 4569,
        srv: "_iax._udp",
    };
    /// A STUN server (RFC 8489 §8.1, §18.6).
    pub const STUN: Self = Self {
        port: 3478,
        srv: "_stun._udp",
    };
}

/// A server as the user names it: `HOST` or `HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The host.
    pub host: Host,
    /// The port, if one was given.
    pub port: Option<u16>,
}

/// The host part of a [`Target`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// An IPv4 or IPv6 address.
    Address(IpAddr),
    /// A name, without a final dot.
    Name(String),
}

impl FromStr for Target {
    type Err = NetError;

    fn from_str(text: &str) -> Result<Self, NetError> {
        parse(text).map_err(|why| NetError::NoTarget {
            text: text.to_owned(),
            why,
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.host, self.port) {
            (Host::Address(ip), Some(port)) => SocketAddr::new(*ip, port).fmt(f),
            (Host::Address(ip), None) => ip.fmt(f),
            (Host::Name(name), Some(port)) => write!(f, "{name}:{port}"),
            (Host::Name(name), None) => f.write_str(name),
        }
    }
}

fn parse(text: &str) -> Result<Target, &'static str> {
    let v6 = |ip: &str| {
        ip.parse::<Ipv6Addr>()
            .map(|ip| Host::Address(IpAddr::from(ip).to_canonical()))
    };
    if let Some(rest) = text.strip_prefix('[') {
        let (ip, rest) = rest.split_once(']').ok_or("`[` has no `]`")?;
        let host = v6(ip).map_err(|_| "between `[` and `]` stands no IPv6 address")?;
        let port = match rest.strip_prefix(':') {
            Some(digits) => Some(port(digits)?),
            None if rest.is_empty() => None,
            None => return Err("after `]` only `:PORT` may follow"),
        };
        return Ok(Target { host, port });
    }
    if let Ok(host) = v6(text) {
        return Ok(Target { host, port: None });
    }
    let (name, port) = match text.split_once(':') {
        Some((_, rest)) if rest.contains(':') => return Err("it is no IPv6 address either"),
        Some((name, digits)) => (name, Some(port(digits)?)),
        None => (text, None),
    };
    let host = match name.parse::<IpAddr>() {
        Ok(ip) => Host::Address(ip),
        Err(_) => Host::Name(host_name(name)?),
    };
    Ok(Target { host, port })
}

fn port(digits: &str) -> Result<u16, &'static str> {
    if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err("the port is no number");
    }
    match digits.parse() {
        Ok(0) | Err(_) => Err("the port is not between 1 and 65535"),
        Ok(port) => Ok(port),
    }
}

/// Checks a name by RFC 1123 §2.1, and lets the underscore pass as resolvers do.
fn host_name(name: &str) -> Result<String, &'static str> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() {
        return Err("the name is empty");
    }
    if !name.is_ascii() {
        return Err("a name with other than ASCII letters has an ASCII form (xn--…)");
    }
    if name.len() > 253 {
        return Err("the name is longer than 253 characters");
    }
    let labels = || name.split('.');
    if labels().any(|label| label.is_empty() || label.len() > 63) {
        return Err("a part of the name between two dots is empty or longer than 63 characters");
    }
    if !name
        .bytes()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_'))
    {
        return Err("a name has letters, digits, hyphens and dots only");
    }
    if labels().any(|label| label.starts_with('-') || label.ends_with('-')) {
        return Err("no part of a name begins or ends with a hyphen");
    }
    if labels()
        .next_back()
        .is_some_and(|last| last.bytes().all(|c| c.is_ascii_digit()))
    {
        return Err("it looks like an IPv4 address and is none");
    }
    Ok(name.to_owned())
}

/// An address of a server, and how it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The address.
    pub address: PeerAddr,
    /// How it was found.
    pub via: Via,
}

/// How an address was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Via {
    /// The user wrote it.
    Literal,
    /// It is an address of the host (A, AAAA, or the hosts file).
    Host,
    /// An SRV record names this host.
    Srv(String),
}

/// Where SRV records are asked for. Addresses of names always come from the system's resolver.
#[derive(Clone)]
pub struct Dns(Option<TokioResolver>);

impl Dns {
    /// The name servers of this host; none, and so no SRV records, where its configuration cannot be
    /// read.
    #[must_use]
    pub fn system() -> Self {
        let resolver = TokioResolver::builder_tokio().and_then(|mut builder| {
            builder.options_mut().timeout = SRV_PATIENCE / 2;
            builder.build()
        });
        Self(
            resolver
                .inspect_err(|error| tracing::debug!(%error, "no SRV records will be asked for"))
                .ok(),
        )
    }

    /// The name servers at these addresses.
    #[must_use]
    pub fn servers(servers: &[SocketAddr]) -> Self {
        let mut config = ResolverConfig::from_parts(None, Vec::new(), Vec::new());
        for server in servers {
            let mut connection = ConnectionConfig::udp();
            connection.port = server.port();
            config.add_name_server(NameServerConfig::new(server.ip(), true, vec![connection]));
        }
        let provider = TokioRuntimeProvider::default();
        let mut builder = TokioResolver::builder_with_config(config, provider);
        builder.options_mut().timeout = SRV_PATIENCE / 2;
        Self(builder.build().ok())
    }

    /// The SRV records of `name`; empty where there are none, or no answer comes in time.
    async fn srv(&self, name: &str, service: Service) -> Vec<Record> {
        let Some(resolver) = &self.0 else {
            return Vec::new();
        };
        let question = format!("{}.{name}.", service.srv);
        let lookup = resolver.srv_lookup(question.as_str());
        let answers = match tokio::time::timeout(SRV_PATIENCE, lookup).await {
            Ok(Ok(answers)) => answers,
            Ok(Err(error)) => {
                tracing::debug!(%error, question, "no SRV record");
                return Vec::new();
            }
            Err(_) => {
                tracing::debug!(question, "no answer in time");
                return Vec::new();
            }
        };
        answers
            .answers()
            .iter()
            .filter_map(|answer| match &answer.data {
                RData::SRV(srv) => Some(Record {
                    priority: srv.priority,
                    weight: srv.weight,
                    port: srv.port,
                    host: srv.target.to_ascii().trim_end_matches('.').to_owned(),
                }),
                _ => None,
            })
            .collect()
    }
}

impl fmt::Debug for Dns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Dns").field(&self.0.is_some()).finish()
    }
}

/// One SRV record (RFC 2782); the host is empty where the record says "not here".
#[derive(Clone, Debug, PartialEq, Eq)]
struct Record {
    priority: u16,
    weight: u16,
    port: u16,
    host: String,
}

/// The addresses of `target`, the best first: what the user wrote; else, if no port was given, what
/// the SRV records of `service` name; else the host's own addresses. Must run inside a tokio
/// runtime.
///
/// # Errors
///
/// [`NetError::Unresolved`] where no address is found, [`NetError::NoService`] where the DNS says
/// that there is no such service.
pub async fn resolve(
    target: &Target,
    service: Service,
    dns: &Dns,
) -> Result<Vec<Resolved>, NetError> {
    let port = target.port.unwrap_or(service.port);
    let name = match &target.host {
        Host::Address(ip) => {
            return Ok(vec![Resolved {
                address: PeerAddr::new(SocketAddr::new(*ip, port)),
                via: Via::Literal,
            }]);
        }
        Host::Name(name) => name,
    };
    let records = match target.port {
        Some(_) => Vec::new(),
        None => dns.srv(name, service).await,
    };
    if records.is_empty() {
        return addresses(name, port, &Via::Host).await;
    }
    if records.iter().all(|record| record.host.is_empty()) {
        return Err(NetError::NoService {
            name: name.clone(),
            service: service.srv,
        });
    }
    let mut found: Vec<Resolved> = Vec::new();
    let mut failure = None;
    for record in in_order(records, |total| rand::random_range(0..=total)) {
        match addresses(&record.host, record.port, &Via::Srv(record.host.clone())).await {
            Ok(more) => {
                for resolved in more {
                    if !found.iter().any(|known| known.address == resolved.address) {
                        found.push(resolved);
                    }
                }
            }
            Err(error) => failure = Some(error),
        }
    }
    match failure {
        Some(error) if found.is_empty() => Err(error),
        _ => Ok(found),
    }
}

async fn addresses(name: &str, port: u16, via: &Via) -> Result<Vec<Resolved>, NetError> {
    let unresolved = |reason: String| NetError::Unresolved {
        name: name.to_owned(),
        reason,
    };
    let found: Vec<Resolved> = tokio::net::lookup_host((name, port))
        .await
        .map_err(|error| {
            let reason = error.to_string();
            let brief = reason.rsplit(": ").next().map(str::to_lowercase);
            unresolved(brief.unwrap_or(reason))
        })?
        .map(|address| Resolved {
            address: PeerAddr::new(address),
            via: via.clone(),
        })
        .collect();
    if found.is_empty() {
        return Err(unresolved("it has none".to_owned()));
    }
    Ok(found)
}

/// Puts records into the order in which they are to be tried: lower priorities first, and within one
/// priority at random by weight (RFC 2782, "Weight"). `pick` chooses a number from 0 to its argument.
fn in_order(records: Vec<Record>, mut pick: impl FnMut(u32) -> u32) -> Vec<Record> {
    let mut priorities: BTreeMap<u16, Vec<Record>> = BTreeMap::new();
    for record in records.into_iter().filter(|record| !record.host.is_empty()) {
        priorities.entry(record.priority).or_default().push(record);
    }
    let mut ordered = Vec::new();
    for mut left in priorities.into_values() {
        left.sort_by(|a, b| (a.weight, &a.host, a.port).cmp(&(b.weight, &b.host, b.port)));
        while !left.is_empty() {
            let picked = pick(left.iter().map(|record| u32::from(record.weight)).sum());
            let mut sum = 0;
            let at = left.iter().position(|record| {
                sum += u32::from(record.weight);
                sum >= picked
            });
            ordered.push(left.remove(at.unwrap_or(0)));
        }
    }
    ordered
}

#[cfg(test)]
mod tests;
