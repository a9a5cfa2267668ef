//! What callers hear: the steps of an extension, echoes and the tone.

use std::time::{Duration, Instant};

use super::{
    Switchboard,
    extension::Step,
    fault::Fault,
    line::{Line, Part},
    lines::LineId,
};
use crate::proto::call::{Audio, Reason, Stage};

/// The length of a packet of the tone, and of the grid on which all leave.
const PACKET: Duration = Duration::from_millis(20);
/// A grid that is this far behind goes on from now: nobody wants what is late by more.
const BEHIND: Duration = Duration::from_millis(200);

impl Switchboard {
    /// Plays the steps that are due. The first is due when the caller has acknowledged ACCEPT.
    pub(super) fn play(&mut self, id: LineId, now: Instant) {
        if let Some(line) = self.lines.get_mut(id)
            && line.call.stage() == Stage::Linked
            && line.call.is_acknowledged()
            && let Some(caller) = line.caller_mut()
        {
            caller.playing.get_or_insert(now);
        }
        while let Some(step) = self.take_step(id, now) {
            self.take(id, step, now);
        }
    }

    fn take_step(&mut self, id: LineId, now: Instant) -> Option<Step> {
        let caller = self.lines.get_mut(id)?.caller_mut()?;
        let (_, step) = caller.next_step().filter(|(due, _)| *due <= now)?;
        caller.step += 1;
        Some(step)
    }

    fn take(&mut self, id: LineId, step: Step, now: Instant) {
        let Some(line) = self.lines.get_mut(id) else {
            return;
        };
        match step {
            Step::Answer => line.call.answer(now),
            Step::Control(control) => line.call.control(control, now),
            Step::HangUp(cause) => line.call.hang_up(Reason::code(cause.get()), now),
            Step::Tone(true) => {
                self.tones.insert(id);
                self.next_tick.get_or_insert(tick_after(self.born, now));
            }
            Step::Tone(false) => {
                self.tones.remove(&id);
            }
            Step::Echo => {
                if let Some(caller) = line.caller_mut() {
                    caller.echoes = true;
                }
            }
            Step::Text(text) => line.call.send_text(text.as_bytes(), now),
            Step::Digit(digit, ended) => line.call.send_digit(digit, ended, now),
            Step::Ring => self.lookups.push_back(id),
        }
    }

    pub(super) fn handle_audio(&mut self, id: LineId, audio: &Audio, now: Instant) {
        if self.config.faults.has(Fault::OneWay) {
            return;
        }
        let Some(line) = self.lines.get_mut(id) else {
            return;
        };
        let length = line.length_of(audio);
        if let Some(partner) = line.partner {
            self.pass(partner, |other| {
                other
                    .call
                    .send_audio(&audio.payload, audio.format, length, now);
            });
        } else if echoes(line) {
            line.call
                .send_audio(&audio.payload, audio.format, length, now);
        }
    }

    pub(super) fn handle_digit(&mut self, id: LineId, digit: u8, ended: bool, now: Instant) {
        let Some(line) = self.lines.get_mut(id) else {
            return;
        };
        if let Some(partner) = line.partner {
            self.pass(partner, |other| other.call.send_digit(digit, ended, now));
        } else if echoes(line) {
            line.call.send_digit(digit, ended, now);
        }
    }

    pub(super) fn handle_text(&mut self, id: LineId, text: &[u8], now: Instant) {
        let Some(line) = self.lines.get_mut(id) else {
            return;
        };
        if let Some(partner) = line.partner {
            self.pass(partner, |other| other.call.send_text(text, now));
        } else if echoes(line) {
            line.call.send_text(text, now);
        }
    }

    /// Plays the packets of the tone that are due, to all who hear it: on one grid, so that those of one peer
    /// share trunk frames.
    pub(super) fn tick(&mut self, now: Instant) {
        let Some(mut due) = self.next_tick else {
            return;
        };
        if due + BEHIND < now {
            due = tick_after(self.born, now);
        }
        let listeners: Vec<LineId> = self.tones.iter().copied().collect();
        while due <= now {
            let number = due.saturating_duration_since(self.born).as_millis() / PACKET.as_millis();
            for id in &listeners {
                self.play_tone(*id, u64::try_from(number).unwrap_or(0), due);
            }
            self.trunks.flush(&mut self.outbox, due);
            due += PACKET;
        }
        self.next_tick = (!listeners.is_empty()).then_some(due);
    }

    fn play_tone(&mut self, id: LineId, number: u64, due: Instant) {
        if self.config.faults.has(Fault::OneWay) {
            return;
        }
        let Some(line) = self.lines.get_mut(id) else {
            return;
        };
        if let Some(format) = line.call.format()
            && let Some(packet) = self.milliwatt.packet(format, number)
        {
            line.call.send_audio(packet, format, 20, due);
            self.send(id, due);
        }
    }
}

/// Whether what a line sends comes back to it.
fn echoes(line: &Line) -> bool {
    match &line.part {
        Part::Caller(caller) => caller.echoes,
        Part::Rung => false,
    }
}

/// The next instant of the grid.
fn tick_after(born: Instant, now: Instant) -> Instant {
    let periods = now.saturating_duration_since(born).as_millis() / PACKET.as_millis();
    born + PACKET * u32::try_from(periods + 1).unwrap_or(u32::MAX)
}
