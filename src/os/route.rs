//! Links, addresses and routes of this network namespace, their changes, and the way that the
//! kernel would take. No rights are needed.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage},
    link::{LinkAttribute, LinkFlags, LinkMessage},
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteType},
};
use nix::sys::socket::SockProtocol;

use crate::os::{
    OsError,
    netlink::{Netlink, Part},
};

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number for it.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// It is set up, and has a carrier.
    pub up: bool,
    /// It leads to one peer only, as PPP does.
    pub point_to_point: bool,
    /// It is the host's own loop.
    pub loopback: bool,
}

/// An address of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The number of the interface that has it.
    pub link: u32,
    /// The address.
    pub ip: IpAddr,
    /// The length of its prefix.
    pub prefix: u8,
    /// The address of the one peer, on a link that leads to one.
    pub peer: Option<IpAddr>,
    /// How long it is valid yet; `None` for one that does not expire.
    pub valid: Option<Duration>,
}

/// A route to hosts beyond this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where it leads: the first address and the length of the prefix.
    pub destination: (IpAddr, u8),
    /// The numbers of the interfaces it leads through; several share the load.
    pub links: Vec<u32>,
    /// The lower one wins.
    pub metric: u32,
    /// The table it is in; 254 is the main one.
    pub table: u32,
    /// A DHCP client has set it.
    pub by_dhcp: bool,
}

/// The table of routes that is looked at where no rule says otherwise (`RT_TABLE_MAIN`).
const MAIN: u32 = 254;

impl Route {
    /// Whether it leads everywhere.
    #[must_use]
    pub const fn is_default(&self) -> bool {
        self.destination.1 == 0
    }

    /// Whether it is in the main table.
    #[must_use]
    pub const fn is_main(&self) -> bool {
        self.table == MAIN
    }
}

/// The way that the kernel would take to somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// The number of the interface.
    pub link: u32,
    /// The address that a packet of this host's own would get.
    pub source: Option<IpAddr>,
    /// The next router; `None` where the destination is on the link.
    pub gateway: Option<IpAddr>,
}

/// What routing may look at besides the destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passing {
    /// Where the packet comes from, and the number of the interface it comes in by.
    pub from: Option<(IpAddr, u32)>,
    /// The mark of the packet.
    pub mark: u32,
    /// Source and destination port of UDP.
    pub ports: Option<(u16, u16)>,
}

/// The tables of links, addresses and routes.
#[derive(Debug)]
pub struct Routing {
    netlink: Netlink,
}

/// Multicast groups: links, addresses and routes of both families (rtnetlink(7)), as a mask.
const GROUPS: u32 = (1 << 0) | (1 << 4) | (1 << 6) | (1 << 8) | (1 << 10);
/// `INFINITY_LIFE_TIME` of `linux/rtnetlink.h`: does not expire.
const FOR_EVER: u32 = u32::MAX;

impl Routing {
    /// Opens the tables.
    ///
    /// # Errors
    ///
    /// [`OsError::Netlink`] where the kernel grants no socket.
    pub fn open() -> Result<Self, OsError> {
        Netlink::open(SockProtocol::NetlinkRoute, 0)
            .map(|netlink| Self { netlink })
            .map_err(|source| OsError::Netlink {
                what: "the kernel's routes cannot be asked for",
                source,
            })
    }

    /// All interfaces, by number.
    ///
    /// # Errors
    ///
    /// [`OsError::Netlink`] where the kernel does not tell.
    pub fn links(&mut self) -> Result<Vec<Link>, OsError> {
        let question = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let mut links = self.all("the interfaces cannot be read", &question, |answer| {
            let RouteNetlinkMessage::NewLink(message) = answer else {
                return None;
            };
            link(&message)
        })?;
        links.sort_by_key(|link| link.index);
        Ok(links)
    }

    /// All addresses, by interface.
    ///
    /// # Errors
    ///
    /// [`OsError::Netlink`] where the kernel does not tell.
    pub fn addresses(&mut self) -> Result<Vec<Address>, OsError> {
        let question = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let mut addresses = self.all("the addresses cannot be read", &question, |answer| {
            let RouteNetlinkMessage::NewAddress(message) = answer else {
                return None;
            };
            address(&message)
        })?;
        addresses.sort_by_key(|address| (address.link, address.ip));
        Ok(addresses)
    }

