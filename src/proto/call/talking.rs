//! What both ends say and hear once the set-up is under way.

use std::time::Instant;

use super::{Audio, Call, CallEvent, Carrier, Stage, TrunkAudio};
use crate::wire::iax2::{
    command::{Command, Control, FrameType},
    format::Formats,
    frame::{Frame, FullFrame, Kind, MiniFrame, Subclass},
    ie::{IeId, IeWriter},
    ie_value::Ie,
};

impl Call {
    pub(super) fn handle_delivered(&mut self, frame: &FullFrame<'_>, now: Instant) {
        match frame.frame_type {
            FrameType::Iax => self.handle_command(frame, now),
            // What comes after the end is acknowledged, and nothing else.
            _ if matches!(self.stage, Stage::Closing | Stage::Over) => {}
            FrameType::Control => self.handle_control(frame),
            FrameType::Voice => self.handle_voice(frame, now),
            FrameType::DtmfBegin | FrameType::DtmfEnd => {
                self.events.push_back(CallEvent::Dtmf {
                    digit: frame.subclass.raw(),
                    ended: frame.frame_type == FrameType::DtmfEnd,
                });
            }
            FrameType::Text => {
                let text = frame.payload.strip_suffix(&[0]).unwrap_or(frame.payload);
                self.events.push_back(CallEvent::Text(text.to_vec()));
            }
            FrameType::Video
            | FrameType::Null
            | FrameType::Image
            | FrameType::Html
            | FrameType::ComfortNoise
            | FrameType::Modem
            | FrameType::Unknown(_) => {}
        }
    }

    fn handle_command(&mut self, frame: &FullFrame<'_>, now: Instant) {
        let Some(command) = frame.command() else {
            return;
        };
        let over = matches!(self.stage, Stage::Closing | Stage::Over);
        match command {
            Command::Ping => self.handle_question(frame, Command::Pong, now),
            Command::LagRq => self.handle_question(frame, Command::LagRp, now),
            Command::Hangup | Command::Reject => self.handle_end(frame),
            _ if over => {}
            Command::Pong => self.handle_pong(frame, now),
            Command::LagRp => self.handle_lag(frame, now),
            Command::AuthReq => self.handle_challenge(&frame.ies(), now),
            Command::AuthRep => self.handle_proof(frame),
            Command::Accept => self.handle_accept(frame.ies(), now),
            Command::Quelch | Command::Unquelch => {
                self.quelched = command == Command::Quelch;
                self.events.push_back(CallEvent::Quelched(self.quelched));
            }
            Command::RtKey => self.handle_key(frame),
            Command::TxReq => {
                // The peers of a transfer are strangers to each other's NATs; the media stays here.
                let mut elements = IeWriter::new();
                if let Some(raw) = frame.ies().find(IeId::TransferId) {
                    elements = elements.raw(IeId::TransferId.get(), raw);
                }
                self.send(Command::TxRej, elements, now);
                self.events.push_back(CallEvent::TransferDeclined);
            }
            Command::Unsupport => {
                let unknown = frame.ies().map(Ie::read).find_map(|ie| match ie {
                    Ie::IaxUnknown(command) => Some(command),
                    _ => None,
                });
                self.events.push_back(CallEvent::Unsupported(unknown));
            }
            // Heard, and nothing comes of it: parts of transfers, and of dialogues of another kind.
            Command::New
            | Command::Ack
            | Command::Inval
            | Command::Vnak
            | Command::RegReq
            | Command::RegAuth
            | Command::RegAck
            | Command::RegRej
            | Command::RegRel
            | Command::TxCnt
            | Command::TxAcc
            | Command::TxReady
            | Command::TxRel
            | Command::TxRej
            | Command::TxMedia
            | Command::Mwi
            | Command::Poke
            | Command::CallToken => self.counts.odd += 1,
            // Overlap dialling, provisioning, blind transfer and what nobody knows (RFC 5456 §6.9.4).
            Command::DpReq
            | Command::DpRep
            | Command::Dial
            | Command::Page
            | Command::Transfer
            | Command::Provision
            | Command::FwDownl
            | Command::FwData
            | Command::Unknown(_) => {
                let elements = IeWriter::new().ie(Ie::IaxUnknown(command.get()));
                self.send(Command::Unsupport, elements, now);
            }
        }
    }

    fn handle_proof(&mut self, frame: &FullFrame<'_>) {
        if self.dialling.is_some() || self.stage != Stage::Waiting {
            self.counts.odd += 1;
            return;
        }
        self.events
            .push_back(CallEvent::Proof(frame.payload.to_vec()));
    }

