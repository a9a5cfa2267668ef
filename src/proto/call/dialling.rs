//! The caller's part of the set-up: NEW, call token, challenge, ACCEPT (RFC 5456 §6.2).

use std::time::{Duration, Instant};

use secrecy::ExposeSecret as _;

use super::{Call, CallEvent, Ending, Manners, Reason, SETUP_LIMIT, Secrecy, Side, Stage};
use crate::{
    proto::{
        auth::{Credentials, Method},
        cipher::CallKey,
        registration::cause_of,
        reliable::Reliable,
    },
    types::{CallNumber, Timestamp},
    wire::iax2::{
        cause::Cause,
        command::Command,
        format::{Formats, preference_letter},
        frame::{FullFrame, Kind},
        ie::{IeId, IeWriter, Ies},
        ie_value::{Ie, Text},
    },
};

/// Whom to call, as whom, and how.
#[derive(Clone, Debug)]
pub struct DialConfig {
    /// The extension.
    pub number: String,
    /// The context to dial into; `None`: the callee's choice.
    pub context: Option<String>,
    /// The account; `None`, or an empty name: nobody in particular.
    pub credentials: Option<Credentials>,
    /// The caller's number and name.
    pub caller: Option<(String, String)>,
    /// The formats to offer, the preferred one first.
    pub formats: Vec<Formats>,
    /// Whether to offer or demand encryption.
    pub encryption: EncryptionOffer,
    /// Whether to offer a call token. Clients from before 2009 do not.
    pub offer_token: bool,
    /// Whether the parent has a new call number for each repetition of a NEW with a token:
    /// [`Call::wants_number`], then [`Call::redial`]. Else the frame is sent again as it is.
    pub renumbers: bool,
    /// Habits.
    pub manners: Manners,
    /// Seed of padding and of the signature's blinding.
    pub seed: [u8; 32],
}

/// What a caller says of encryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncryptionOffer {
    /// Nothing.
    None,
    /// AES-128, and no call without it.
    Required,
    /// The same, and the callee may change its key as it goes.
    Rotating,
}

/// The bits of ENCRYPTION (RFC 5456 §8.6.34; the second is Asterisk's).
const AES_128: u16 = 1;
const KEY_ROTATION: u16 = 0x8000;
/// The version of the protocol (RFC 5456 §8.6.10).
const VERSION: u16 = 2;
/// A second CALLTOKEN in a row is answered, a fourth is not: the peer refuses its own tokens.
const MAX_TOKENS: u8 = 3;
/// A callee may challenge again; more than this is refusal.
const MAX_CHALLENGES: u8 = 3;
/// A NEW with a token is sent again no sooner, and from another call number where there is one. Asterisk does not
/// recognise it and opens a second leg, which then gets the mini frames of the call, for they carry our number
/// alone; before that, Asterisk's own challenge comes again, after 2 s.
const TOKEN_PATIENCE: Duration = Duration::from_secs(3);
/// Numbers a call is dialled from in all.
const MAX_NUMBERS: u8 = 4;

/// What a caller needs until the call is linked.
#[derive(Debug)]
pub(super) struct Dialling {
    config: DialConfig,
    token: Option<Vec<u8>>,
    /// The timestamp of the last NEW; state-less answers echo it.
    request: Timestamp,
    tokens_received: u8,
    challenges: u8,
    /// Numbers it has been dialled from.
    numbers: u8,
    /// When it wants another one; `None`: not while this is so.
    renumber_at: Option<Instant>,
}

impl Call {
    /// Dials: NEW is the first transmit. `local` is a random number that no other call with the peer has or
    /// had lately.
    #[must_use]
    pub fn dial(config: DialConfig, local: CallNumber, now: Instant) -> Self {
        let dialogue = Reliable::new(local, config.manners.retry, now);
        let mut call = Self::new(dialogue, config.manners, config.seed, now);
        call.capability = config
            .formats
            .iter()
            .fold(Formats::NONE, |all, format| all.or(*format));
        call.dialling = Some(Box::new(Dialling {
            config,
            token: None,
            request: Timestamp::ZERO,
            tokens_received: 0,
            challenges: 0,
            numbers: 1,
            renumber_at: None,
        }));
        call.send_new(now);
        call
    }

    /// Whether NEW with its token was answered by nothing, and is to be repeated by [`Call::redial`].
    #[must_use]
    pub fn wants_number(&self, now: Instant) -> bool {
        self.renumber_at().is_some_and(|at| at <= now)
    }

    /// Whether the callee may be waiting for a proof of who calls: NEW with its token is out, or a challenge came, and
    /// the call is not accepted yet. Asterisk bears three such calls of an account (`maxauthreq`).
    #[must_use]
    pub fn is_unproven(&self) -> bool {
        self.stage == Stage::Waiting
            && self.dialling.as_ref().is_some_and(|dialling| {
                dialling.config.credentials.is_some()
                    && (dialling.token.is_some() || dialling.challenges > 0)
            })
    }

