//! Follows every dialogue of a capture, datagram by datagram.

mod flows;
mod strays;
mod tokens;

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use tokens::Tokens;

use super::{
    call::{self, Call, Secret, Side},
    dialogues::{Dialogues, Key, Live, Registration, Slot},
    flow::Icmp,
    hash::Keyed,
    mark::{Mark, Seen},
    media::{Carrier, Clock},
    name::Names,
    registration::{Attempt, Sender},
    secrecy::{Secrecy, may_be_encrypted},
    traced::{Belongs, Settings, Traced},
};
use crate::{
    types::CallNumber,
    wire::{
        iax2::{
            command::Command,
            frame::{FULL_HEADER, Frame, FullFrame, MiniFrame},
            trunk::MetaTrunk,
        },
        link::IcmpError,
    },
};

/// Follows the dialogues of a capture.
#[derive(Debug)]
pub struct Tracer {
    settings: Settings,
    /// By the hash of their addresses, or the next place that is free.
    flows: HashMap<u64, u32, Keyed>,
    keyed: Keyed,
    recent: Option<(SocketAddr, SocketAddr, u32, usize)>,
    dialogues: Dialogues,
    names: Names,
    /// Tokens that were given lately, and to whom.
    tokens: Tokens,
    traced: Traced,
    calls: u32,
    registrations: u32,
    swept: Option<Mark>,
}

/// How often dialogues that are over are put away.
const SWEEP_MICROS: u64 = 5_000_000;

