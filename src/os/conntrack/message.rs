//! Questions about connections as netlink messages, and entries out of them.
//!
//! Numbers are those of `linux/netfilter/nfnetlink_conntrack.h`.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use netlink_packet_core::{DefaultNla, Emitable as _, Nla as _};
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
    conntrack::{
        ConntrackAttribute, ConntrackMessage, IPTuple, ProtoTuple, Protocol, Status, Tuple,
    },
};

use super::{Entry, Flow};

const IPCTNL_MSG_CT_GET: u8 = 1;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;
const CTA_FILTER: u16 = 25;
/// The attribute holds attributes (`NLA_F_NESTED`).
const NESTED: u16 = 0x8000;
/// `CTA_FILTER_ORIG_FLAGS`: which fields of `CTA_TUPLE_ORIG` an entry has to have.
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
/// The fields, as bits; their numbers are the kernel's own (`nf_internals.h`).
const FILTER_PROTOCOL: u32 = 1 << 3;
const FILTER_SOURCE_PORT: u32 = 1 << 4;
const FILTER_DESTINATION_PORT: u32 = 1 << 5;

/// Which port of the first packet is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PortOf {
    Source,
    Destination,
}

impl PortOf {
    /// The port by which this question finds the entry; `None` where the other question does.
    pub(super) fn finds(self, entry: &Entry) -> Option<u16> {
        let source = entry.original.source.port();
        let destination = entry.original.destination.port();
        match self {
            Self::Destination => Some(destination),
            // An entry with the port at both ends is found by the first question already.
            Self::Source => (source != destination).then_some(source),
        }
    }
}

/// The kernel filters one family at a time.
pub(super) const FAMILIES: [NetfilterProtoFamily; 2] =
    [NetfilterProtoFamily::IPv4, NetfilterProtoFamily::IPv6];

/// Asks for all entries of UDP with this port. A kernel that does not know the filter tells all that
/// it has of the family.
pub(super) fn dump(family: NetfilterProtoFamily, which: PortOf, port: u16) -> NetfilterMessage {
    let (field, flag) = match which {
        PortOf::Source => (ProtoTuple::SourcePort(port), FILTER_SOURCE_PORT),
        PortOf::Destination => (ProtoTuple::DestinationPort(port), FILTER_DESTINATION_PORT),
    };
    let tuple = Tuple::Proto(vec![ProtoTuple::Protocol(Protocol::Udp), field]);
    let mut proto = vec![0; tuple.buffer_len()];
    tuple.emit(&mut proto);
    let fields = DefaultNla::new(
        CTA_FILTER_ORIG_FLAGS,
        (FILTER_PROTOCOL | flag).to_ne_bytes().to_vec(),
    );
    let mut filter = vec![0; fields.buffer_len()];
    fields.emit(&mut filter);
    // As plain attributes, because the crate's own kind would lose the mark of the nested one.
    message(
        family,
        ConntrackMessage::Other {
            message_type: IPCTNL_MSG_CT_GET,
            attributes: vec![
                DefaultNla::new(CTA_TUPLE_ORIG | NESTED, proto),
                DefaultNla::new(CTA_FILTER | NESTED, filter),
            ],
        },
    )
}

/// Asks for the entry of one flow.
pub(super) fn get(original: Flow, zone: u16) -> NetfilterMessage {
    message(
        family(original),
        ConntrackMessage::Get(named(original, zone)),
    )
}

/// Deletes one entry. The tuple is always there: without it the kernel would empty the table.
pub(super) fn delete(entry: &Entry) -> NetfilterMessage {
    let mut attributes = named(entry.original, entry.zone);
    if let Some(id) = entry.id {
        let id = DefaultNla::new(CTA_ID, id.to_be_bytes().to_vec());
        attributes.push(ConntrackAttribute::Other(id));
    }
    message(family(entry.original), ConntrackMessage::Delete(attributes))
}

fn message(family: NetfilterProtoFamily, message: ConntrackMessage) -> NetfilterMessage {
    NetfilterMessage::new(NetfilterHeader::new(family, 0, 0), message)
}

