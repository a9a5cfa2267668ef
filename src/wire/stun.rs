//! STUN Binding messages (RFC 8489) with the attributes of NAT behaviour discovery (RFC 5780).
//!
//! The framing, the XOR of addresses and the checksum come from `stun-types`; everything that the
//! experiments see of STUN goes through this file.

use std::net::SocketAddr;

use stun_types::{
    attribute::{
        Attribute as _, AttributeExt as _, AttributeFromRaw as _, AttributeType, ErrorCode,
        Fingerprint, MappedSocketAddr, RawAttribute, XorSocketAddr,
    },
    message::{
        BINDING, Message as RawMessage, MessageClass, MessageHeader, MessageType, MessageWrite,
        MessageWriteVec, StunParseError, TransactionId,
    },
};

use crate::types::{MappedAddr, PeerAddr};

/// The UDP port of a STUN server (RFC 8489 §18.6).
pub const DEFAULT_PORT: u16 = 3478;

/// The 96 bits that pair a response with its request (RFC 8489 §5).
pub type Transaction = [u8; 12];

const MAPPED_ADDRESS: u16 = 0x0001; // RFC 8489 §14.1
const CHANGE_REQUEST: u16 = 0x0003; // RFC 5780 §7.2
const SOURCE_ADDRESS: u16 = 0x0004; // RFC 3489 §11.2.5
const CHANGED_ADDRESS: u16 = 0x0005; // RFC 3489 §11.2.3
const MESSAGE_INTEGRITY: u16 = 0x0008; // RFC 8489 §14.5
const ERROR_CODE: u16 = 0x0009; // RFC 8489 §14.8
const MESSAGE_INTEGRITY_SHA256: u16 = 0x001c; // RFC 8489 §14.6
const XOR_MAPPED_ADDRESS: u16 = 0x0020; // RFC 8489 §14.2
const PADDING: u16 = 0x0026; // RFC 5780 §7.6
const RESPONSE_PORT: u16 = 0x0027; // RFC 5780 §7.5
const SOFTWARE: u16 = 0x8022; // RFC 8489 §14.14
const FINGERPRINT: u16 = 0x8028; // RFC 8489 §14.7
const RESPONSE_ORIGIN: u16 = 0x802b; // RFC 5780 §7.3
const OTHER_ADDRESS: u16 = 0x802c; // RFC 5780 §7.4

/// Why bytes are not a STUN message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StunError {
    /// The first two bits or the magic cookie differ (RFC 8489 §5).
    #[error("not STUN: the first two bits or the magic cookie at offset 4 differ")]
    NotStun,
    /// The datagram ends before the message does.
    #[error("STUN message cut short: {needed} octets announced, {found} there")]
    Truncated {
        /// Octets that the header announces, at least 20.
        needed: usize,
        /// Octets there.
        found: usize,
    },
    /// An attribute reaches beyond the message.
    #[error("STUN attribute at offset {offset} reaches beyond the message")]
    Attribute {
        /// Where the attribute begins, in octets.
        offset: usize,
    },
}

/// What a message is for (RFC 8489 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Asks for a response.
    Request,
    /// Asks for none: it only keeps a mapping open.
    Indication,
    /// The request was understood.
    Success,
    /// The request was refused.
    Error,
}

/// A Binding request, the question "where do you see me?".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct BindingRequest {
    /// Chosen at random.
    pub transaction: Transaction,
    /// The response shall leave from the server's other address (RFC 5780 §7.2).
    pub change_ip: bool,
    /// The response shall leave from the server's other port (RFC 5780 §7.2).
    pub change_port: bool,
    /// The response shall go to this port of the mapped address (RFC 5780 §7.5).
    pub response_port: Option<u16>,
}

impl BindingRequest {
    /// The UDP payload.
    ///
    /// RESPONSE-PORT is written two octets long and padded, as the length rule of RFC 8489 §14 asks:
    /// some servers take four octets as well, none takes only four.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut message = begin(MessageClass::Request, self.transaction);
        if self.change_ip || self.change_port {
            let flags = u8::from(self.change_ip) << 2 | u8::from(self.change_port) << 1;
            push(&mut message, CHANGE_REQUEST, &[0, 0, 0, flags]);
        }
        if let Some(port) = self.response_port {
            push(&mut message, RESPONSE_PORT, &port.to_be_bytes());
        }
        message.finish()
    }
}

/// A Binding indication: a datagram that is never answered (RFC 8489 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct BindingIndication {
    /// Chosen at random.
    pub transaction: Transaction,
}

impl BindingIndication {
    /// The UDP payload.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        begin(MessageClass::Indication, self.transaction).finish()
    }
}

/// A server's answer to a [`BindingRequest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BindingSuccess {
    /// The request's.
    pub transaction: Transaction,
    /// Where the request came from; written as both MAPPED-ADDRESS and
    /// XOR-MAPPED-ADDRESS.
    pub mapped: MappedAddr,
    /// Where the answer leaves from (RFC 5780 §7.3).
    pub response_origin: Option<PeerAddr>,
    /// The server's other address and port (RFC 5780 §7.4).
    pub other_address: Option<PeerAddr>,
}

