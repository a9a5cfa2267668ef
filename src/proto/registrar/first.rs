//! The first request of a registration: it is answered without state, or opens a dialogue.

use std::time::{Duration, Instant};

use super::{
    Registrar, RegistrarEvent,
    dialogue::{Dialogue, Stage},
};
use crate::{
    proto::{
        account::CallTokenRule,
        door::{Arrival, Entry, UNPROVEN_PATIENCE},
        proof::challenge,
        reliable::Reliable,
    },
    types::CallNumber,
    wire::iax2::{command::Command, frame::FullFrame, ie::IeId, ie_value::Text},
};

/// A dialogue that a peer keeps alive without finishing ends by then.
const DIALOGUE_LIMIT: Duration = Duration::from_secs(40);

impl Registrar {
    /// A first request: from somebody that nothing is known of.
    pub(super) fn handle_first(&mut self, frame: &FullFrame<'_>, arrival: Arrival, now: Instant) {
        let user = frame.ies().find(IeId::Username).unwrap_or_default();
        let index = std::str::from_utf8(user)
            .ok()
            .and_then(|name| self.by_name.get(name))
            .copied();
        // Where nothing is asked either, the token is all that proves the address.
        let may_lack_token = index
            .and_then(|index| self.config.accounts.get(index))
            .is_some_and(|account| {
                account.call_token == CallTokenRule::Optional && !account.methods.is_empty()
            });
        let in_use = |key: &_| self.dialogues.contains_key(key);
        let entry = self.door.knock(frame, arrival, may_lack_token, in_use, now);
        match entry {
            Entry::Dropped => {}
            Entry::Answered { with, why } => {
                self.outbox.push_back(with);
                if let Some(why) = why {
                    self.events.push_back(RegistrarEvent::Refused {
                        user: Text(user).to_string(),
                        peer: arrival.peer,
                        why,
                    });
                }
            }
            Entry::Open { local, proven } => {
                if !proven && let Some(oldest) = self.door.gives_way() {
                    self.free(oldest, now);
                }
                self.open(frame, arrival, (local, index, proven), now);
            }
        }
    }

    fn open(
        &mut self,
        frame: &FullFrame<'_>,
        arrival: Arrival,
        (local, account, proven): (CallNumber, Option<usize>, bool),
        now: Instant,
    ) {
        let key = (arrival.peer, local);
        let reliable = if proven {
            Reliable::new(local, self.config.retry, now)
        } else {
            Reliable::unproven(local, UNPROVEN_PATIENCE, now)
        };
        let user = frame
            .ies()
            .find(IeId::Username)
            .unwrap_or_default()
            .to_vec();
        self.dialogues.insert(
            key,
            Dialogue {
                reliable,
                socket: arrival.socket,
                remote: frame.source,
                account,
                user,
                proven,
                release: frame.command() == Some(Command::RegRel),
                challenge: challenge(&mut self.rng),
                stage: Stage::Opened,
                ends: now + DIALOGUE_LIMIT,
                armed: None,
            },
        );
        self.by_remote.insert((arrival.peer, frame.source), local);
        self.door.enter(key, proven);
        self.handle_dialogue(frame, key, now);
    }
}