fn family(flow: Flow) -> NetfilterProtoFamily {
    match flow.source {
        SocketAddr::V4(_) => NetfilterProtoFamily::IPv4,
        SocketAddr::V6(_) => NetfilterProtoFamily::IPv6,
    }
}

fn named(flow: Flow, zone: u16) -> Vec<ConntrackAttribute> {
    let tuple = vec![
        Tuple::Ip(vec![
            IPTuple::SourceAddress(flow.source.ip()),
            IPTuple::DestinationAddress(flow.destination.ip()),
        ]),
        Tuple::Proto(vec![
            ProtoTuple::Protocol(Protocol::Udp),
            ProtoTuple::SourcePort(flow.source.port()),
            ProtoTuple::DestinationPort(flow.destination.port()),
        ]),
    ];
    let mut attributes = vec![ConntrackAttribute::CtaTupleOrig(tuple)];
    if zone != 0 {
        let zone = DefaultNla::new(CTA_ZONE, zone.to_be_bytes().to_vec());
        attributes.push(ConntrackAttribute::Other(zone));
    }
    attributes
}

/// The entry in an answer or notice; `None` where it is about another protocol than UDP.
pub(super) fn entry(message: &NetfilterMessage) -> Option<Entry> {
    let NetfilterMessageInner::Conntrack(
        ConntrackMessage::New(attributes) | ConntrackMessage::Delete(attributes),
    ) = &message.inner
    else {
        return None;
    };
    let (mut original, mut reply) = (None, None);
    let mut status = Status::empty();
    let mut expires = None;
    let (mut mark, mut zone, mut id) = (0, 0, None);
    for attribute in attributes {
        match attribute {
            ConntrackAttribute::CtaTupleOrig(tuple) => original = flow(tuple),
            ConntrackAttribute::CtaTupleReply(tuple) => reply = flow(tuple),
            ConntrackAttribute::CtaStatus(bits) => status = *bits,
            ConntrackAttribute::CtaTimeout(seconds) => {
                expires = Some(Duration::from_secs(u64::from(*seconds)));
            }
            ConntrackAttribute::CtaMark(bits) => mark = *bits,
            ConntrackAttribute::Other(other) => {
                let value = value(other);
                match other.kind() {
                    CTA_ZONE => zone = value.first_chunk().map_or(0, |at| u16::from_be_bytes(*at)),
                    CTA_ID => id = value.first_chunk().map(|at| u32::from_be_bytes(*at)),
                    _ => {}
                }
            }
            _ => {}
        }
    }
    Some(Entry {
        original: original?,
        reply: reply?,
        seen_reply: status.contains(Status::SeenReply),
        assured: status.contains(Status::Assured),
        expires,
        mark,
        zone,
        id,
    })
}

fn value(attribute: &DefaultNla) -> Vec<u8> {
    let mut value = vec![0; attribute.value_len()];
    attribute.emit_value(&mut value);
    value
}

