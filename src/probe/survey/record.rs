//! What the registrations of one survey showed, the first and its renewals together.

use std::time::{Duration, Instant};

use crate::{
    probe::evidence::{RegistrationEvidence, RegistrationState, Renewals},
    proto::registration::{Outcome, RegistrationEvent, reregister_after},
    types::LocalAddr,
};

/// The record of one account.
#[derive(Debug)]
pub(super) struct Record {
    evidence: RegistrationEvidence,
    /// REGREL instead of REGREQ.
    release: bool,
    /// The survey's begin, and the first registration's.
    began: Instant,
    /// The first registration has ended; what follows are renewals.
    ended: bool,
    failed_in_a_row: u32,
}

/// Whatever a registrar grants, it is not asked more often than this.
const LEAST_INTERVAL: Duration = Duration::from_secs(5);
/// A renewal that failed is tried again after this time, as Asterisk does.
const RETRY: Duration = Duration::from_secs(10);

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
            renewals: Renewals::default(),
        };
        Self {
            evidence,
            release,
            began: now,
            ended: false,
            failed_in_a_row: 0,
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
        if self.ended {
            return self.note_renewal(event, now);
        }
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
                // One that timed out may be tried again, and is the first one then.
                self.ended = !matches!(outcome, Outcome::TimedOut { .. });
                evidence.elapsed = now.saturating_duration_since(self.began);
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
                let at = now.saturating_duration_since(self.began);
                evidence
                    .apparent
                    .extend(apparent.map(|apparent| (at, apparent)));
                evidence.auth.get_or_insert("none");
                evidence.call_token.get_or_insert(false);
                renew = Some(now + reregister_after(*refresh).max(LEAST_INTERVAL));
                RegistrationState::Registered
            }
            Outcome::Rejected { cause, code } => {
                evidence.cause.clone_from(cause);
                evidence.cause_code = *code;
                RegistrationState::Rejected
            }
            Outcome::TokenRefused { had_token } => {
                evidence.call_token = Some(*had_token);
                RegistrationState::TokenRefused
            }
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

    /// Takes one event of a renewal. What the first registration showed stays: one renewal that fails may
    /// have met a burst of loss.
    fn note_renewal(&mut self, event: &RegistrationEvent, now: Instant) -> Option<Instant> {
        let evidence = &mut self.evidence;
        match event {
            RegistrationEvent::Restarted => evidence.invals += 1,
            RegistrationEvent::AnsweredFrom(peer) => evidence.answered_from = Some(*peer),
            RegistrationEvent::Unreachable(cause) => evidence.unreachable = Some(*cause),
            RegistrationEvent::TokenReceived | RegistrationEvent::Challenged { .. } => {}
            RegistrationEvent::Ended(outcome) => {
                let renewals = &mut evidence.renewals;
                renewals.made += 1;
                let failure = match outcome {
                    Outcome::Acknowledged { refresh, apparent } => {
                        self.failed_in_a_row = 0;
                        let at = now.saturating_duration_since(self.began);
                        let apparent = apparent.map(|apparent| (at, apparent));
                        evidence.apparent.extend(apparent);
                        return Some(now + reregister_after(*refresh).max(LEAST_INTERVAL));
                    }
                    Outcome::Rejected { .. } | Outcome::Unsupported => RegistrationState::Rejected,
                    Outcome::TokenRefused { .. } => RegistrationState::TokenRefused,
                    Outcome::AuthUnsupported { .. } => RegistrationState::AuthUnsupported,
                    Outcome::TimedOut { .. } => RegistrationState::Timeout,
                };
                self.failed_in_a_row += 1;
                renewals.failed += 1;
                renewals.failed_in_a_row = renewals.failed_in_a_row.max(self.failed_in_a_row);
                renewals.failure = Some(failure);
                return Some(now + RETRY);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::MappedAddr;

    fn acknowledged(refresh: u64, port: u16) -> RegistrationEvent {
        let address = std::net::SocketAddr::from(([198, 51, 100, 7], port));
        RegistrationEvent::Ended(Outcome::Acknowledged {
            refresh: Duration::from_secs(refresh),
            apparent: Some(MappedAddr::new(address)),
        })
    }

    #[test]
    fn a_failed_renewal_leaves_the_registration_as_it_was_and_is_tried_again() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut record = Record::new("alice", None, false, start);
        assert_eq!(record.note(&acknowledged(60, 1), at(1)), Some(at(51)));
        let timeout = RegistrationEvent::Ended(Outcome::TimedOut { heard: false });
        assert_eq!(record.note(&timeout, at(60)), Some(at(70)));
        assert_eq!(record.evidence().state, RegistrationState::Registered);
        assert_eq!(record.evidence().refresh, Some(Duration::from_secs(60)));
        assert_eq!(record.evidence().renewals.failed_in_a_row, 1);
        assert_eq!(record.note(&acknowledged(90, 2), at(71)), Some(at(146)));
        record.note(&timeout, at(150));
        record.note(&timeout, at(160));
        let evidence = record.evidence();
        assert_eq!(evidence.renewals.failed_in_a_row, 2);
        assert_eq!((evidence.renewals.made, evidence.renewals.failed), (4, 3));
        assert_eq!(evidence.elapsed, Duration::from_secs(1));
        let times: Vec<u64> = evidence
            .apparent
            .iter()
            .map(|(at, _)| at.as_secs())
            .collect();
        assert_eq!(times, [1, 71]);
    }

    #[test]
    fn no_registrar_makes_us_hammer() {
        let start = Instant::now();
        for refresh in [0, 1, 5] {
            let mut record = Record::new("alice", None, false, start);
            for _ in 0..2 {
                let renew = record.note(&acknowledged(refresh, 1), start);
                assert_eq!(renew, Some(start + Duration::from_secs(5)), "{refresh}");
            }
        }
    }

    #[test]
    fn a_refusal_tells_whether_there_was_a_token() {
        for had_token in [false, true] {
            let mut record = Record::new("alice", None, false, Instant::now());
            let refused = Outcome::TokenRefused { had_token };
            record.note(&RegistrationEvent::Ended(refused), Instant::now());
            assert_eq!(record.evidence().call_token, Some(had_token));
        }
    }
}
