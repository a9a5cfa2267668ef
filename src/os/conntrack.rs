//! The kernel's table of connections: read, watched, and freed of single entries.
//!
//! A dump is filtered in the kernel where it can (`CTA_FILTER`, Linux 5.8) and in any case here, and
//! entry by entry, so that the memory needed does not grow with the table. Nothing here can flush a
//! table: the only deletion takes one entry, named by its tuple, zone and id.

mod events;
mod message;
mod proc_file;

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    thread,
    time::Duration,
};

use netlink_packet_netfilter::NetfilterProtoFamily;
use nix::sys::socket::SockProtocol;

use crate::os::{
    OsError,
    netlink::{Netlink, Part},
};
use message::PortOf;

pub use events::{Event, Events};
pub use proc_file::{PROC_FILE, Reading, read_lines};

/// From whom to whom the packets of one direction go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    /// The source.
    pub source: SocketAddr,
    /// The destination.
    pub destination: SocketAddr,
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} → {}", self.source, self.destination)
    }
}

/// One entry of UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The packets that made it, as they came in.
    pub original: Flow,
    /// The answers that it waits for, as they come in. Where no address is translated it is the
    /// other way round of `original`.
    pub reply: Flow,
    /// Packets were seen both ways.
    pub seen_reply: bool,
    /// It is kept with the timer of streams, and not given up when the table is full.
    pub assured: bool,
    /// How long it is kept without a packet from now on, in whole seconds; absent for an entry that
    /// has just gone.
    pub expires: Option<Duration>,
    /// The mark of the connection, which rules set and routing may follow.
    pub mark: u32,
    /// Its zone: a table within the table.
    pub zone: u16,
    /// The kernel's number for it; `None` where the source does not tell.
    pub id: Option<u32>,
}

/// Which entries are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// To or from this port, seen from whoever sent the first packet.
    pub port: u16,
    /// Only with one of these hosts; empty for any.
    pub peers: Vec<IpAddr>,
}

impl Wanted {
    /// Whether an entry is asked for.
    #[must_use]
    pub fn takes(&self, entry: &Entry) -> bool {
        let ports = [
            entry.original.source.port(),
            entry.original.destination.port(),
        ];
        let hosts = [
            entry.original.source.ip(),
            entry.original.destination.ip(),
            entry.reply.source.ip(),
        ];
        ports.contains(&self.port)
            && (self.peers.is_empty() || hosts.iter().any(|host| self.peers.contains(host)))
    }
}

/// The table of the network namespace in which it was opened.
#[derive(Debug)]
pub struct Table {
    netlink: Netlink,
    /// A socket for each question of a dump, so that they can be asked side by side.
    dumps: Vec<(Netlink, NetfilterProtoFamily, PortOf)>,
}

impl Table {
    /// Opens the table.
    ///
    /// # Errors
    ///
    /// [`OsError::Netlink`] where this kernel has no netlink for netfilter,
    /// [`OsError::NotPermitted`] without `CAP_NET_ADMIN`, [`OsError::NoConntrack`] where the kernel
    /// does not track connections.
    pub fn open() -> Result<Self, OsError> {
        let open = || {
            Netlink::open(SockProtocol::NetlinkNetFilter, 0)
                .map_err(|error| failed("the table of connections cannot be opened", error))
        };
        let mut dumps = vec![];
        for family in message::FAMILIES {
            for asked in [PortOf::Destination, PortOf::Source] {
                dumps.push((open()?, family, asked));
            }
        }
        let mut table = Self {
            netlink: open()?,
            dumps,
        };
        // The smallest question there is tells whether any is answered.
        let nobody = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let none = Flow {
            source: nobody,
            destination: nobody,
        };
        table.get(none, 0)?;
        Ok(table)
    }

    /// All entries that are wanted, in order.
    ///
    /// # Errors
    ///
    /// As [`Table::open`].
    pub fn entries(&mut self, wanted: &Wanted) -> Result<Vec<Entry>, OsError> {
        // The kernel's filter joins its fields by "and" alone and takes one family, so there are
        // four questions. Each walks the whole table; on several processors they do so at once.
        let answers: Vec<io::Result<Vec<Entry>>> = thread::scope(|scope| {
            let asked: Vec<_> = self
                .dumps
                .iter_mut()
                .map(|(netlink, family, asked)| {
                    scope.spawn(|| dumped(netlink, *family, *asked, wanted))
                })
                .collect();
            asked
                .into_iter()
                .map(|thread| {
                    thread
                        .join()
                        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                })
                .collect()
        });
        let mut entries = vec![];
        for answer in answers {
            entries.extend(
                answer.map_err(|error| failed("the table of connections cannot be read", error))?,
            );
        }
        entries.sort_by_key(|entry: &Entry| (entry.original, entry.zone));
        Ok(entries)
    }