impl Tracer {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let keyed = Keyed::new(settings.seed);
        Self {
            settings,
            flows: HashMap::with_hasher(keyed),
            keyed,
            recent: None,
            dialogues: Dialogues::new(keyed),
            names: Names::new(keyed),
            tokens: Tokens::default(),
            traced: Traced::default(),
            calls: 0,
            registrations: 0,
            swept: None,
        }
    }

    /// What is known so far; dialogues under way are not in it.
    #[must_use]
    pub const fn traced(&self) -> &Traced {
        &self.traced
    }

    /// Takes a datagram.
    #[inline]
    pub fn handle_input(&mut self, seen: &Seen<'_>) -> Belongs {
        let Some((flow, end)) = self.flow(seen) else {
            return Belongs::Nowhere;
        };
        self.note(flow, end, seen.mark);
        match Frame::decode(seen.payload) {
            Ok(Frame::Mini(mini)) => self.mini(flow, end, &mini, seen),
            Ok(Frame::Full(full)) => self.full(flow, end, &full, seen),
            Ok(Frame::Trunk(trunk)) => self.trunk(flow, end, &trunk, seen),
            Ok(Frame::Video(video)) => {
                self.traced.counts.mini += 1;
                self.audio_of(flow, end, video.source, None, seen)
            }
            Ok(Frame::Meta(_)) => Belongs::Flow,
            Err(_) => self.broken(flow, end, seen),
        }
    }

    /// Takes an ICMP error about a datagram of a flow that is known.
    pub fn handle_icmp(&mut self, error: &IcmpError<'_>, mark: Mark) {
        let Ok((flow, end)) = self.find_flow(error.quoted.source, error.quoted.destination) else {
            return;
        };
        let slot = self.traced.flows.get_mut(flow as usize);
        let Some(slot) = slot.and_then(|flow| flow.icmp.get_mut(end)) else {
            return;
        };
        let icmp = slot.get_or_insert_with(|| {
            Box::new(Icmp {
                count: 0,
                first: mark,
                last: mark,
                from: error.from,
                kind: (error.kind, error.code),
            })
        });
        icmp.count = icmp.count.saturating_add(1);
        icmp.last = mark;
    }

    /// The capture is over: what is under way is put down as it stands.
    #[must_use]
    pub fn finish(mut self) -> Traced {
        if let Some((_, last)) = self.traced.span {
            for flow in &mut self.traced.flows {
                flow.settle(0, last, true);
                flow.settle(1, last, true);
            }
            self.put_away(last, true);
        }
        // In place: no two are equal, and a stable sort would take half as much memory again.
        self.traced.calls.sort_unstable_by_key(|call| call.id);
        self.traced
            .registrations
            .sort_unstable_by_key(|attempt| (attempt.first.file(), attempt.first.number()));
        self.traced
    }

    #[inline]
    fn note(&mut self, flow: u32, end: usize, mark: Mark) {
        self.traced.counts.datagrams += 1;
        self.traced.span = Some(match self.traced.span {
            Some((first, _)) => (first, mark),
            None => (mark, mark),
        });
        if let Some(flow) = self.traced.flows.get_mut(flow as usize)
            && let Some(count) = flow.packets.get_mut(end)
        {
            *count = count.saturating_add(1);
        }
        match self.swept {
            Some(swept) if mark.micros_since(&swept) < SWEEP_MICROS => {}
            Some(_) => {
                self.swept = Some(mark);
                self.put_away(mark, false);
            }
            None => self.swept = Some(mark),
        }
    }

    /// Notes when this end was last heard, after whatever looks at when it was heard before.
    #[inline]
    fn heard(&mut self, flow: u32, end: usize, mark: Mark) {
        if let Some(flow) = self.traced.flows.get_mut(flow as usize) {
            if let Some(last) = flow.last.get_mut(end) {
                *last = Some(mark);
            }
            if flow.idle.is_some() {
                flow.note_heard(end);
            }
        }
    }

    fn mini(&mut self, flow: u32, end: usize, mini: &MiniFrame<'_>, seen: &Seen<'_>) -> Belongs {
        self.traced.counts.mini += 1;
        let octets = mini.payload.len() + seen.missing;
        let audio = Some((Carrier::Mini, Clock::Low(mini.timestamp), octets));
        self.audio_of(flow, end, mini.source, audio, seen)
    }

    fn trunk(&mut self, flow: u32, end: usize, trunk: &MetaTrunk<'_>, seen: &Seen<'_>) -> Belongs {
        self.traced.counts.trunk += 1;
        if let Some(flow) = self.traced.flows.get_mut(flow as usize)
            && let Some(count) = flow.trunks.get_mut(end)
        {
            *count = count.saturating_add(1);
        }
        for entry in trunk.entries() {
            let clock = entry.timestamp.map_or(Clock::None, Clock::Low);
            let audio = Some((Carrier::Trunk, clock, entry.payload.len()));
            self.audio_of(flow, end, entry.source, audio, seen);
        }
        Belongs::Flow
    }

    #[inline]
    fn audio_of(
        &mut self,
        flow: u32,
        end: usize,
        number: CallNumber,
        audio: Option<(Carrier, Clock, usize)>,
        seen: &Seen<'_>,
    ) -> Belongs {
        let mark = seen.mark;
        self.heard(flow, end, mark);
        let slot = self.dialogues.find(Key::new(flow, end, number));
        let Some(Live::Call(live)) = slot.and_then(|slot| self.dialogues.get(slot)) else {
            self.traced.counts.stray_audio += 1;
            return Belongs::Flow;
        };
        let side = side_of(live.call.caller, end);
        if let Some((carrier, clock, octets)) = audio {
            // Behind the number of an encrypted mini frame nothing is what it seems.
            let clock = match &mut live.secrecy {
                Some(secrecy) if carrier == Carrier::Mini => secrecy
                    .clock(side.index(), seen.payload)
                    .map_or(Clock::None, Clock::Low),
                _ => clock,
            };
            live.audio(side, carrier, clock, octets, mark);
        }
        Belongs::Call(live.call.id)
    }

    /// A datagram that is no frame, or one that was not captured as a whole.
    fn broken(&mut self, flow: u32, end: usize, seen: &Seen<'_>) -> Belongs {
        if seen.missing > 0
            && let Some(header) = seen.payload.get(..FULL_HEADER)
            && let Ok(Frame::Full(full)) = Frame::decode(header)
        {
            self.traced.counts.cut += 1;
            return self.full(flow, end, &full, seen);
        }
        // Behind an encrypted header anything may stand.
        if let Some(&[s0, s1, d0, d1]) = seen.payload.first_chunk::<4>()
            && s0 & 0x80 != 0
        {
            let source = CallNumber::from_bits(u16::from_be_bytes([s0, s1]));
            let destination = CallNumber::from_bits(u16::from_be_bytes([d0, d1]));
            if let Some(slot) = self.slot_of(flow, end, source, destination)
                && let Some(belongs) = self.sealed(slot, end, seen)
            {
                self.traced.counts.full += 1;
                self.heard(flow, end, seen.mark);
                return belongs;
            }
        }
        self.traced.counts.malformed += 1;
        self.heard(flow, end, seen.mark);
        Belongs::Flow
    }

    fn slot_of(
        &self,
        flow: u32,
        end: usize,
        source: CallNumber,
        destination: CallNumber,
    ) -> Option<Slot> {
        let own = || self.dialogues.find(Key::new(flow, end, source));
        let far = || self.dialogues.find(Key::new(flow, 1 - end, destination));
        if source == CallNumber::STATELESS || source.is_none() {
            return far();
        }
        own().or_else(|| if destination.is_none() { None } else { far() })
    }

    fn full(&mut self, flow: u32, end: usize, frame: &FullFrame<'_>, seen: &Seen<'_>) -> Belongs {
        self.traced.counts.full += 1;
        let belongs = self.full_frame(flow, end, frame, seen);
        self.heard(flow, end, seen.mark);
        belongs
    }

    fn full_frame(
        &mut self,
        flow: u32,
        end: usize,
        frame: &FullFrame<'_>,
        seen: &Seen<'_>,
    ) -> Belongs {
        let command = frame.command();
        if command == Some(Command::Inval) {
            self.traced.counts.invals += 1;
        }
        if frame.destination.is_none()
            && let Some(Command::New | Command::RegReq | Command::RegRel | Command::Poke) = command
        {
            return self.first_frame(flow, end, frame, seen);
        }
        if command == Some(Command::Poke) {
            self.poke(flow, end, frame, seen.mark);
            return Belongs::Flow;
        }
        if command == Some(Command::CallToken) {
            self.note_token(frame, seen);
        }
        if command == Some(Command::Pong)
            && let Some(flow) = self.traced.flows.get_mut(flow as usize)
            && flow.pong(end, frame.destination, seen.mark)
        {
            return Belongs::Flow;
        }
        match self.slot_of(flow, end, frame.source, frame.destination) {
            Some(slot) => self.follow(slot, flow, end, frame, seen),
            None => self.stray(flow, end, frame, seen),
        }
    }

    fn first_frame(
        &mut self,
        flow: u32,
        end: usize,
        frame: &FullFrame<'_>,
        seen: &Seen<'_>,
    ) -> Belongs {
        if frame.command() == Some(Command::Poke) {
            self.poke(flow, end, frame, seen.mark);
            return Belongs::Flow;
        }
        let key = Key::new(flow, end, frame.source);
        if let Some(slot) = self.dialogues.find(key) {
            let is_new = frame.command() == Some(Command::New);
            let begins_anew = match self.dialogues.get(slot) {
                Some(Live::Call(live)) => {
                    let own = side_of(live.call.caller, end) == Side::Caller;
                    !is_new || !own || (live.is_over(seen.mark) && !frame.retransmission)
                }
                Some(Live::Registration(live)) => {
                    let own = live.client == end;
                    is_new || !own || (live.attempt.is_over(seen.mark) && !frame.retransmission)
                }
                None => true,
            };
            if !begins_anew {
                self.check_token(frame, seen, slot);
                return self.follow(slot, flow, end, frame, seen);
            }
            self.close(slot, seen.mark);
        }
        let Some(slot) = self.begin(flow, end, frame, seen) else {
            return Belongs::Flow;
        };
        self.check_token(frame, seen, slot);
        self.follow(slot, flow, end, frame, seen)
    }

    fn begin(
        &mut self,
        flow: u32,
        end: usize,
        frame: &FullFrame<'_>,
        seen: &Seen<'_>,
    ) -> Option<Slot> {
        let key = Key::new(flow, end, frame.source);
        if self.dialogues.len() >= self.settings.limits.at_once {
            self.traced.counts.beyond += 1;
            return None;
        }
        let live = if let Some(Command::RegReq | Command::RegRel) = frame.command() {
            self.registrations += 1;
            Live::Registration(Box::new(Registration {
                id: self.registrations,
                flow,
                client: end,
                far: CallNumber::NONE,
                attempt: Attempt::begin(seen, frame),
            }))
        } else {
            self.calls += 1;
            let mut live = call::Live::begin(self.calls, flow, end, frame, seen.mark);
            let of = self.traced.flows.get(flow as usize);
            live.idle_before = of.and_then(|flow| flow.idle_of_client(end, seen.mark));
            Live::Call(Box::new(live))
        };
        Some(self.dialogues.insert(key, live))
    }

    /// A frame of a dialogue that is known.
    fn follow(
        &mut self,
        slot: Slot,
        flow: u32,
        end: usize,
        frame: &FullFrame<'_>,
        seen: &Seen<'_>,
    ) -> Belongs {
        if let Some(belongs) = self.sealed(slot, end, seen) {
            return belongs;
        }
        let mark = seen.mark;
        let learned = frame.source != CallNumber::STATELESS && !frame.source.is_none();
        let Some(live) = self.dialogues.get(slot) else {
            return Belongs::Flow;
        };
        match live {
            Live::Registration(live) => {
                let client = live.client == end;
                let id = live.id;
                let sender = if client {
                    Sender::Client
                } else {
                    Sender::Registrar
                };
                live.attempt.take(sender, frame, mark);
                if !client && learned && live.far.is_none() {
                    live.far = frame.source;
                    self.dialogues
                        .learn(Key::new(flow, end, frame.source), slot);
                }
                let registered = frame.command() == Some(Command::RegAck);
                if let Some(flow) = self.traced.flows.get_mut(flow as usize)
                    && registered
                    && !client
                {
                    flow.client = u8::try_from(1 - end).ok();
                }
                Belongs::Registration(id)
            }
            Live::Call(live) => {
                let side = side_of(live.call.caller, end);
                let id = live.call.id;
                let challenged = frame.command() == Some(Command::AuthReq);
                live.take(side, frame, mark);
                if challenged
                    && live.call.secret == Secret::Sealed
                    && let Some(challenge) = &live.challenge
                {
                    let secret = self.settings.secret.as_ref();
                    live.secrecy = Some(Secrecy::new(challenge, secret));
                }
                let own = live.call.numbers.get_mut(side.index());
                if learned
                    && let Some(own) = own
                    && own.is_none()
                {
                    *own = frame.source;
                    let [one, other] = live.call.numbers;
                    self.dialogues
                        .learn(Key::new(flow, end, frame.source), slot);
                    self.dialogues.learn_pair(one, other, slot);
                }
                Belongs::Call(id)
            }
        }
    }

    /// A frame of an encrypted call: what is in it where it can be read; `None` where the call, or this frame, is
    /// in clear.
    fn sealed(&mut self, slot: Slot, end: usize, seen: &Seen<'_>) -> Option<Belongs> {
        let Some(Live::Call(live)) = self.dialogues.get(slot) else {
            return None;
        };
        let side = side_of(live.call.caller, end);
        let secrecy = live.secrecy.as_mut()?;
        if !may_be_encrypted(seen.payload) {
            return None;
        }
        let plain = secrecy.open(side.index(), seen.payload);
        match plain.as_deref().map(Frame::decode) {
            Some(Ok(Frame::Full(full))) => live.take(side, &full, seen.mark),
            _ => live.note_heard(side, seen.mark),
        }
        Some(Belongs::Call(live.call.id))
    }

    fn poke(&mut self, flow: u32, end: usize, frame: &FullFrame<'_>, mark: Mark) {
        if let Some(flow) = self.traced.flows.get_mut(flow as usize) {
            flow.poke(end, frame.source, frame.retransmission, mark);
        }
    }

    fn put_away(&mut self, now: Mark, all: bool) {
        for slot in self.dialogues.over(now, all) {
            self.close(slot, now);
        }
    }

    fn close(&mut self, slot: Slot, now: Mark) {
        let limits = self.settings.limits;
        match self.dialogues.remove(slot) {
            Some(Live::Registration(mut live)) => {
                live.attempt.close(now);
                self.names.share(&mut live.attempt.user);
                self.names.share(&mut live.attempt.cause);
                if self.traced.registrations.len() < limits.registrations {
                    self.traced.registrations.push(live.attempt);
                } else {
                    self.traced.counts.beyond += 1;
                }
            }
            Some(Live::Call(live)) => {
                let idle = live.idle_before;
                let mut call = live.close(now);
                // Frames with both numbers and no answer from anybody are those of no call.
                if call.began_before && call.last.iter().any(Option::is_none) {
                    return;
                }
                self.note_reached(&call, idle);
                for name in call.names_mut() {
                    self.names.share(name);
                }
                if self.traced.calls.len() < limits.calls {
                    self.traced.calls.push(call);
                } else {
                    self.traced.counts.beyond += 1;
                }
            }
            None => {}
        }
    }

    /// A call to a registered client tells whether the way to it was open.
    fn note_reached(&mut self, call: &Call, idle: Option<Duration>) {
        let (Some(idle), Some(flow)) = (idle, self.traced.flows.get_mut(call.flow as usize)) else {
            return;
        };
        if call.last[1].is_some() {
            let idle_of = flow.idle.get_or_insert_default();
            // A NEW that had to be sent again may have come through later only.
            if call.retransmissions[0] == 0 {
                idle_of.note_answered(idle, call.first);
            }
        } else if call.end == call::End::Unanswered {
            let idle_of = flow.idle.get_or_insert_default();
            idle_of.note_unanswered(idle, call.first);
        }
    }
}

const fn side_of(caller: usize, end: usize) -> Side {
    if caller == end {
        Side::Caller
    } else {
        Side::Callee
    }
}
