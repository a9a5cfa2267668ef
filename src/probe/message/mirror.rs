//! What arrived, octet by octet: a request that carries bait for rewriters, and the answer that holds it as it
//! came.
//!
//! What the answer repeats is complemented, every bit turned, so that whoever looks for addresses on the way back finds none.
//! The request ends in padding that is not repeated, so that the answer is no longer than it.

use super::{Nonce, Reader, put_address, put_nonce};
use crate::{proto::token::TOKEN_LENGTH, types::MappedAddr, wire::iax2::frame::FULL_HEADER};

/// Asks what arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// The client's token.
    pub token: [u8; TOKEN_LENGTH],
    /// Names the request.
    pub nonce: Nonce,
    /// What a rewriter may fall for, at most 160 octets.
    pub bait: Vec<u8>,
}

/// What arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirrored {
    /// The request.
    pub nonce: Nonce,
    /// Length of the datagram that arrived, in octets.
    pub length: u16,
    /// Where it came from, as nobody on the way can read it.
    pub hidden: MappedAddr,
    /// The same as it stands in other answers.
    pub plain: MappedAddr,
    /// The datagram up to its padding.
    pub octets: Vec<u8>,
}

/// What fits beside the fields and the padding.
const MAX_BAIT: usize = 160;
/// Octets at the end of the request that are not repeated: as many as the answer has besides what it repeats,
/// for an IPv6 client.
pub(in crate::probe) const PADDING: usize = FULL_HEADER + 2 + 2 + 8 + 2 + 19 + 19;
/// In front of the bait: version and kind, token, nonce.
const FIELDS: usize = 2 + TOKEN_LENGTH + 8;

impl Mirror {
    /// Writes everything behind the version.
    pub(super) fn put(&self, octets: &mut Vec<u8>) {
        octets.push(5);
        octets.extend_from_slice(&self.token);
        put_nonce(octets, self.nonce);
        octets.extend(self.bait.iter().take(MAX_BAIT));
        octets.resize(octets.len() + PADDING, 0);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let (token, nonce) = (reader.array()?, reader.nonce()?);
        let bait = reader.0.len().checked_sub(PADDING)?;
        Some(Self {
            token,
            nonce,
            bait: reader.0.get(..bait)?.to_vec(),
        })
    }

    /// Octets of the whole datagram that are repeated.
    #[must_use]
    pub fn repeated(&self) -> usize {
        FULL_HEADER + 2 + FIELDS + self.bait.len()
    }
}

impl Mirrored {
    pub(super) fn put(&self, octets: &mut Vec<u8>) {
        octets.push(0x85);
        put_nonce(octets, self.nonce);
        octets.extend_from_slice(&self.length.to_be_bytes());
        put_address(octets, self.plain.get());
        let mut hidden = Vec::new();
        put_address(&mut hidden, self.hidden.get());
        octets.extend(hidden.iter().chain(&self.octets).map(|octet| !octet));
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let nonce = reader.nonce()?;
        let length = u16::from_be_bytes(reader.array()?);
        let plain = MappedAddr::new(reader.address()?);
        let turned: Vec<u8> = reader.0.iter().map(|octet| !octet).collect();
        let mut reader = Reader(&turned);
        Some(Self {
            nonce,
            length,
            hidden: MappedAddr::new(reader.address()?),
            plain,
            octets: reader.0.to_vec(),
        })
    }
}
