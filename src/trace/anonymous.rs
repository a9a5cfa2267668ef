//! Takes people out of a capture: addresses, names, numbers, proofs and audio are replaced, each the same way
//! wherever it stands, so that the capture means what it meant.
//!
//! Kept are times, ports, call numbers, clocks, sequence numbers, lengths, kinds of frames, causes and settings.
//! Whatever is not known to be harmless is replaced.

use std::{
    collections::BTreeMap,
    hash::BuildHasher,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use super::hash::Keyed;
use crate::{
    types::MappedAddr,
    wire::iax2::{
        command::FrameType,
        frame::{FULL_HEADER, Frame, FullFrame, MINI_HEADER, TRUNK_HEADER, VIDEO_HEADER},
        ie::{IeId, RawIe},
        ie_value::{read_sockaddr, write_sockaddr},
        trunk::MetaTrunk,
    },
};

/// Silence of µ-law.
const SILENCE: u8 = 0xff;

/// Elements whose values say nothing of people.
const HARMLESS: [IeId; 33] = [
    IeId::Capability,
    IeId::Format,
    IeId::Version,
    IeId::AdsiCpe,
    IeId::AuthMethods,
    IeId::Refresh,
    IeId::DpStatus,
    IeId::CallNo,
    IeId::IaxUnknown,
    IeId::MsgCount,
    IeId::AutoAnswer,
    IeId::TransferId,
    IeId::DateTime,
    IeId::FirmwareVer,
    IeId::ProvVer,
    IeId::CallingPres,
    IeId::CallingTon,
    IeId::CallingTns,
    IeId::SamplingRate,
    IeId::CauseCode,
    IeId::Encryption,
    IeId::CodecPrefs,
    IeId::RrJitter,
    IeId::RrLoss,
    IeId::RrPkts,
    IeId::RrDelay,
    IeId::RrDropped,
    IeId::RrOoo,
    IeId::Capability2,
    IeId::Format2,
    IeId::CallingAni2,
    IeId::Language,
    IeId::FwBlockDesc,
];

/// Causes in words that deployed peers give, and that name nobody.
const CAUSES: [&[u8]; 8] = [
    b"Registration Refused",
    b"No authority found",
    b"No such context/extension",
    b"Unable to negotiate codec",
    b"Normal Clearing",
    b"Normal Unspecified",
    b"User busy",
    b"Dumped Call",
];

/// Replaces what belongs to people, by a key that is kept nowhere.
#[derive(Debug)]
pub struct Anonymizer {
    keyed: Keyed,
    hosts: BTreeMap<IpAddr, IpAddr>,
}

impl Anonymizer {
    /// Takes its key from chance.
    #[must_use]
    pub fn new(seed: [u64; 2]) -> Self {
        Self {
            keyed: Keyed::new(seed),
            hosts: BTreeMap::new(),
        }
    }

    /// An address that stands for this one: private for private, public for public; the port stays.
    pub fn address(&mut self, address: SocketAddr) -> SocketAddr {
        SocketAddr::new(self.host(address.ip()), address.port())
    }

    /// The same for a host.
    pub fn host(&mut self, host: IpAddr) -> IpAddr {
        if let Some(known) = self.hosts.get(&host) {
            return *known;
        }
        let number = u32::try_from(self.hosts.len()).unwrap_or(u32::MAX);
        let other = match host {
            IpAddr::V4(v4) => {
                // Private addresses stay private; the others go to the networks for tests (RFC 2544).
                let begin = if v4.is_private() {
                    Ipv4Addr::new(10, 0, 0, 1)
                } else {
                    Ipv4Addr::new(198, 18, 0, 1)
                };
                let room = if v4.is_private() {
                    0x00ff_ffff
                } else {
                    0x0001_ffff
                };
                IpAddr::V4(Ipv4Addr::from_bits(begin.to_bits() + number % room))
            }
            IpAddr::V6(v6) => {
                let begin = if v6.is_unique_local() {
                    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1)
                } else {
                    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)
                };
                IpAddr::V6(Ipv6Addr::from_bits(begin.to_bits() + u128::from(number)))
            }
        };
        self.hosts.insert(host, other);
        other
    }

    /// The datagram without people; as long as before.
    #[must_use]
    pub fn datagram(&mut self, datagram: &[u8]) -> Vec<u8> {
        match Frame::decode(datagram) {
            Ok(Frame::Full(full)) => self.full(&full, datagram),
            Ok(Frame::Mini(_)) => silenced(datagram, MINI_HEADER),
            Ok(Frame::Video(_)) => silenced(datagram, VIDEO_HEADER),
            Ok(Frame::Trunk(trunk)) => trunked(&trunk, datagram),
            Ok(Frame::Meta(_)) | Err(_) => self.scrambled(datagram, 4),
        }
    }

    fn full(&mut self, full: &FullFrame<'_>, datagram: &[u8]) -> Vec<u8> {
        match full.frame_type {
            FrameType::Iax => {
                let mut out = datagram.get(..FULL_HEADER).unwrap_or(datagram).to_vec();
                for element in full.ies() {
                    out.push(element.id);
                    out.push(u8::try_from(element.data.len()).unwrap_or(u8::MAX));
                    out.extend(self.element(element));
                }
                out
            }
            FrameType::Voice | FrameType::Video | FrameType::Image => {
                silenced(datagram, FULL_HEADER)
            }
            FrameType::DtmfBegin | FrameType::DtmfEnd => {
                let mut out = datagram.to_vec();
                // Which digit it was is somebody's secret.
                if let Some(digit) = out.get_mut(FULL_HEADER - 1) {
                    *digit = b'5';
                }
                out
            }
            FrameType::Control | FrameType::Null | FrameType::ComfortNoise => {
                self.scrambled(datagram, FULL_HEADER)
            }
            // An encrypted frame is one of these, mostly.
            FrameType::Text | FrameType::Html | FrameType::Modem => {
                self.scrambled(datagram, FULL_HEADER)
            }
            FrameType::Unknown(_) => self.scrambled(datagram, 4),
        }
    }

    fn element(&mut self, element: RawIe<'_>) -> Vec<u8> {
        let id = IeId::from(element.id);
        if HARMLESS.contains(&id) || element.data.is_empty() {
            return element.data.to_vec();
        }
        match id {
            IeId::ApparentAddr => match read_sockaddr(element.data) {
                Some(address) => {
                    let other = self.address(address.get());
                    write_sockaddr(MappedAddr::new(other))
                }
                None => self.replaced(element.data),
            },
            IeId::Cause if CAUSES.contains(&element.data) => element.data.to_vec(),
            _ => self.replaced(element.data),
        }
    }

    /// Octets that stand for these: letters for letters, digits for digits, noise for the rest.
    fn replaced(&self, octets: &[u8]) -> Vec<u8> {
        let mut noise = self.noise(octets);
        octets
            .iter()
            .map(|octet| {
                let drawn = noise();
                match octet {
                    b'0'..=b'9' => b'0' + drawn % 10,
                    b'a'..=b'z' => b'a' + drawn % 26,
                    b'A'..=b'Z' => b'A' + drawn % 26,
                    b' '..=b'~' => *octet,
                    _ => drawn,
                }
            })
            .collect()
    }

    /// The datagram with noise from `from` on.
    fn scrambled(&self, datagram: &[u8], from: usize) -> Vec<u8> {
        let (head, rest) = datagram.split_at_checked(from).unwrap_or((datagram, &[]));
        let mut noise = self.noise(rest);
        head.iter()
            .copied()
            .chain(rest.iter().map(|_| noise()))
            .collect()
    }

    /// Noise that is the same for the same octets, and tells nothing of them without the key.
    fn noise(&self, octets: &[u8]) -> impl FnMut() -> u8 + use<> {
        let keyed = self.keyed;
        let seed = keyed.hash_one(octets);
        let mut drawn = 0_u64;
        move || {
            drawn += 1;
            let [octet, ..] = keyed.hash_one((seed, drawn)).to_be_bytes();
            octet
        }
    }
}

