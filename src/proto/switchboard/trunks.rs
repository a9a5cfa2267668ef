//! Trunks: audio of many calls of one peer in one datagram, in both directions.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Instant,
};

use super::{Switchboard, fault::Fault};
use crate::{
    proto::{
        call::TrunkAudio,
        contract::{SocketKey, Transmit},
        door::Arrival,
        trunk::TrunkSender,
    },
    types::PeerAddr,
    wire::iax2::{
        frame::{Frame, MiniFrame},
        trunk::MetaTrunk,
    },
};

/// Names a trunk: where it leaves, and where it goes.
type TrunkKey = (SocketKey, PeerAddr);

/// The trunks that are in use.
#[derive(Debug)]
pub(super) struct Trunks {
    mtu: usize,
    of: BTreeMap<TrunkKey, Trunk>,
    /// Those with audio that has not left.
    loaded: BTreeSet<TrunkKey>,
}

#[derive(Debug)]
struct Trunk {
    sender: TrunkSender,
    /// The calls that use it.
    lines: usize,
}

impl Trunks {
    pub(super) const fn new(mtu: usize) -> Self {
        Self {
            mtu,
            of: BTreeMap::new(),
            loaded: BTreeSet::new(),
        }
    }

    /// One more call uses the trunk, in the form that its peer uses.
    fn join(&mut self, key: TrunkKey, timestamps: bool, now: Instant) {
        let trunk = self.of.entry(key).or_insert_with(|| Trunk {
            sender: TrunkSender::new(self.mtu, timestamps, now),
            lines: 0,
        });
        trunk.lines += 1;
    }

    /// A call does not use the trunk any more.
    pub(super) fn leave(&mut self, key: TrunkKey) {
        if let Some(trunk) = self.of.get_mut(&key) {
            trunk.lines -= 1;
            if trunk.lines == 0 {
                self.of.remove(&key);
                self.loaded.remove(&key);
            }
        }
    }

    /// Takes audio of a call; what no trunk frame has room for goes as a mini frame.
    pub(super) fn push(
        &mut self,
        key: TrunkKey,
        audio: TrunkAudio,
        outbox: &mut VecDeque<Transmit>,
        now: Instant,
    ) {
        let refused = match self.of.get_mut(&key) {
            Some(trunk) => trunk.sender.push(audio, now).err(),
            None => Some(audio),
        };
        match refused {
            None => {
                self.loaded.insert(key);
            }
            Some(audio) => {
                let mini = MiniFrame {
                    source: audio.source,
                    timestamp: audio.timestamp,
                    payload: &audio.payload,
                };
                outbox.push_back(transmit(key, Frame::Mini(mini).to_vec()));
            }
        }
    }

    /// Has everything leave that was taken.
    pub(super) fn flush(&mut self, outbox: &mut VecDeque<Transmit>, now: Instant) {
        while let Some(key) = self.loaded.pop_first() {
            if let Some(trunk) = self.of.get_mut(&key) {
                trunk.sender.flush(now);
                while let Some(payload) = trunk.sender.poll_transmit() {
                    outbox.push_back(transmit(key, payload));
                }
            }
        }
    }
}

fn transmit((socket, peer): TrunkKey, payload: Vec<u8>) -> Transmit {
    Transmit {
        socket,
        peer,
        payload,
        ttl: None,
    }
}

impl Switchboard {
    /// Takes a trunk frame: each entry is a call's of the same address and port, or nobody's.
    pub(super) fn handle_trunk(&mut self, trunk: &MetaTrunk<'_>, arrival: Arrival, now: Instant) {
        let deaf = self.config.faults.has(Fault::DeafTrunk);
        let timestamps = trunk.has_entry_timestamps();
        for entry in trunk.entries() {
            let id = self.lines.of_remote(arrival.peer, entry.source);
            let line = id.and_then(|id| self.lines.get_mut(id));
            let (Some(id), Some(line)) = (id, line) else {
                self.counts.entries_dropped += 1;
                continue;
            };
            let takes_trunk = line
                .account
                .and_then(|index| self.config.accounts.get(index))
                .is_some_and(|account| account.trunk);
            // Who encrypts its calls did not send this.
            if deaf || !takes_trunk || line.call.is_encrypted() {
                self.counts.entries_dropped += 1;
                continue;
            }
            let key = (line.socket, line.peer);
            if !line.trunked {
                line.trunked = true;
                line.call.set_trunked(true);
                self.trunks.join(key, timestamps, now);
            }
            if let Some(trunk) = self.trunks.of.get_mut(&key) {
                trunk.sender.set_timestamps(timestamps, now);
            }
            line.call.handle_entry(trunk, &entry, now);
            self.attend(id, now);
        }
        self.finish(now);
    }
}
