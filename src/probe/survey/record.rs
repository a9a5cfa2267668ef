//! What the registrations of one survey showed, the first and its renewals together.

use std::time::{Duration, Instant};

use crate::{
    probe::evidence::{RegistrationEvidence, RegistrationState},
    proto::registration::{Outcome, RegistrationEvent},
    types::LocalAddr,
};

/// The registration is not renewed more often, whatever the registrar grants.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(5);

/// The record of one account.
#[derive(Debug)]
pub(super) struct Record {
    evidence: RegistrationEvidence,
    /// REGREL instead of REGREQ.
    release: bool,
    began: Instant,
    ended: bool,
}

impl Record {
    pub(super) fn new(
        user: &str,
        assumed_refresh: Option<Duration>,
        release: bool,
        now: Instant,
    ) -> Self {
        let evidence = RegistrationEvidence {
            user: user.to_owned(),
            state: RegistrationState::Timeout,
            auth: None,
            offered_methods: None,
            refresh: None,
            assumed_refresh,
            apparent: Vec::new(),
            local: None,
            call_token: None,
            cause: None,
            cause_code: None,
            elapsed: Duration::ZERO,
            unreachable: None,
            invals: 0,
            answered_from: None,
        };
        Self {
            evidence,
            release,
            began: now,
            ended: false,
        }
    }

    pub(super) const fn evidence(&self) -> &RegistrationEvidence {
        &self.evidence
    }

    pub(super) fn note_local(&mut self, local: LocalAddr) {
        self.evidence.local = Some(local);
    }

    /// Takes one event; returns when the registration is to be renewed, if it is.
    pub(super) fn note(&mut self, event: &RegistrationEvent, now: Instant) -> Option<Instant> {
        let evidence = &mut self.evidence;
        match event {
            RegistrationEvent::TokenReceived => evidence.call_token = Some(true),
            RegistrationEvent::Challenged { offered, method } => {
                evidence.offered_methods = Some(*offered);
                evidence.auth = Some(method.as_str());
                evidence.call_token.get_or_insert(false);
            }
            RegistrationEvent::Restarted => evidence.invals += 1,
            RegistrationEvent::AnsweredFrom(peer) => evidence.answered_from = Some(*peer),
            RegistrationEvent::Unreachable(cause) => evidence.unreachable = Some(*cause),
            RegistrationEvent::Ended(outcome) => {
                // The time of the first one is what a user waits for.
                if !self.ended {
                    self.ended = true;
                    evidence.elapsed = now.saturating_duration_since(self.began);
                }
                return self.note_outcome(outcome, now);
            }
        }
        None
    }

    fn note_outcome(&mut self, outcome: &Outcome, now: Instant) -> Option<Instant> {
        let evidence = &mut self.evidence;
        let mut renew = None;
        evidence.state = match outcome {
            Outcome::Acknowledged { .. } if self.release => RegistrationState::Released,
            Outcome::Acknowledged { refresh, apparent } => {
                evidence.refresh = Some(*refresh);
                evidence.apparent.extend(apparent);
                evidence.auth.get_or_insert("none");
                evidence.call_token.get_or_insert(false);
                // As Asterisk: five sixths of the refresh, in whole seconds.
                let interval = Duration::from_secs(refresh.as_secs() * 5 / 6);
                renew = Some(now + interval.max(SHORTEST_INTERVAL));
                RegistrationState::Registered
            }
            Outcome::Rejected { cause, code } => {
                evidence.cause.clone_from(cause);
                evidence.cause_code = *code;
                RegistrationState::Rejected
            }
            Outcome::TokenRefused { .. } => RegistrationState::TokenRefused,
            Outcome::AuthUnsupported { offered, .. } => {
                evidence.offered_methods = Some(*offered);
                RegistrationState::AuthUnsupported
            }
            Outcome::Unsupported => {
                evidence.cause = Some("the provider does not support registration".to_owned());
                RegistrationState::Rejected
            }
            Outcome::TimedOut { .. } => RegistrationState::Timeout,
        };
        renew
    }
}
