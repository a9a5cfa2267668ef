//! The link-layer addresses that the kernel knows of its neighbours.

use std::net::IpAddr;

use netlink_packet_route::{
    RouteNetlinkMessage,
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage},
};
use nix::sys::socket::SockProtocol;

use crate::os::{
    OsError,
    netlink::{Netlink, Part},
};

/// The link-layer address of a neighbour on an interface; `None` where the kernel has none.
///
/// # Errors
///
/// [`OsError::Netlink`] where the kernel does not tell.
pub fn neighbour(link: u32, ip: IpAddr) -> Result<Option<[u8; 6]>, OsError> {
    let failed = |source| OsError::Netlink {
        what: "the neighbours cannot be read",
        source,
    };
    let mut netlink = Netlink::open(SockProtocol::NetlinkRoute, 0).map_err(failed)?;
    let question = RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default());
    let mut found = None;
    netlink
        .dump(&question, |part| match part {
            Part::Begin => found = None,
            Part::One(RouteNetlinkMessage::NewNeighbour(message))
                if message.header.ifindex == link && is(&message, ip) =>
            {
                found = found.or_else(|| address(&message));
            }
            Part::One(_) => {}
        })
        .map_err(failed)?;
    Ok(found)
}

fn is(message: &NeighbourMessage, ip: IpAddr) -> bool {
    message
        .attributes
        .iter()
        .any(|attribute| match (attribute, ip) {
            (NeighbourAttribute::Destination(NeighbourAddress::Inet(its)), IpAddr::V4(ip)) => {
                *its == ip
            }
            (NeighbourAttribute::Destination(NeighbourAddress::Inet6(its)), IpAddr::V6(ip)) => {
                *its == ip
            }
            _ => false,
        })
}

fn address(message: &NeighbourMessage) -> Option<[u8; 6]> {
    message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            NeighbourAttribute::LinkLayerAddress(octets) => octets.as_slice().try_into().ok(),
            _ => None,
        })
}