    /// Begins again from another call number, which is as random as the first, with a request for a new token.
    /// What still comes to the old number is of a leg that the peer gives up by itself.
    pub fn redial(&mut self, local: CallNumber, now: Instant) {
        let Some(dialling) = &mut self.dialling else {
            return;
        };
        dialling.numbers = dialling.numbers.saturating_add(1);
        dialling.renumber_at = None;
        dialling.tokens_received = 0;
        if dialling.numbers > MAX_NUMBERS {
            self.end(Ending::Unanswered {
                frame: Kind::iax(Command::New),
                heard: false,
            });
            return;
        }
        dialling.token = None;
        self.counts.retransmissions += self.dialogue.retransmissions() + 1;
        self.dialogue = Reliable::new(local, self.manners.retry, now);
        self.send_new(now);
    }

    /// When another call number is wanted.
    pub(super) fn renumber_at(&self) -> Option<Instant> {
        let dialling = self.dialling.as_ref()?;
        dialling
            .renumber_at
            .filter(|_| self.stage == Stage::Waiting && self.dialogue.remote().is_none())
    }

    fn send_new(&mut self, now: Instant) {
        let Some(dialling) = &mut self.dialling else {
            return;
        };
        let patience = match &dialling.token {
            Some(_) if dialling.config.renumbers => {
                dialling.renumber_at = Some(now + TOKEN_PATIENCE);
                SETUP_LIMIT
            }
            Some(_) => TOKEN_PATIENCE,
            None => Duration::ZERO,
        };
        let elements = dialling.config.new_elements(dialling.token.as_deref());
        match elements.finish() {
            Ok(payload) => {
                let sent = self
                    .dialogue
                    .send_patiently(Command::New, payload, patience, now);
                dialling.request = sent;
            }
            // Only a name or number above 255 octets: nobody has one.
            Err(error) => self.end(Ending::Rejected {
                by: Side::Us,
                cause: Reason {
                    text: Some(error.to_string()),
                    code: Some(Cause::BadNumberFormat.get()),
                },
            }),
        }
        self.flush();
    }

    /// Answers that carry no call of the peer: CALLTOKEN, and REJECT from call number 1.
    pub(super) fn handle_stateless(&mut self, frame: &FullFrame<'_>, now: Instant) -> bool {
        let Some(dialling) = &mut self.dialling else {
            return false;
        };
        // Such an answer repeats the timestamp of its request; what has another is late, or forged.
        let is_late = dialling.request != frame.timestamp
            || self.stage != Stage::Waiting
            || !self.dialogue.remote().is_none();
        match frame.command() {
            Some(Command::CallToken) => {
                let token = frame.ies().find(IeId::CallToken);
                if is_late {
                    return true;
                }
                dialling.tokens_received += 1;
                if dialling.tokens_received > MAX_TOKENS {
                    self.end(Ending::TokenRefused { had_token: true });
                } else if let Some(token) = token {
                    dialling.token = Some(token.to_vec());
                    self.dialogue.restart();
                    self.events.push_back(CallEvent::TokenReceived);
                    self.send_new(now);
                }
                true
            }
            Some(Command::Reject | Command::RegRej)
                if frame.source == CallNumber::STATELESS && frame.payload.is_empty() =>
            {
                if !is_late {
                    let had_token = dialling.token.is_some();
                    self.end(Ending::TokenRefused { had_token });
                }
                true
            }
            _ => false,
        }
    }

    /// AUTHREQ.
    pub(super) fn handle_challenge(&mut self, elements: &Ies<'_>, now: Instant) {
        let Some(dialling) = self
            .dialling
            .as_mut()
            .filter(|_| self.stage == Stage::Waiting)
        else {
            self.counts.odd += 1;
            return;
        };
        let (mut offered, mut challenge, mut encryption) = (0, &[][..], 0);
        for ie in elements.clone().map(Ie::read) {
            match ie {
                Ie::AuthMethods(bits) => offered = bits,
                Ie::Challenge(octets) => challenge = octets,
                Ie::Encryption(bits) => encryption = bits,
                _ => {}
            }
        }
        dialling.challenges += 1;
        let wants_encryption = dialling.config.encryption != EncryptionOffer::None;
        if dialling.challenges > MAX_CHALLENGES {
            self.end(Ending::Stalled);
            return;
        }
        let nobody = Credentials::named("");
        let credentials = dialling.config.credentials.as_ref().unwrap_or(&nobody);
        let answer = match credentials.answer(offered, challenge, &mut self.rng) {
            Ok(answer) => answer,
            Err(reason) => {
                self.give_up(Ending::AuthUnsupported { offered, reason }, now);
                return;
            }
        };
        let key = wants_encryption
            .then_some(credentials.secret.as_ref())
            .flatten()
            .filter(|_| encryption & AES_128 != 0)
            .map(|secret| CallKey::derive(challenge, secret.expose_secret().as_bytes()));
        if wants_encryption && key.is_none() {
            self.give_up(Ending::NotEncrypted, now);
            return;
        }
        self.send_proof(answer.write(IeWriter::new()), key, now);
        self.events.push_back(CallEvent::Challenged {
            offered,
            method: answer.method,
            encrypted: self.secrecy.is_some(),
        });
    }

