//! Call tokens: to whom each was given, and from where it comes back.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use super::{Live, Slot, Tracer};
use crate::{
    trace::{
        call::{Moved, Side},
        mark::{Mark, Seen},
    },
    wire::iax2::{frame::FullFrame, ie::IeId},
};

/// Tokens that were given lately, and to whom.
#[derive(Debug, Default)]
pub(super) struct Tokens(BTreeMap<Vec<u8>, (SocketAddr, Mark)>);

/// As many tokens are remembered; they live ten seconds.
const TOKENS: usize = 4096;

impl Tracer {
    pub(super) fn note_token(&mut self, frame: &FullFrame<'_>, seen: &Seen<'_>) {
        let Some(token) = frame.ies().find(IeId::CallToken) else {
            return;
        };
        if self.tokens.0.len() >= TOKENS {
            self.tokens
                .0
                .retain(|_, (_, at)| seen.mark.since(at) < Duration::from_secs(30));
        }
        if self.tokens.0.len() < TOKENS && !token.is_empty() {
            self.tokens
                .0
                .insert(token.to_vec(), (seen.destination, seen.mark));
        }
    }

    /// A token that comes back from another address than the one it was given to.
    pub(super) fn check_token(&mut self, frame: &FullFrame<'_>, seen: &Seen<'_>, slot: Slot) {
        let Some(token) = frame.ies().find(IeId::CallToken) else {
            return;
        };
        let Some((given_to, at)) = self.tokens.0.get(token).copied() else {
            return;
        };
        if given_to == seen.source {
            return;
        }
        match self.dialogues.get(slot) {
            Some(Live::Registration(live)) => live.attempt.token_given_to = Some((given_to, at)),
            Some(Live::Call(live)) => {
                let call = &mut live.call;
                call.moved = Some(Box::new(Moved {
                    side: Side::Caller,
                    from: given_to,
                    to: seen.source,
                    before: at,
                    after: seen.mark,
                    frames: 1,
                }));
            }
            None => {}
        }
    }
}
