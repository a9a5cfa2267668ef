//! When a delayed answer is due: asked for where the delay is kept here, believed alive or missed, and
//! what follows for the edge, the pass and the sweep.

use std::time::{Duration, Instant};

use super::{
    Lifetime, LifetimeEvent, Phase, SPACING,
    candidate::Stage,
    control::{CONTROL, CONTROL_PATIENCE},
    edge::Sample,
    question::Answerer,
};
use crate::probe::{behaviour::Shape, message::Nonce};

/// Woken so long behind a deadline, this host has stalled: what came meanwhile is still to be read.
const STALL: Duration = Duration::from_millis(150);
/// Time to read it, granted once a deadline.
const REPRIEVE: Duration = Duration::from_millis(100);

impl Lifetime {
    /// The deadline of a candidate has come, or went by at `deadline`.
    pub(super) fn handle_deadline(&mut self, place: usize, deadline: Instant, now: Instant) {
        let keeps_no_delay = self.config.answerer.keeps_no_delay();
        let Some(candidate) = self.candidates.get(place).copied() else {
            return;
        };
        let awaits_answer = match candidate.stage {
            Stage::Opening | Stage::Asking => true,
            Stage::Idle | Stage::IdleAgain => !keeps_no_delay || candidate.copies > 0,
            Stage::Planned | Stage::Warming | Stage::Unconfirmed | Stage::Over => false,
        };
        if awaits_answer && !candidate.reprieved && now > deadline + STALL {
            self.arm(place, Some(now + REPRIEVE));
            if let Some(candidate) = self.candidates.get_mut(place) {
                candidate.reprieved = true;
            }
            return;
        }
        match candidate.stage {
            Stage::Planned => self.open(place, now),
            Stage::Opening | Stage::Asking => self.begin_again(place, now),
            Stage::Warming => self.ask(place, Stage::Asking, now),
            Stage::Idle => {
                let due = candidate.idle_since + candidate.first_idle();
                self.handle_due(place, 1, due, now);
            }
            Stage::IdleAgain => {
                let due = candidate.idle_since + candidate.second_idle();
                self.handle_due(place, 2, due, now);
            }
            Stage::Unconfirmed | Stage::Over => self.arm(place, None),
        }
    }

    /// A delayed answer is due, or overdue.
    fn handle_due(&mut self, place: usize, which: u8, due: Instant, now: Instant) {
        let Some(candidate) = self.candidates.get(place).copied() else {
            return;
        };
        if self.config.answerer.keeps_no_delay()
            && candidate.copies < self.copies()
            && let Some(mapped) = candidate.mapped
        {
            let nonce = Nonce {
                session: self.session,
                index: candidate.index,
            };
            self.transmit(
                self.config.control,
                Answerer::ask_for(nonce, which, mapped),
                now,
            );
            if let Some(candidate) = self.candidates.get_mut(place) {
                // The mapping was left idle for longer than meant.
                candidate.late |= candidate.copies == 0 && now > due + STALL;
                candidate.copies += 1;
            }
            let more = candidate.copies + 1 < self.copies();
            self.arm(place, Some(now + if more { SPACING } else { self.grace() }));
            return;
        }
        let sample = if candidate.late {
            Sample::Unknown
        } else if self.controls.frame(due) {
            Sample::Missed
        } else if now < due + self.wait() + CONTROL_PATIENCE {
            self.arm(place, Some(now + CONTROL / 2));
            return;
        } else {
            Sample::Unknown
        };
        if which == 1 {
            self.conclude(place, sample, now);
        } else {
            self.conclude_second(place, sample);
        }
    }

    pub(super) fn conclude(&mut self, place: usize, sample: Sample, now: Instant) {
        let Some(candidate) = self.candidates.get_mut(place) else {
            return;
        };
        candidate.sample = sample;
        self.survived_errors += u32::from(candidate.met_error && sample == Sample::Alive);
        let (shape, idle) = (candidate.shape, candidate.idle);
        if sample == Sample::Alive && shape == Shape::Exchange && self.config.isolation.is_none() {
            candidate.stage = Stage::IdleAgain;
            candidate.copies = 0;
            candidate.late = false;
            let due = candidate.idle_since + candidate.second_idle();
            let wait = if self.config.answerer.keeps_no_delay() {
                Duration::ZERO
            } else {
                self.wait()
            };
            self.arm(place, Some(due + wait));
        } else {
            candidate.stage = Stage::Over;
            self.arm(place, None);
        }
        self.passes.conclude(shape, idle, sample);
        self.look(shape, now);
    }

    /// The second answer is over: it came, or it did not.
    pub(super) fn conclude_second(&mut self, place: usize, sample: Sample) {
        if let Some(candidate) = self.candidates.get_mut(place) {
            candidate.stage = Stage::Over;
            self.seconds.push((candidate.second_idle(), sample));
        }
        self.arm(place, None);
    }

    /// Sees whether the shape's edge, or the pass, or the whole sweep is done.
    pub(super) fn look(&mut self, shape: Shape, now: Instant) {
        let edge = self.passes.proven(shape);
        if self.passes.edge(shape).settled && self.passes.is_final() && self.reported.insert(shape)
        {
            self.events.push_back(LifetimeEvent::Edge {
                shape,
                alive: edge.alive,
                dead: edge.dead,
            });
        }
        if self.passes.is_settled() {
            self.end_pass(now);
        }
    }

    /// Begins the next pass, or ends the sweep. A pass begins with a greeting, since it may outlast the
    /// token of the one before.
    pub(super) fn end_pass(&mut self, now: Instant) {
        self.candidates.clear();
        self.deadlines.clear();
        self.kept.clear();
        self.by_index.clear();
        self.status = None;
        self.renew = None;
        self.controls.next = None;
        match self.passes.next() {
            Some(plan) => {
                self.plan = plan;
                self.greet(0, now);
            }
            None => self.finish(now),
        }
    }

    pub(super) fn finish(&mut self, now: Instant) {
        if let Some(cancel) = self.config.answerer.cancel(self.token, self.session) {
            self.transmit(self.config.control, cancel, now);
        }
        self.phase = Phase::Over;
        self.events.push_back(LifetimeEvent::Finished);
    }
}
