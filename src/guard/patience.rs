//! What keeps the guardian slow: agreement of several looks, growing gaps, a budget an hour.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use rand::{RngExt as _, rngs::StdRng};

use crate::guard::diagnosis::Diagnosis;

/// The last looks: `agreeing` of `samples` make a diagnosis that is acted upon.
#[derive(Clone, Debug)]
pub(crate) struct Agreement {
    looks: VecDeque<Diagnosis>,
    agreeing: usize,
    samples: usize,
    /// Looks closer together than this are one.
    last: Option<Instant>,
}

/// Two looks within this time see the same thing.
const APART: Duration = Duration::from_secs(1);

impl Agreement {
    /// Nothing was looked at.
    pub(crate) fn new(agreeing: u8, samples: u8) -> Self {
        Self {
            looks: VecDeque::new(),
            agreeing: agreeing.max(1).into(),
            samples: samples.max(agreeing).max(1).into(),
            last: None,
        }
    }

    /// Takes a look.
    pub(crate) fn look(&mut self, diagnosis: Diagnosis, now: Instant) {
        let is_same = self
            .last
            .is_some_and(|last| now.saturating_duration_since(last) < APART);
        if is_same && self.looks.back() == Some(&diagnosis) {
            return;
        }
        self.last = Some(now);
        self.looks.push_back(diagnosis);
        while self.looks.len() > self.samples {
            self.looks.pop_front();
        }
    }

    /// Whether enough looks agree.
    pub(crate) fn confirms(&self, diagnosis: Diagnosis) -> bool {
        let agreeing = self.looks.iter().filter(|look| **look == diagnosis);
        agreeing.count() >= self.agreeing
    }

    /// Forgets the looks.
    pub(crate) fn clear(&mut self) {
        self.looks.clear();
        self.last = None;
    }
}

/// Growing gaps: each attempt that did not help doubles the next one, up or down by a fifth.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    /// Attempts since the last success.
    pub(crate) attempts: u32,
    /// No attempt before this.
    pub(crate) not_before: Option<Instant>,
}

impl Backoff {
    /// Nothing was tried.
    pub(crate) const NEW: Self = Self {
        attempts: 0,
        not_before: None,
    };

    /// Counts an attempt.
    pub(crate) fn count(&mut self, min: Duration, max: Duration, rng: &mut StdRng, now: Instant) {
        let factor = 1_u32 << self.attempts.min(16);
        let gap = min.saturating_mul(factor).min(max);
        self.attempts = self.attempts.saturating_add(1);
        self.not_before = Some(now + gap.mul_f64(rng.random_range(0.8..=1.2)).min(max).max(min));
    }

    /// Whether an attempt may be made.
    pub(crate) fn allows(&self, now: Instant) -> bool {
        self.not_before.is_none_or(|due| due <= now)
    }
}

/// At most so many in any hour.
#[derive(Clone, Debug, Default)]
pub(crate) struct Budget {
    spent: VecDeque<Instant>,
}

/// The window of a budget.
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

impl Budget {
    /// A budget of which so much was spent so long ago.
    pub(crate) fn spent_before(ages: impl IntoIterator<Item = Duration>, now: Instant) -> Self {
        let mut spent: Vec<Instant> = ages
            .into_iter()
            .filter_map(|age| now.checked_sub(age))
            .collect();
        spent.sort_unstable();
        Self {
            spent: spent.into(),
        }
    }

    /// How many more there may be now.
    pub(crate) fn left(&mut self, most: u16, now: Instant) -> usize {
        while let Some(first) = self.spent.front()
            && now.saturating_duration_since(*first) >= HOUR
        {
            self.spent.pop_front();
        }
        usize::from(most).saturating_sub(self.spent.len())
    }

    /// Spends one.
    pub(crate) fn spend(&mut self, now: Instant) {
        self.spent.push_back(now);
    }

    /// When one more is free again.
    pub(crate) fn free_at(&self) -> Option<Instant> {
        self.spent.front().map(|first| *first + HOUR)
    }

    /// How long ago each was spent.
    pub(crate) fn ages(&self, now: Instant) -> impl Iterator<Item = Duration> {
        self.spent
            .iter()
            .map(move |at| now.saturating_duration_since(*at))
    }
}