    /// All routes to other hosts, of both families and all tables; those to the host itself, to
    /// groups and to nowhere are left out.
    ///
    /// # Errors
    ///
    /// [`OsError::Netlink`] where the kernel does not tell.
    pub fn routes(&mut self) -> Result<Vec<Route>, OsError> {
        let mut routes = vec![];
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RouteMessage::default();
            message.header.address_family = family;
            let question = RouteNetlinkMessage::GetRoute(message);
            routes.extend(self.all("the routes cannot be read", &question, |answer| {
                let RouteNetlinkMessage::NewRoute(message) = answer else {
                    return None;
                };
                route(&message)
            })?);
        }
        routes.sort_by_key(|route| (route.destination, route.table, route.metric));
        Ok(routes)
    }

    /// The way to a host; `None` where there is none now.
    ///
    /// # Errors
    ///
    /// [`OsError::Netlink`] where the kernel does not tell.
    pub fn way(&mut self, to: IpAddr, passing: Passing) -> Result<Option<Way>, OsError> {
        if let Some(from) = passing.from
            && let Ok(Some(way)) = self.ask_way(to, Some(from), passing)
        {
            return Ok(Some(way));
        }
        // A host that passes nothing on, or a source that it would not take: without the source,
        // which only its own packets could have.
        self.ask_way(to, None, passing)
            .map_err(|source| OsError::Netlink {
                what: "the way to a host cannot be asked for",
                source,
            })
    }

    fn ask_way(
        &mut self,
        to: IpAddr,
        from: Option<(IpAddr, u32)>,
        passing: Passing,
    ) -> io::Result<Option<Way>> {
        const UDP: u8 = 17;
        let mut message = RouteMessage::default();
        let (family, length) = family(to);
        message.header.address_family = family;
        message.header.destination_prefix_length = length;
        message.attributes = vec![RouteAttribute::Destination(to.into())];
        if let Some((source, link)) = from {
            message.header.source_prefix_length = length;
            message
                .attributes
                .push(RouteAttribute::Source(source.into()));
            message.attributes.push(RouteAttribute::Iif(link));
        }
        if passing.mark != 0 {
            message.attributes.push(RouteAttribute::Mark(passing.mark));
        }
        if let Some((source, destination)) = passing.ports {
            message.attributes.push(RouteAttribute::IpProto(UDP));
            message.attributes.push(RouteAttribute::Sport(source));
            message.attributes.push(RouteAttribute::Dport(destination));
        }
        match self.netlink.ask(RouteNetlinkMessage::GetRoute(message)) {
            Ok(Some(RouteNetlinkMessage::NewRoute(answer))) => Ok(way(&answer)),
            Ok(_) => Ok(None),
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(
                        nix::libc::ENETUNREACH
                            | nix::libc::EHOSTUNREACH
                            | nix::libc::EACCES
                            | nix::libc::EINVAL
                    )
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn all<T>(
        &mut self,
        what: &'static str,
        question: &RouteNetlinkMessage,
        read: impl Fn(RouteNetlinkMessage) -> Option<T>,
    ) -> Result<Vec<T>, OsError> {
        let mut found = vec![];
        self.netlink
            .dump(question, |part| match part {
                Part::Begin => found.clear(),
                Part::One(answer) => found.extend(read(answer)),
            })
            .map_err(|source| OsError::Netlink { what, source })?;
        Ok(found)
    }
}

/// Tells when links, addresses or routes have changed.
#[derive(Debug)]
pub struct Changes {
    netlink: Netlink,
}

impl Changes {
    /// Begins to listen.
    ///
    /// # Errors
    ///
    /// [`OsError::Netlink`] where the kernel grants no socket.
    pub fn open() -> Result<Self, OsError> {
        Netlink::open(SockProtocol::NetlinkRoute, GROUPS)
            .map(|netlink| Self { netlink })
            .map_err(|source| OsError::Netlink {
                what: "changes of routes and addresses cannot be watched",
                source,
            })
    }

    /// Whether something has changed since it was asked last, without waiting. Where notices were
    /// lost, something has.
    ///
    /// # Errors
    ///
    /// [`OsError::Netlink`] where the kernel ends the talk.
    pub fn seen(&mut self) -> Result<bool, OsError> {
        let mut seen = false;
        loop {
            match self.netlink.notices(|_, _: RouteNetlinkMessage| ()) {
                Ok(true) => seen = true,
                Ok(false) => return Ok(seen),
                Err(error) if error.raw_os_error() == Some(nix::libc::ENOBUFS) => seen = true,
                Err(source) => {
                    return Err(OsError::Netlink {
                        what: "changes of routes and addresses cannot be read",
                        source,
                    });
                }
            }
        }
    }
}

impl AsFd for Changes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.netlink.as_fd()
    }
}

