//! The frames of IAX2 (RFC 5456) as deployed peers speak them.
//!
//! [`frame::Frame::decode`] tells the five kinds of datagram apart; [`ie::Ies`] walks the information
//! elements of an IAX frame; [`ie_value::Ie`] is what one of them means.

mod open_enum;

pub mod cause;
pub mod command;
pub mod format;
pub mod frame;
pub mod ie;
pub mod ie_value;
pub mod show;
pub mod trunk;

/// The IANA port of IAX2 (RFC 5456 §13).
pub const PORT: u16 = 4569;

/// Why a datagram is not an IAX2 frame. Offsets are in octets from the start of the datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The datagram ends inside a header.
    #[error("{what} needs {needed} octets, the datagram has {have}")]
    Truncated {
        /// Which header.
        what: &'static str,
        /// Octets that header needs.
        needed: usize,
        /// Octets there are.
        have: usize,
    },
    /// An information element's header is cut off after its id.
    #[error("information element {id} at offset {offset} has no length octet")]
    IeHeader {
        /// The element's id.
        id: u8,
        /// Where it begins.
        offset: usize,
    },
    /// An information element says that it is longer than the rest of the frame.
    #[error("information element {id} at offset {offset} claims {length} octets, {rest} are left")]
    IeOverrun {
        /// The element's id.
        id: u8,
        /// Where it begins.
        offset: usize,
        /// The length it claims.
        length: usize,
        /// Octets left after its header.
        rest: usize,
    },
}

/// Why values cannot be written as a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The data of an information element exceeds 255 octets.
    #[error("information element {id} would need {length} octets, 255 is the most it holds")]
    IeTooLong {
        /// The element's id.
        id: u8,
        /// The length its data has.
        length: usize,
    },
    /// A trunk entry exceeds 65535 octets.
    #[error("a trunk entry would need {length} octets, 65535 is the most it holds")]
    EntryTooLong {
        /// The length its data has.
        length: usize,
    },
}
