//! What the guardian must never do, checked at each of its decisions.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use iax2_natcheck::guard::{
    action::{ActionKind, Decision},
    diagnosis::Diagnosis,
    observation::ProviderId,
};

/// A remedy's later steps come within this time of its first.
const ONE_REMEDY: Duration = Duration::from_secs(1200);

#[derive(Debug)]
pub struct Laws {
    per_hour: usize,
    spent: VecDeque<Instant>,
    in_flight: bool,
    held: BTreeSet<ProviderId>,
    kept_open: BTreeSet<ProviderId>,
    last: BTreeMap<ProviderId, Instant>,
    pub counted: BTreeMap<ActionKind, u32>,
}

impl Laws {
    pub fn new(per_hour: u16) -> Self {
        Self {
            per_hour: per_hour.into(),
            spent: VecDeque::new(),
            in_flight: false,
            held: BTreeSet::new(),
            kept_open: BTreeSet::new(),
            last: BTreeMap::new(),
            counted: BTreeMap::new(),
        }
    }

    /// An outcome was told, or the guardian may take the action for failed.
    pub fn ended(&mut self) {
        self.in_flight = false;
    }

    /// The guardian started again: what it held is gone.
    pub fn restarted(&mut self) {
        self.in_flight = false;
        self.held.clear();
    }

    /// The guardian was told by its saved state that this mapping needs keepalives.
    pub fn remembers(&mut self, provider: ProviderId) {
        self.kept_open.insert(provider);
    }

    pub fn decided(
        &mut self,
        decision: &Decision,
        diagnosis: Diagnosis,
        talking: &[ProviderId],
        now: Instant,
    ) {
        let kind = decision.action.kind();
        let provider = decision.provider;
        let what = format!("{decision:?} while {diagnosis:?}");
        assert!(!self.in_flight, "two at once: {what}");
        self.in_flight = true;
        *self.counted.entry(kind).or_default() += 1;
        assert!(!decision.reason.is_empty(), "no reason: {what}");

        let is_held = self.held.contains(&provider);
        let extends = kind == ActionKind::Hold && is_held;
        let resumes = kind == ActionKind::KeepOpen && self.kept_open.contains(&provider);
        if kind.is_budgeted() && !extends && !resumes {
            self.spent.push_back(now);
            while self
                .spent
                .front()
                .is_some_and(|at| now - *at >= Duration::from_secs(3600))
            {
                self.spent.pop_front();
            }
            assert!(
                self.spent.len() <= self.per_hour,
                "beyond the budget: {what}"
            );
        }
        let in_remedy = self
            .last
            .get(&provider)
            .is_some_and(|at| now - *at < ONE_REMEDY);
        let (needs_trouble, waits_for) = match kind {
            ActionKind::Hold if extends => (false, vec![]),
            ActionKind::Hold | ActionKind::Quiet => (true, vec![provider]),
            ActionKind::DeleteEntry => (!is_held, vec![provider]),
            ActionKind::ReloadModule => (true, talking.to_vec()),
            ActionKind::Run | ActionKind::Notify => (true, vec![]),
            // Keepalives that an incident interrupted are taken up again.
            ActionKind::KeepOpen => (!resumes, vec![]),
            ActionKind::Reregister => (!in_remedy, vec![]),
            ActionKind::Release => {
                assert!(is_held, "nothing is held: {what}");
                (false, vec![])
            }
            ActionKind::StopKeepOpen | ActionKind::LoadModule => (false, vec![]),
        };
        assert!(
            !needs_trouble || diagnosis.is_trouble(),
            "nothing is wrong: {what}"
        );
        let ends_call = waits_for.iter().any(|provider| talking.contains(provider));
        assert!(!ends_call, "a call is up: {what}");
        match kind {
            ActionKind::Hold => self.held.insert(provider),
            ActionKind::Release => self.held.remove(&provider),
            ActionKind::KeepOpen => self.kept_open.insert(provider),
            _ => false,
        };
        if kind != ActionKind::Notify {
            self.last.insert(provider, now);
        }
    }
}
