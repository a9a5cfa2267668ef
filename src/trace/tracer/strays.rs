//! Frames of no dialogue that is known: an end that moved, or a call from before the capture.

use super::{Key, Live, Slot, Tracer};
use crate::{
    trace::{
        call::{self, Moved, Side},
        mark::Seen,
        traced::{Belongs, StrayInval},
    },
    wire::iax2::{
        command::{Command, FrameType},
        frame::FullFrame,
    },
};

/// As many strays are kept.
const STRAYS: usize = 100;

impl Tracer {
    /// A frame of no dialogue: an end that moved, or a call from before the capture.
    pub(super) fn stray(
        &mut self,
        flow: u32,
        end: usize,
        frame: &FullFrame<'_>,
        seen: &Seen<'_>,
    ) -> Belongs {
        self.traced.counts.stray += 1;
        let (source, destination) = (frame.source, frame.destination);
        let both = source.get() > 1 && destination.get() > 1;
        let command = frame.command();
        if command == Some(Command::Inval) && self.traced.stray_invals.len() < STRAYS {
            self.traced.stray_invals.push(StrayInval {
                mark: seen.mark,
                from: seen.source,
                to: seen.destination,
                number: source,
            });
        }
        if let Some(slot) = both
            .then(|| self.dialogues.find_pair(source, destination))
            .flatten()
            && let Some(belongs) = self.moved(slot, frame, seen)
        {
            return belongs;
        }
        let of_a_call = match command {
            None => !matches!(frame.frame_type, FrameType::Unknown(_)),
            Some(command) => matches!(
                command,
                Command::Ping | Command::LagRq | Command::Pong | Command::LagRp | Command::Hangup
            ),
        };
        if !both || !of_a_call {
            return Belongs::Flow;
        }
        self.calls += 1;
        let live = call::Live::begin(self.calls, flow, end, frame, seen.mark);
        let slot = self
            .dialogues
            .insert(Key::new(flow, end, source), Live::Call(Box::new(live)));
        self.dialogues
            .learn(Key::new(flow, 1 - end, destination), slot);
        self.dialogues.learn_pair(source, destination, slot);
        self.follow(slot, flow, end, frame, seen)
    }

    /// A frame with both numbers of a call, from another address than before: who it is that moved.
    fn moved(&mut self, slot: Slot, frame: &FullFrame<'_>, seen: &Seen<'_>) -> Option<Belongs> {
        let Some(Live::Call(live)) = self.dialogues.get(slot) else {
            return None;
        };
        let call = &mut live.call;
        let side = if call.numbers[0] == frame.source {
            Side::Caller
        } else {
            Side::Callee
        };
        let flow = self.traced.flows.get(call.flow as usize)?;
        let at = |side: Side| {
            let end = match side {
                Side::Caller => call.caller,
                Side::Callee => 1 - call.caller,
            };
            flow.end(end)
        };
        let (own, far) = (at(side)?, at(side.other())?);
        // The other end stays where it was, else these are the numbers of another call.
        if far != seen.destination || own == seen.source || call.ended.is_some() {
            return None;
        }
        let before = call.last.get(side.index()).copied().flatten()?;
        let moved = call.moved.get_or_insert_with(|| {
            Box::new(Moved {
                side,
                from: own,
                to: seen.source,
                before,
                after: seen.mark,
                frames: 0,
            })
        });
        moved.frames = moved.frames.saturating_add(1);
        Some(Belongs::Call(call.id))
    }
}
