//! PING and LAGRQ while a call is linked (RFC 5456 §6.7).

use std::time::{Duration, Instant};

use super::{Call, CallEvent, Stage};
use crate::{
    proto::media::report::ReceiverReport,
    types::Timestamp,
    wire::iax2::{
        command::{Command, FrameType},
        frame::FullFrame,
        ie::IeWriter,
    },
};

/// When what is due, and what is under way.
#[derive(Clone, Debug, Default)]
pub(super) struct Supervision {
    ping_due: Option<Instant>,
    lag_due: Option<Instant>,
    /// The last LAGRQ: its clock, and when it left.
    lag: Option<(Timestamp, Instant)>,
    ping: Option<(Timestamp, Instant)>,
}

impl Supervision {
    pub(super) fn begin(&mut self, ping_every: Duration, lag_every: Duration, now: Instant) {
        self.ping_due = Some(now + ping_every);
        self.lag_due = Some(now + lag_every);
    }

    pub(super) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let due = self.ping_due.into_iter().chain(self.lag_due).min()?;
        Some((due, "supervise a call"))
    }
}

impl Call {
    /// Asks the peer now how our audio arrives: its PONG may carry a receiver report.
    pub fn ping(&mut self, now: Instant) {
        if matches!(self.stage, Stage::Linked | Stage::Up) {
            let timestamp = self.send(Command::Ping, IeWriter::new(), now);
            self.supervision.ping = Some((timestamp, now));
            self.supervision.ping_due = Some(now + self.manners.ping_every);
            self.flush();
        }
    }

    pub(super) fn supervise(&mut self, now: Instant) {
        if !matches!(self.stage, Stage::Linked | Stage::Up) {
            return;
        }
        if self.supervision.ping_due.is_some_and(|due| due <= now) {
            self.ping(now);
        }
        if self.supervision.lag_due.is_some_and(|due| due <= now) {
            let timestamp = self
                .dialogue
                .send(FrameType::Iax, Command::LagRq, Vec::new(), now);
            self.supervision.lag = Some((timestamp, now));
            self.supervision.lag_due = Some(now + self.manners.lag_every);
        }
    }

    /// PING and LAGRQ of the peer: answered with their own timestamp.
    pub(super) fn handle_question(
        &mut self,
        frame: &FullFrame<'_>,
        command: Command,
        now: Instant,
    ) {
        let mut elements = IeWriter::new();
        if command == Command::Pong
            && let Some(report) = self.reception.report()
        {
            elements = report.write(elements);
        }
        let payload = elements.finish().unwrap_or_default();
        self.dialogue
            .send_echo(command, payload, frame.timestamp, now);
    }

    /// PONG: the round trip only where its PING was the last one, and sent once.
    pub(super) fn handle_pong(&mut self, frame: &FullFrame<'_>, now: Instant) {
        let asked = self
            .supervision
            .ping
            .take_if(|(timestamp, _)| *timestamp == frame.timestamp);
        self.events.push_back(CallEvent::Pong {
            round_trip: asked.map(|(_, sent)| now.saturating_duration_since(sent)),
            report: ReceiverReport::read(frame.ies()),
        });
    }

    /// A PONG that comes while an earlier frame is missing answers its PING all the same: where a path lets
    /// short frames pass alone, the missing one may never come, and what the peer counted is worth most.
    pub(super) fn overhear_pong(&mut self, frame: &FullFrame<'_>, now: Instant) {
        let asked = self.supervision.ping;
        let answers = asked.is_some_and(|(timestamp, _)| timestamp == frame.timestamp);
        if answers && frame.command() == Some(Command::Pong) {
            self.handle_pong(frame, now);
        }
    }

    /// LAGRP.
    pub(super) fn handle_lag(&mut self, frame: &FullFrame<'_>, now: Instant) {
        let asked = self
            .supervision
            .lag
            .take_if(|(timestamp, _)| *timestamp == frame.timestamp);
        if let Some((_, sent)) = asked {
            let lag = now.saturating_duration_since(sent);
            self.events.push_back(CallEvent::Lag(lag));
        }
    }
}