impl BindingSuccess {
    /// The UDP payload.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut message = begin(MessageClass::Success, self.transaction);
        let mapped = self.mapped.get();
        let xored = XorSocketAddr::new(mapped, transaction_id(self.transaction));
        message.push_attribute_unchecked(&xored.to_raw(AttributeType::new(XOR_MAPPED_ADDRESS)));
        let addresses = [
            (MAPPED_ADDRESS, Some(mapped)),
            (RESPONSE_ORIGIN, self.response_origin.map(PeerAddr::get)),
            (OTHER_ADDRESS, self.other_address.map(PeerAddr::get)),
        ];
        for (kind, address) in addresses {
            if let Some(address) = address {
                let plain = MappedSocketAddr::new(address);
                message.push_attribute_unchecked(&plain.to_raw(AttributeType::new(kind)));
            }
        }
        message.finish()
    }
}

/// A STUN message as it came. What was not in it is `None`, `false` or empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What the message is for.
    pub class: Class,
    /// The method; Binding is 1.
    pub method: u16,
    /// The transaction.
    pub transaction: Transaction,
    /// MAPPED-ADDRESS, which a NAT that rewrites payloads can change.
    pub plain_mapped: Option<MappedAddr>,
    /// XOR-MAPPED-ADDRESS, which it cannot find.
    pub xor_mapped: Option<MappedAddr>,
    /// OTHER-ADDRESS, or CHANGED-ADDRESS of a server from before RFC 5780.
    pub other_address: Option<PeerAddr>,
    /// OTHER-ADDRESS itself was there: the server follows RFC 5780.
    pub knows_rfc5780: bool,
    /// RESPONSE-ORIGIN, or SOURCE-ADDRESS of a server from before RFC 5780.
    pub response_origin: Option<PeerAddr>,
    /// ERROR-CODE and its reason phrase.
    pub error: Option<(u16, String)>,
    /// SOFTWARE; what is not UTF-8 is replaced.
    pub software: Option<String>,
    /// The first flag of CHANGE-REQUEST.
    pub change_ip: bool,
    /// The second flag of CHANGE-REQUEST.
    pub change_port: bool,
    /// RESPONSE-PORT.
    pub response_port: Option<u16>,
    /// The length of PADDING, in octets.
    pub padding: Option<usize>,
    /// Whether FINGERPRINT fits the message; `Some(false)` means that the payload was changed on
    /// the way.
    pub fingerprint: Option<bool>,
    /// Attributes unknown here, and known ones whose value cannot be read, in order.
    pub others: Vec<Other>,
}

/// An attribute that this file does not interpret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    /// The attribute type; below 0x8000 the sender asks that it be understood (RFC 8489 §14).
    pub kind: u16,
    /// Its value, without padding.
    pub value: Vec<u8>,
}

impl Message {
    /// Where the server saw the request come from: XOR-MAPPED-ADDRESS, else MAPPED-ADDRESS.
    #[must_use]
    pub fn mapped(&self) -> Option<MappedAddr> {
        self.xor_mapped.or(self.plain_mapped)
    }

    /// Whether the method is Binding.
    #[must_use]
    pub fn is_binding(&self) -> bool {
        self.method == BINDING.value()
    }
}

/// Whether a datagram is STUN: its first two bits are 0 and the magic cookie stands at offset 4
/// (RFC 8489 §5).
#[must_use]
pub fn is_stun(datagram: &[u8]) -> bool {
    datagram.len() >= MessageHeader::LENGTH && MessageHeader::from_bytes(datagram).is_ok()
}

/// Reads one STUN message. Octets after it are ignored, and so are attributes after
/// MESSAGE-INTEGRITY except FINGERPRINT (RFC 8489 §14.5); integrity is not verified, since none of
/// our requests has a key.
///
/// # Errors
///
/// [`StunError`] where the structure is broken; unknown attributes, methods and values are no error.
pub fn parse(datagram: &[u8]) -> Result<Message, StunError> {
    let header = MessageHeader::from_bytes(datagram).map_err(|error| match error {
        StunParseError::Truncated { expected, actual } => StunError::Truncated {
            needed: expected,
            found: actual,
        },
        _ => StunError::NotStun,
    })?;
    let needed = MessageHeader::LENGTH + usize::from(header.data_length());
    let bytes = datagram.get(..needed).ok_or(StunError::Truncated {
        needed,
        found: datagram.len(),
    })?;

    let mut message = empty(&header);
    let (mut changed, mut source) = (None, None);
    let mut sealed = false;
    let mut offset = MessageHeader::LENGTH;
    while let Some(rest) = bytes.get(offset..).filter(|rest| !rest.is_empty()) {
        let raw = RawAttribute::from_bytes(rest).map_err(|_| StunError::Attribute { offset })?;
        let kind = raw.get_type().value();
        let read = match kind {
            FINGERPRINT => {
                message.fingerprint = Some(fingerprint_fits(bytes, offset, &raw.value));
                break;
            }
            _ if sealed => true,
            CHANGED_ADDRESS => set(&mut changed, plain(&raw).map(PeerAddr::new)),
            SOURCE_ADDRESS => set(&mut source, plain(&raw).map(PeerAddr::new)),
            _ => message.interpret(kind, &raw, header.transaction_id()),
        };
        if !read {
            message.others.push(Other {
                kind,
                value: raw.value.to_vec(),
            });
        }
        sealed |= matches!(kind, MESSAGE_INTEGRITY | MESSAGE_INTEGRITY_SHA256);
        offset += raw.padded_len();
    }
    message.knows_rfc5780 = message.other_address.is_some();
    message.other_address = message.other_address.or(changed);
    message.response_origin = message.response_origin.or(source);
    Ok(message)
}