    fn handle_key(&mut self, frame: &FullFrame<'_>) {
        let key = frame.ies().find(IeId::Challenge);
        match (key.and_then(|key| key.try_into().ok()), &mut self.secrecy) {
            (Some(key), Some(secrecy)) => {
                secrecy.rotate(key);
                self.events.push_back(CallEvent::KeyRotated);
            }
            _ => self.counts.odd += 1,
        }
    }

    fn handle_control(&mut self, frame: &FullFrame<'_>) {
        let Some(control) = frame.control() else {
            return;
        };
        if self.stage == Stage::Waiting {
            self.counts.odd += 1;
            return;
        }
        match control {
            Control::Answer if self.stage == Stage::Linked => {
                self.stage = Stage::Up;
                self.events.push_back(CallEvent::Progress(control));
            }
            // An ANSWER to an answered call says nothing new.
            Control::Answer => self.counts.odd += 1,
            Control::StopTones => {}
            other => self.events.push_back(CallEvent::Progress(other)),
        }
    }

    fn handle_voice(&mut self, frame: &FullFrame<'_>, now: Instant) {
        let Some(format) = frame.format() else {
            self.counts.odd += 1;
            return;
        };
        let timestamp = self.incoming.full(frame.timestamp, format);
        self.take_audio(timestamp, frame.payload, Carrier::Full, now);
    }

    pub(super) fn take_audio(
        &mut self,
        timestamp: u32,
        payload: &[u8],
        carrier: Carrier,
        now: Instant,
    ) {
        let (Stage::Linked | Stage::Up, Some(agreed)) = (self.stage, self.format) else {
            self.counts.odd += 1;
            return;
        };
        let format = self.incoming.format().unwrap_or(agreed);
        self.counts.audio_received += 1;
        if carrier == Carrier::Queued {
            self.reception.note_queued();
        } else {
            self.reception.note(timestamp, format, payload.len(), now);
        }
        self.events.push_back(CallEvent::Audio(Audio {
            format,
            timestamp,
            payload: payload.to_vec(),
            carrier,
        }));
    }

    /// Sends one packet of audio that lasts `millis`; false where the call takes none. The first one, and
    /// those that [`Manners`](super::Manners) say, go as full frames, the others as mini frames or wait for
    /// a trunk frame.
    pub fn send_audio(
        &mut self,
        payload: &[u8],
        format: Formats,
        millis: u32,
        now: Instant,
    ) -> bool {
        let Some(subclass) = Subclass::from_value(format.bits()) else {
            return false;
        };
        if !self.takes_media() {
            return false;
        }
        let clock = self.dialogue.clock(now);
        let (timestamp, full) =
            self.outgoing
                .stamp(clock, format, millis, self.manners.full_at_wrap);
        self.counts.audio_sent += 1;
        #[allow(clippy::cast_possible_truncation)] // the low half is what a mini frame carries
        let low = timestamp as u16;
        let source = self.local();
        if full {
            let kind = Kind {
                frame_type: FrameType::Voice,
                subclass,
            };
            let timestamp = crate::types::Timestamp::from_millis(timestamp);
            self.dialogue
                .send_media(kind, payload.to_vec(), timestamp, now);
            self.flush();
        } else if self.trunked && self.secrecy.is_none() {
            if self.trunk.len() == super::TRUNK_BACKLOG {
                self.trunk.pop_front();
            }
            self.trunk.push_back(TrunkAudio {
                source,
                timestamp: low,
                payload: payload.to_vec(),
            });
        } else {
            let mini = MiniFrame {
                source,
                timestamp: low,
                payload,
            };
            self.emit(Frame::Mini(mini).to_vec());
        }
        true
    }

    /// Sends one DTMF digit, as begin and end where the peer is to hear both, as Asterisk does.
    pub fn send_digit(&mut self, digit: u8, ended: bool, now: Instant) {
        if matches!(self.stage, Stage::Linked | Stage::Up) {
            let frame_type = if ended {
                FrameType::DtmfEnd
            } else {
                FrameType::DtmfBegin
            };
            let subclass = Subclass::from_raw(digit & 0x7f);
            let kind = Kind {
                frame_type,
                subclass,
            };
            self.send_other(kind, Vec::new(), now);
        }
    }

    /// Sends text, with the NUL that Asterisk expects.
    pub fn send_text(&mut self, text: &[u8], now: Instant) {
        if matches!(self.stage, Stage::Linked | Stage::Up) {
            let kind = Kind {
                frame_type: FrameType::Text,
                subclass: Subclass::from_raw(0),
            };
            let payload = [text, &[0]].concat();
            self.send_other(kind, payload, now);
        }
    }
}