fn flow(tuple: &[Tuple]) -> Option<Flow> {
    let (mut source, mut destination): (Option<IpAddr>, Option<IpAddr>) = (None, None);
    let (mut source_port, mut destination_port, mut protocol) = (None, None, None);
    for part in tuple {
        match part {
            Tuple::Ip(addresses) => {
                for address in addresses {
                    match address {
                        IPTuple::SourceAddress(ip) => source = Some(*ip),
                        IPTuple::DestinationAddress(ip) => destination = Some(*ip),
                        _ => {}
                    }
                }
            }
            Tuple::Proto(fields) => {
                for field in fields {
                    match field {
                        ProtoTuple::Protocol(number) => protocol = Some(*number),
                        ProtoTuple::SourcePort(port) => source_port = Some(*port),
                        ProtoTuple::DestinationPort(port) => destination_port = Some(*port),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    (protocol == Some(Protocol::Udp)).then_some(Flow {
        source: SocketAddr::new(source?, source_port?),
        destination: SocketAddr::new(destination?, destination_port?),
    })
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::ParseableParametrized;

    use super::*;
    use crate::os::conntrack::tests;

    fn octets(message: &NetfilterMessage) -> Vec<u8> {
        let mut octets = vec![0; message.buffer_len()];
        message.emit(&mut octets);
        octets
    }

    #[test]
    fn a_dump_asks_for_udp_and_one_port() {
        let octets = octets(&dump(FAMILIES[0], PortOf::Destination, 4569));
        #[rustfmt::skip]
        let expected = [
            2, 0, 0, 0,                         // IPv4, version 0, no resource
            24, 0, 1, 0x80,                     // CTA_TUPLE_ORIG
            20, 0, 2, 0x80,                     // CTA_TUPLE_PROTO
            5, 0, 1, 0, 17, 0, 0, 0,            // CTA_PROTO_NUM
            6, 0, 3, 0, 0x11, 0xd9, 0, 0,       // CTA_PROTO_DST_PORT 4569
            12, 0, 25, 0x80, 8, 0, 1, 0, 0x28, 0, 0, 0, // CTA_FILTER: protocol, destination port
        ];
        if cfg!(target_endian = "little") {
            assert_eq!(octets, expected);
        }
    }

    #[test]
    fn every_deletion_names_a_tuple_and_what_is_known_of_the_entry() {
        for (source, destination) in [
            ("192.168.1.10:4569", "203.0.113.1:4569"),
            ("[fd00::10]:4569", "[2001:db8::1]:4569"),
        ] {
            for (zone, id) in [(0, None), (7, Some(0x0102_0304))] {
                let entry = Entry {
                    zone,
                    id,
                    ..tests::entry((source, destination), (destination, source))
                };
                let NetfilterMessageInner::Conntrack(ConntrackMessage::Delete(attributes)) =
                    delete(&entry).inner
                else {
                    panic!("no deletion");
                };
                let ConntrackAttribute::CtaTupleOrig(tuple) = &attributes[0] else {
                    panic!("no tuple: the table would be emptied");
                };
                assert_eq!(flow(tuple), Some(entry.original));
                let others = usize::from(zone != 0) + usize::from(id.is_some());
                assert_eq!(attributes.len(), 1 + others);
            }
        }
    }

    #[test]
    fn an_entry_is_read_with_zone_and_id() {
        let mut attributes = named(
            Flow {
                source: "10.0.0.2:4569".parse().unwrap(),
                destination: "192.0.2.1:4569".parse().unwrap(),
            },
            9,
        );
        let ConntrackAttribute::CtaTupleOrig(tuple) = attributes[0].clone() else {
            panic!();
        };
        attributes.push(ConntrackAttribute::CtaTupleReply(tuple));
        attributes.push(ConntrackAttribute::CtaStatus(
            Status::SeenReply | Status::Assured,
        ));
        attributes.push(ConntrackAttribute::CtaTimeout(119));
        attributes.push(ConntrackAttribute::CtaMark(5));
        attributes.push(ConntrackAttribute::Other(DefaultNla::new(
            CTA_ID,
            vec![1, 2, 3, 4],
        )));
        let octets = octets(&message(
            NetfilterProtoFamily::IPv4,
            ConntrackMessage::New(attributes),
        ));
        let read = NetfilterMessage::parse_with_param(&octets, 0x0100).unwrap();
        let entry = entry(&read).unwrap();
        assert_eq!(
            (entry.zone, entry.id, entry.mark),
            (9, Some(0x0102_0304), 5)
        );
        assert!(entry.seen_reply && entry.assured);
        assert_eq!(entry.expires, Some(Duration::from_secs(119)));
    }

    #[test]
    fn other_protocols_are_no_entries() {
        let tuple = |protocol| {
            vec![
                Tuple::Ip(vec![
                    IPTuple::SourceAddress("10.0.0.2".parse().unwrap()),
                    IPTuple::DestinationAddress("10.0.0.3".parse().unwrap()),
                ]),
                Tuple::Proto(vec![
                    ProtoTuple::Protocol(protocol),
                    ProtoTuple::SourcePort(4569),
                    ProtoTuple::DestinationPort(4569),
                ]),
            ]
        };
        assert!(flow(&tuple(Protocol::Udp)).is_some());
        assert_eq!(flow(&tuple(Protocol::Tcp)), None);
        assert_eq!(flow(&[]), None);
    }
}