    /// The entry that a packet of this flow and zone would meet; `None` where there is none.
    ///
    /// # Errors
    ///
    /// As [`Table::open`].
    pub fn get(&mut self, original: Flow, zone: u16) -> Result<Option<Entry>, OsError> {
        match self.netlink.ask(message::get(original, zone)) {
            Ok(answer) => Ok(answer.as_ref().and_then(message::entry)),
            Err(error) if error.raw_os_error() == Some(nix::libc::ENOENT) => Ok(None),
            Err(error) => Err(failed("the table of connections cannot be read", error)),
        }
    }

    /// Deletes exactly this entry; false where it has gone by itself, or another has taken its
    /// place.
    ///
    /// # Errors
    ///
    /// As [`Table::open`].
    pub fn delete(&mut self, entry: &Entry) -> Result<bool, OsError> {
        // The kernel's number may come again with the next entry of the same flow, which translates
        // otherwise if it was worth making.
        let now = self.get(entry.original, entry.zone)?;
        if now.is_none_or(|now| now.reply != entry.reply) {
            return Ok(false);
        }
        match self
            .netlink
            .ask::<netlink_packet_netfilter::NetfilterMessage>(message::delete(entry))
        {
            Ok(_) => Ok(true),
            Err(error) if error.raw_os_error() == Some(nix::libc::ENOENT) => Ok(false),
            Err(error) => Err(failed("the entry cannot be deleted", error)),
        }
    }
}

/// The answers to one question.
fn dumped(
    netlink: &mut Netlink,
    family: NetfilterProtoFamily,
    asked: PortOf,
    wanted: &Wanted,
) -> io::Result<Vec<Entry>> {
    let mut entries = vec![];
    let question = message::dump(family, asked, wanted.port);
    netlink.dump(&question, |part| match part {
        Part::Begin => entries.clear(),
        Part::One(answer) => entries.extend(
            message::entry(&answer)
                .filter(|entry| asked.finds(entry) == Some(wanted.port))
                .filter(|entry| wanted.takes(entry)),
        ),
    })?;
    Ok(entries)
}

/// What the kernel's refusal means.
fn failed(what: &'static str, error: io::Error) -> OsError {
    match error.raw_os_error() {
        Some(nix::libc::EPERM | nix::libc::EACCES) => OsError::NotPermitted { what },
        // What nfnetlink says of a part that is not loaded, and a kernel without nfnetlink.
        Some(nix::libc::EINVAL | nix::libc::EPROTONOSUPPORT | nix::libc::EOPNOTSUPP) => {
            OsError::NoConntrack { what }
        }
        _ => OsError::Netlink {
            what,
            source: error,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn entry(original: (&str, &str), reply: (&str, &str)) -> Entry {
        let flow = |(source, destination): (&str, &str)| Flow {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
        };
        Entry {
            original: flow(original),
            reply: flow(reply),
            seen_reply: false,
            assured: false,
            expires: Some(Duration::from_secs(29)),
            mark: 0,
            zone: 0,
            id: None,
        }
    }

    #[test]
    fn an_entry_is_wanted_by_port_and_peer() {
        let entry = entry(
            ("192.168.1.10:4569", "203.0.113.1:5000"),
            ("203.0.113.1:5000", "198.51.100.7:4569"),
        );
        let rows = [
            (4569, vec![], true),
            (5000, vec![], true),
            (4570, vec![], false),
            (4569, vec!["203.0.113.1"], true),
            (4569, vec!["203.0.113.2", "192.168.1.10"], true),
            (4569, vec!["203.0.113.2"], false),
        ];
        for (port, peers, taken) in rows {
            let wanted = Wanted {
                port,
                peers: peers.iter().map(|peer| peer.parse().unwrap()).collect(),
            };
            assert_eq!(wanted.takes(&entry), taken, "{wanted:?}");
        }
    }

    #[test]
    fn refusals_say_what_to_do() {
        let rows = [
            (nix::libc::EPERM, "CAP_NET_ADMIN"),
            (nix::libc::EINVAL, "nf_conntrack_netlink"),
            (nix::libc::ENOMEM, "Cannot allocate"),
        ];
        for (code, words) in rows {
            let error = failed("it cannot be read", io::Error::from_raw_os_error(code));
            assert!(error.to_string().contains(words), "{error}");
            assert!(error.to_string().contains("it cannot be read"), "{error}");
        }
    }
}