    fn send_proof(&mut self, elements: IeWriter, key: Option<CallKey>, now: Instant) {
        // The frame that shows the key's digest is the first to be encrypted by it.
        self.secrecy = key.map(|key| Box::new(Secrecy::new(key)));
        self.send(Command::AuthRep, elements, now);
    }

    /// ACCEPT.
    pub(super) fn handle_accept(&mut self, elements: Ies<'_>, now: Instant) {
        let Some(dialling) = self
            .dialling
            .as_ref()
            .filter(|_| self.stage == Stage::Waiting)
        else {
            self.counts.odd += 1;
            return;
        };
        if dialling.config.encryption != EncryptionOffer::None && self.secrecy.is_none() {
            self.give_up(Ending::NotEncrypted, now);
            return;
        }
        let format = accepted_format(elements);
        if format.bits().count_ones() != 1 || !self.capability.contains(format) {
            self.give_up(Ending::NoFormat(format), now);
            return;
        }
        self.dialling = None;
        self.link(format, now);
        self.events.push_back(CallEvent::Accepted { format });
    }

    /// HANGUP or REJECT of the peer.
    pub(super) fn handle_end(&mut self, frame: &FullFrame<'_>) {
        let (text, code) = cause_of(frame.ies());
        let cause = Reason { text, code };
        self.end(match frame.command() {
            Some(Command::Reject) => Ending::Rejected {
                by: Side::Peer,
                cause,
            },
            _ => Ending::HungUp {
                by: Side::Peer,
                cause,
                acknowledged: true,
            },
        });
    }

    /// The callee asks for what we will not do: it is told by HANGUP, and this is why.
    fn give_up(&mut self, ending: Ending, now: Instant) {
        let cause = Reason::code(Cause::FacilityRejected.get());
        self.close(Command::Hangup, cause.write(), ending, now);
    }
}

impl DialConfig {
    /// The elements of NEW, in the order in which Asterisk writes them; the token comes last.
    fn new_elements(&self, token: Option<&[u8]>) -> IeWriter {
        let all = self
            .formats
            .iter()
            .fold(Formats::NONE, |all, format| all.or(*format));
        let first = self.formats.first().copied().unwrap_or(Formats::NONE);
        let letters: Vec<u8> = self
            .formats
            .iter()
            .filter_map(|format| preference_letter(*format))
            .collect();
        let mut elements = IeWriter::new()
            .ie(Ie::Version(VERSION))
            .ie(Ie::CalledNumber(Text(self.number.as_bytes())));
        if !letters.is_empty() {
            elements = elements.ie(Ie::CodecPrefs(Text(&letters)));
        }
        if let Some((number, name)) = &self.caller {
            elements = elements
                .ie(Ie::CallingNumber(Text(number.as_bytes())))
                .ie(Ie::CallingPres(0))
                .ie(Ie::CallingTon(0))
                .ie(Ie::CallingTns(0))
                .ie(Ie::CallingName(Text(name.as_bytes())));
        }
        if let Some(context) = &self.context {
            elements = elements.ie(Ie::CalledContext(Text(context.as_bytes())));
        }
        let named = self.credentials.as_ref();
        if let Some(credentials) = named.filter(|credentials| !credentials.user.is_empty()) {
            elements = elements.ie(Ie::Username(Text(credentials.user.as_bytes())));
        }
        elements = match self.encryption {
            EncryptionOffer::None => elements,
            EncryptionOffer::Required => elements.ie(Ie::Encryption(AES_128)),
            EncryptionOffer::Rotating => elements.ie(Ie::Encryption(AES_128 | KEY_ROTATION)),
        };
        elements = elements
            .ie(Ie::Format(first.low_bits()))
            .ie(Ie::Format2(first.bits()))
            .ie(Ie::Capability(all.low_bits()))
            .ie(Ie::Capability2(all.bits()));
        match token {
            _ if !self.offer_token => elements,
            token => elements.ie(Ie::CallToken(token.unwrap_or_default())),
        }
    }
}

/// The format of an ACCEPT: FORMAT2 where it is there, else FORMAT.
fn accepted_format(elements: Ies<'_>) -> Formats {
    let (mut narrow, mut wide) = (None, None);
    for ie in elements.map(Ie::read) {
        match ie {
            Ie::Format(bits) => narrow = Some(u64::from(bits)),
            Ie::Format2(bits) => wide = Some(bits),
            _ => {}
        }
    }
    Formats::from_bits(wide.or(narrow).unwrap_or(0))
}

/// Whether a caller's ENCRYPTION offers AES-128.
pub(super) const fn offers_encryption(bits: u16) -> bool {
    bits & AES_128 != 0
}

/// What a callee's AUTHREQ says of encryption.
pub(super) const fn encryption_element() -> Ie<'static> {
    Ie::Encryption(AES_128)
}

/// The method of a challenge that makes a key.
pub(super) const KEY_METHOD: Method = Method::Md5;
