//! One conversation with a reflector: the requests of an experiment, and what is an answer to them.

use std::time::Duration;

use crate::{
    probe::{
        message::{Answer, AnswerFrom, Ask, Nonce, Request},
        rounds::{COPIES, SPACING},
    },
    proto::token::TOKEN_LENGTH,
    types::{CallNumber, MappedAddr, PeerAddr, Timestamp},
    wire::iax2::{command::Command, frame::Frame},
};

/// The conversation: what all requests have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker {
    session: u32,
    token: [u8; TOKEN_LENGTH],
    /// The reflector's address.
    pub(super) peer: PeerAddr,
}

/// What a reflector says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// To a greeting.
    Hello {
        mapped: MappedAddr,
        /// The other address with the other port.
        other: Option<PeerAddr>,
    },
    /// To the request with this index.
    Echo { index: u32, mapped: MappedAddr },
    /// To a mirror request.
    Other(Answer),
    /// It is no reflector.
    Nothing,
}

impl Asker {
    pub(super) const fn new(peer: PeerAddr, session: u32) -> Self {
        Self {
            session,
            token: [0; TOKEN_LENGTH],
            peer,
        }
    }

    pub(super) const fn nonce(&self, index: u32) -> Nonce {
        Nonce {
            session: self.session,
            index,
        }
    }

    pub(super) const fn token(&self) -> [u8; TOKEN_LENGTH] {
        self.token
    }

    /// Greets. A token is good for the socket that greeted.
    pub(super) fn hello(&self) -> Vec<u8> {
        self.poke(&Request::Hello, 0)
    }

    /// Asks for an answer at once.
    pub(super) fn ask(&self, index: u32) -> Vec<u8> {
        self.poke(
            &Request::Ask(Ask {
                at_once: true,
                delays: Vec::new(),
                repeats: 1,
                ..self.copies_of(index)
            }),
            index,
        )
    }

    /// Asks for an answer in copies, from another endpoint or with another time to live (0: the host's).
    pub(super) fn ask_for(&self, index: u32, from: AnswerFrom, ttl: u8) -> Vec<u8> {
        let ask = Ask {
            from,
            ttl,
            ..self.copies_of(index)
        };
        self.poke(&Request::Ask(ask), index)
    }

    fn copies_of(&self, index: u32) -> Ask {
        Ask {
            token: self.token,
            nonce: self.nonce(index),
            at_once: false,
            from: AnswerFrom::default(),
            delays: vec![Duration::ZERO],
            repeats: COPIES,
            spacing: SPACING,
            ttl: 0,
        }
    }

    /// Writes a request.
    pub(super) fn poke(&self, request: &Request, index: u32) -> Vec<u8> {
        request.to_poke(self.number(), Timestamp::from_millis(index))
    }

    /// A call number that is neither 0 nor 1, the same for the whole conversation.
    fn number(&self) -> CallNumber {
        let [.., high, low] = self.session.to_be_bytes();
        CallNumber::from_bits(u16::from_be_bytes([high, low]) & 0x3fff | 2)
    }

    /// Reads what is an answer to this conversation, and keeps the token that a greeting gave.
    pub(super) fn read(&mut self, payload: &[u8]) -> Option<Said> {
        let Ok(Frame::Full(frame)) = Frame::decode(payload) else {
            return None;
        };
        if frame.command() != Some(Command::Pong) || frame.destination != self.number() {
            return None;
        }
        match Answer::read(&frame) {
            None => Some(Said::Nothing),
            Some(Answer::Hello {
                token,
                mapped,
                other_port,
                other_address,
                ..
            }) => {
                self.token = token;
                let other = other_address.zip(other_port);
                Some(Said::Hello {
                    mapped,
                    other: other.map(|endpoint| PeerAddr::new(endpoint.into())),
                })
            }
            Some(Answer::Echo { nonce, mapped, .. }) => {
                (nonce.session == self.session).then_some(Said::Echo {
                    index: nonce.index,
                    mapped,
                })
            }
            Some(answer) => Some(Said::Other(answer)),
        }
    }
}