fn family(ip: IpAddr) -> (AddressFamily, u8) {
    match ip {
        IpAddr::V4(_) => (AddressFamily::Inet, 32),
        IpAddr::V6(_) => (AddressFamily::Inet6, 128),
    }
}

fn link(message: &LinkMessage) -> Option<Link> {
    let name = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name.clone()),
            _ => None,
        })?;
    let flags = message.header.flags;
    Some(Link {
        index: message.header.index,
        name,
        up: flags.contains(LinkFlags::Up | LinkFlags::LowerUp),
        point_to_point: flags.contains(LinkFlags::Pointopoint),
        loopback: flags.contains(LinkFlags::Loopback),
    })
}

fn address(message: &AddressMessage) -> Option<Address> {
    let (mut local, mut other, mut valid) = (None, None, None);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Address(ip) => other = Some(*ip),
            AddressAttribute::CacheInfo(info) if info.ifa_valid != FOR_EVER => {
                valid = Some(Duration::from_secs(u64::from(info.ifa_valid)));
            }
            _ => {}
        }
    }
    // Where both are there and differ, the other one is the peer's; IPv6 mostly has no local one.
    let ip = local.or(other)?;
    Some(Address {
        link: message.header.index,
        ip,
        prefix: message.header.prefix_len,
        peer: other.filter(|other| *other != ip),
        valid,
    })
}

fn route(message: &RouteMessage) -> Option<Route> {
    if message.header.kind != RouteType::Unicast {
        return None;
    }
    let any = match message.header.address_family {
        AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    let mut route = Route {
        destination: (any, message.header.destination_prefix_length),
        links: vec![],
        metric: 0,
        table: message.header.table.into(),
        by_dhcp: message.header.protocol == RouteProtocol::Dhcp,
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(to) => route.destination.0 = ip(to)?,
            RouteAttribute::Oif(link) => route.links.push(*link),
            RouteAttribute::MultiPath(hops) => {
                route
                    .links
                    .extend(hops.iter().map(|hop| hop.interface_index));
            }
            RouteAttribute::Priority(metric) => route.metric = *metric,
            RouteAttribute::Table(table) => route.table = *table,
            _ => {}
        }
    }
    Some(route)
}

fn way(message: &RouteMessage) -> Option<Way> {
    // A route to the host itself, to a group or to nowhere is no way to somebody else.
    if message.header.kind != RouteType::Unicast {
        return None;
    }
    let (mut link, mut source, mut gateway) = (None, None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(index) => link = Some(*index),
            RouteAttribute::PrefSource(from) => source = ip(from),
            RouteAttribute::Gateway(next) => gateway = ip(next),
            _ => {}
        }
    }
    Some(Way {
        link: link?,
        source,
        gateway,
    })
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some((*ip).into()),
        RouteAddress::Inet6(ip) => Some((*ip).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loop_of_this_host_is_there_without_any_rights() {
        let mut routing = Routing::open().unwrap();
        let links = routing.links().unwrap();
        let lo = links.iter().find(|link| link.loopback).unwrap();
        assert_eq!(lo.name, "lo");
        let addresses = routing.addresses().unwrap();
        let own = addresses.iter().find(|address| address.link == lo.index);
        assert!(own.unwrap().ip.is_loopback());
        assert!(
            routing
                .routes()
                .unwrap()
                .iter()
                .all(|route| !route.links.is_empty())
        );
        let localhost = Ipv4Addr::LOCALHOST.into();
        assert_eq!(routing.way(localhost, Passing::default()).unwrap(), None);
        assert!(!Changes::open().unwrap().seen().unwrap());
    }
}
