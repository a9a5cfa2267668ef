//! Control probes: is the path up, now? A missed answer counts only while they come back.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use super::{Lifetime, SPACING};

/// Time between control probes.
pub(super) const CONTROL: Duration = Duration::from_millis(500);
/// A miss is believed where a control probe sent this close to it was answered.
const CONTROL_WINDOW: Duration = Duration::from_millis(700);
/// How long a miss waits for such a control probe.
pub(super) const CONTROL_PATIENCE: Duration = Duration::from_secs(3);

/// Control probes: is the path up, now?
#[derive(Debug, Default)]
pub(super) struct Controls {
    pub(super) next: Option<Instant>,
    /// Sent, by index.
    open: BTreeMap<u32, Instant>,
    /// When the answered ones were sent; the oldest go.
    answered: VecDeque<Instant>,
    pub(super) sent: u32,
    pub(super) received: u32,
}

impl Controls {
    /// Takes note of a probe that leaves now.
    pub(super) fn handle_sent(&mut self, index: u32, now: Instant) {
        self.open.insert(index, now);
        self.sent += 1;
        self.next = Some(now + CONTROL);
    }

    /// Whether more probes were lost than a clean path loses.
    pub(super) fn show_loss(&self) -> bool {
        const STRAGGLERS: u32 = 4;
        self.sent > self.received + STRAGGLERS
    }

    pub(super) fn handle_answer(&mut self, index: u32) {
        const REMEMBERED: usize = 64;
        if let Some(sent) = self.open.remove(&index) {
            self.received += 1;
            self.answered.push_back(sent);
            if self.answered.len() > REMEMBERED {
                self.answered.pop_front();
            }
        }
    }

    /// Whether a control probe sent around `at` was answered.
    pub(super) fn was_up(&self, at: Instant) -> bool {
        self.answered
            .iter()
            .any(|sent| *sent + CONTROL_WINDOW >= at && *sent <= at + CONTROL_PATIENCE)
    }
}

impl Lifetime {
    pub(super) fn send_control(&mut self, now: Instant) {
        let nonce = self.take_nonce();
        self.controls.handle_sent(nonce.index, now);
        let payload = self
            .config
            .answerer
            .ask(self.token, nonce, true, &[], (1, SPACING));
        self.transmit(self.config.control, payload, now);
    }
}