impl Message {
    /// Takes one attribute; `false` if it is unknown or cannot be read.
    fn interpret(&mut self, kind: u16, raw: &RawAttribute<'_>, id: TransactionId) -> bool {
        match kind {
            MAPPED_ADDRESS => set(&mut self.plain_mapped, plain(raw).map(MappedAddr::new)),
            XOR_MAPPED_ADDRESS => {
                let address = XorSocketAddr::from_raw(raw).ok();
                set(
                    &mut self.xor_mapped,
                    address.map(|address| MappedAddr::new(address.addr(id))),
                )
            }
            OTHER_ADDRESS => set(&mut self.other_address, plain(raw).map(PeerAddr::new)),
            RESPONSE_ORIGIN => set(&mut self.response_origin, plain(raw).map(PeerAddr::new)),
            ERROR_CODE => {
                let error = ErrorCode::from_raw_ref(raw).ok();
                set(
                    &mut self.error,
                    error.map(|error| (error.code(), error.reason().to_owned())),
                )
            }
            SOFTWARE => {
                let text = String::from_utf8_lossy(&raw.value).into_owned();
                set(&mut self.software, Some(text))
            }
            CHANGE_REQUEST => match *raw.value {
                [_, _, _, flags] => {
                    self.change_ip = flags & 0b100 != 0;
                    self.change_port = flags & 0b010 != 0;
                    true
                }
                _ => false,
            },
            RESPONSE_PORT => match *raw.value {
                [high, low] | [high, low, _, _] => {
                    self.response_port = Some(u16::from_be_bytes([high, low]));
                    true
                }
                _ => false,
            },
            PADDING => set(&mut self.padding, Some(raw.value.len())),
            _ => false,
        }
    }
}

/// Fills an empty field: the first attribute of a type counts (RFC 8489 §14). `false` if there is
/// no value.
fn set<T>(field: &mut Option<T>, value: Option<T>) -> bool {
    let read = value.is_some();
    if field.is_none() {
        *field = value;
    }
    read
}

fn plain(raw: &RawAttribute<'_>) -> Option<SocketAddr> {
    MappedSocketAddr::from_raw(raw)
        .ok()
        .map(|address| address.addr())
}

/// Whether the checksum that stands at `offset` of the message fits what stands before it. The
/// header's length counts up to and including FINGERPRINT (RFC 8489 §14.7).
fn fingerprint_fits(bytes: &[u8], offset: usize, value: &[u8]) -> bool {
    let length = u16::try_from(offset + 8 - MessageHeader::LENGTH).unwrap_or(u16::MAX);
    let (Some(kind), Some(rest)) = (bytes.get(..2), bytes.get(4..offset)) else {
        return false;
    };
    let sum = Fingerprint::compute(&[kind, &length.to_be_bytes(), rest]);
    let mask = 0x5354_554e_u32.to_be_bytes(); // "STUN"
    value.len() == sum.len()
        && value
            .iter()
            .zip(sum.iter().zip(mask))
            .all(|(found, (sum, mask))| *found == sum ^ mask)
}

fn empty(header: &MessageHeader) -> Message {
    let id: u128 = header.transaction_id().into();
    let [_, _, _, _, transaction @ ..] = id.to_be_bytes();
    Message {
        class: match header.get_type().class() {
            MessageClass::Request => Class::Request,
            MessageClass::Indication => Class::Indication,
            MessageClass::Success => Class::Success,
            MessageClass::Error => Class::Error,
        },
        method: header.get_type().method().value(),
        transaction,
        plain_mapped: None,
        xor_mapped: None,
        other_address: None,
        knows_rfc5780: false,
        response_origin: None,
        error: None,
        software: None,
        change_ip: false,
        change_port: false,
        response_port: None,
        padding: None,
        fingerprint: None,
        others: Vec::new(),
    }
}

fn transaction_id(transaction: Transaction) -> TransactionId {
    transaction
        .iter()
        .fold(0_u128, |id, octet| id << 8 | u128::from(*octet))
        .into()
}

fn begin(class: MessageClass, transaction: Transaction) -> MessageWriteVec {
    RawMessage::builder(
        MessageType::from_class_method(class, BINDING),
        transaction_id(transaction),
        MessageWriteVec::new(),
    )
}

fn push(message: &mut MessageWriteVec, kind: u16, value: &[u8]) {
    message.push_attribute_unchecked(&RawAttribute::new(AttributeType::new(kind), value));
}

#[cfg(test)]
mod tests;