/// The datagram with silence from `from` on.
fn silenced(datagram: &[u8], from: usize) -> Vec<u8> {
    let mut out = datagram.to_vec();
    if let Some(audio) = out.get_mut(from..) {
        audio.fill(SILENCE);
    }
    out
}

fn trunked(trunk: &MetaTrunk<'_>, datagram: &[u8]) -> Vec<u8> {
    let mut out = datagram.get(..TRUNK_HEADER).unwrap_or(datagram).to_vec();
    let mut entries = trunk.entries();
    for mut entry in entries.by_ref() {
        let silence = vec![SILENCE; entry.payload.len()];
        entry.payload = &silence;
        // It came out of a trunk frame, so that its length fits into one.
        let _ = entry.encode(&mut out);
    }
    out.extend(entries.rest().iter().map(|_| 0));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_replaced_the_same_way_everywhere() {
        let request = b"\xa6\xe2\0\0\0\0\0\x04\0\0\x06\x0d\x06\x05alice\x13\x02\0\x3c\x36\0";
        let mut anonymizer = Anonymizer::new([1, 2]);
        let once = anonymizer.datagram(request);
        assert_eq!(once, anonymizer.datagram(request));
        assert_eq!(once.len(), request.len());
        assert_eq!(once[..14], request[..14]);
        assert!(once[14..19].iter().all(u8::is_ascii_lowercase) && once[14..19] != *b"alice");
        assert_eq!(once[19..], request[19..]);
        assert_ne!(Anonymizer::new([3, 4]).datagram(request), once);

        let private = anonymizer.address("192.168.1.10:4569".parse().unwrap());
        let public = anonymizer.address("203.0.113.1:4570".parse().unwrap());
        assert_eq!(private.to_string(), "10.0.0.1:4569");
        assert_eq!(public.to_string(), "198.18.0.2:4570");
        assert_eq!(
            anonymizer.address("203.0.113.1:1".parse().unwrap()).ip(),
            public.ip()
        );
    }

    #[test]
    fn audio_and_digits_are_gone_and_lengths_stay() {
        let mut anonymizer = Anonymizer::new([1, 2]);
        assert_eq!(
            anonymizer.datagram(&[0x12, 1, 0, 20, 7, 7]),
            [0x12, 1, 0, 20, 0xff, 0xff]
        );
        let digit = b"\x92\x01\x80\x02\0\0\0\x15\x03\x02\x01\x39";
        assert_eq!(anonymizer.datagram(digit)[11], b'5');
        let trunk = b"\0\0\x01\x01\0\0\0\x14\0\x02\x40\x01\0\x14ab";
        let out = anonymizer.datagram(trunk);
        assert_eq!(out[..14], trunk[..14]);
        assert_eq!(out[14..], [0xff, 0xff]);
    }
}
