//! The messages of one call in order, audio put together to runs.

use std::net::SocketAddr;

use super::{
    mark::{Mark, Seen},
    traced::Belongs,
};
use crate::wire::iax2::{frame::Frame, show::Show};

/// As many messages are kept.
const KEPT: usize = 1000;

/// One message, or a run of audio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rung {
    /// Where it stands.
    pub mark: Mark,
    /// It goes from the caller to the callee.
    pub rightward: bool,
    /// What it is.
    pub what: String,
}

/// All messages of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Climbed {
    /// The first of them.
    pub rungs: Vec<Rung>,
    /// How many more there are.
    pub more: u64,
}

/// Collects the messages of one call.
#[derive(Debug)]
pub struct Rungs {
    call: u32,
    caller: SocketAddr,
    climbed: Climbed,
    /// Audio since the last message: the first packet, and how many of each end.
    run: Option<(Mark, [u64; 2])>,
}

impl Rungs {
    /// Waits for the messages of the call with this number, placed from this address.
    #[must_use]
    pub fn new(call: u32, caller: SocketAddr) -> Self {
        Self {
            call,
            caller,
            climbed: Climbed::default(),
            run: None,
        }
    }

    /// Takes a datagram and whose it is.
    pub fn handle_input(&mut self, seen: &Seen<'_>, belongs: Belongs) {
        if belongs != Belongs::Call(self.call) {
            return;
        }
        let rightward = seen.source == self.caller;
        match Frame::decode(seen.payload) {
            Ok(Frame::Mini(_) | Frame::Video(_)) => {
                let (_, counts) = self.run.get_or_insert((seen.mark, [0; 2]));
                if let Some(count) = counts.get_mut(usize::from(!rightward)) {
                    *count += 1;
                }
            }
            Ok(Frame::Full(full)) => {
                self.end_run();
                let what = if full.ies().next().is_some() {
                    let shown = Show(seen.payload).to_string();
                    // Numbers and clocks stand in the columns; the elements are what is of use.
                    let elements = shown.split_once(" · ").map_or("", |(_, rest)| rest);
                    format!("{} {elements}", full.kind())
                } else {
                    full.kind().to_string()
                };
                self.push(seen.mark, rightward, what);
            }
            _ => {
                self.end_run();
                let what = format!("{} octets, not readable", seen.payload.len());
                self.push(seen.mark, rightward, what);
            }
        }
    }

    /// All of them.
    #[must_use]
    pub fn finish(mut self) -> Climbed {
        self.end_run();
        self.climbed
    }

    fn end_run(&mut self) {
        let Some((mark, [right, left])) = self.run.take() else {
            return;
        };
        for (count, rightward) in [(right, true), (left, false)] {
            if count > 0 {
                self.push(mark, rightward, format!("audio, {count} packets"));
            }
        }
    }

    fn push(&mut self, mark: Mark, rightward: bool, what: String) {
        if self.climbed.rungs.len() < KEPT {
            self.climbed.rungs.push(Rung {
                mark,
                rightward,
                what,
            });
        } else {
            self.climbed.more += 1;
        }
    }
}
