//! The table: kinds of NAT × loss of the line, each surveyed as a whole and judged. What is found must be
//! what the NAT was configured with; *unknown* is the only other answer, and only on a line with loss.

use std::collections::BTreeMap;

use rand::{SeedableRng as _, rngs::StdRng};

use crate::{
    kinds::{Kind, drawn, every, half, selection},
    oracle::run,
};

/// The marks of many runs, added up.
#[derive(Default)]
struct Sum {
    runs: usize,
    unknown: usize,
    open: BTreeMap<&'static str, usize>,
    wrong: Vec<String>,
}

impl Sum {
    /// Surveys these kinds, with seeds from `first` on.
    fn of(first: u64, kinds: &[Kind], loss: f64) -> Self {
        let mut sum = Self::default();
        for (number, kind) in (first..).zip(kinds) {
            let run = run(*kind, loss, number);
            let marks = run.marks();
            sum.runs += 1;
            sum.unknown += usize::from(marks.is_unknown());
            for open in &marks.open {
                *sum.open.entry(open).or_default() += 1;
            }
            if !marks.wrong.is_empty() {
                sum.wrong.push(format!(
                    "{:?}, seed {number}, {} % loss, {kind}",
                    marks.wrong,
                    run.loss * 100.0
                ));
            }
        }
        sum
    }

    fn add(&mut self, other: Self) {
        self.runs += other.runs;
        self.unknown += other.unknown;
        for (open, count) in other.open {
            *self.open.entry(open).or_default() += count;
        }
        self.wrong.extend(other.wrong);
    }

    /// Nothing may be wrong. Without loss nothing is open either; with loss, less than one run in twenty may be.
    fn assert(&self, loss: f64) {
        let Self {
            runs,
            unknown,
            open,
            wrong,
        } = self;
        println!(
            "{} % loss: {runs} runs, {unknown} unknown, open: {open:?}",
            loss * 100.0
        );
        assert!(
            wrong.is_empty(),
            "{} of {runs} runs are wrong at {} % loss:\n{}",
            wrong.len(),
            loss * 100.0,
            wrong[..wrong.len().min(20)].join("\n")
        );
        let most = if loss == 0.0 { 0 } else { (runs - 1) / 20 };
        assert!(*unknown <= most, "{unknown} unknown, {most} may be");
    }
}

fn compare(kinds: &[Kind], loss: f64) {
    compare_from(1, kinds, loss);
}

/// Surveys all of `kinds`, on as many threads as there are processors.
fn compare_from(first: u64, kinds: &[Kind], loss: f64) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let size = kinds.len().div_ceil(threads).max(1);
    let sum = std::thread::scope(|scope| {
        let numbers = (first..).step_by(size);
        let parts: Vec<_> = numbers
            .zip(kinds.chunks(size))
            .map(|(first, kinds)| scope.spawn(move || Sum::of(first, kinds, loss)))
            .collect();
        parts.into_iter().fold(Sum::default(), |mut sum, part| {
            sum.add(part.join().unwrap());
            sum
        })
    });
    sum.assert(loss);
}

#[test]
fn every_kind_of_nat_is_told() {
    compare(&selection(), 0.0);
}

#[test]
fn every_kind_of_nat_is_told_at_two_percent_loss() {
    compare(&half(0), 0.02);
}

#[test]
fn every_kind_of_nat_is_told_at_ten_percent_loss() {
    compare(&half(1), 0.1);
}

#[test]
#[ignore = "takes a while: one in 29 of all combinations, another one at each loss"]
fn a_sample_of_every_combination_is_told_at_every_loss() {
    let kinds = every();
    for (offset, loss) in [0.0, 0.02, 0.1].into_iter().enumerate() {
        let sample: Vec<Kind> = kinds.iter().copied().skip(offset * 5).step_by(29).collect();
        compare(&sample, loss);
    }
}

/// How many runs the seeded test makes; more or fewer with this in the environment.
const RUNS: &str = "IAX2_NATCHECK_SIMULATED_RUNS";

/// Kinds drawn by chance, on lines with and without loss.
#[test]
#[ignore = "takes minutes: ten thousand runs, or as many as the environment says"]
fn ten_thousand_seeded_runs_are_never_wrong() {
    let runs: u64 = std::env::var(RUNS).map_or(10_000, |runs| runs.parse().unwrap());
    for (place, loss) in (0..).zip([0.0, 0.02, 0.1]) {
        let mut rng = StdRng::seed_from_u64(place);
        let count = usize::try_from(runs.div_ceil(3)).unwrap();
        let kinds: Vec<Kind> = (0..count).map(|_| drawn(&mut rng)).collect();
        compare_from(1_000_000 * (place + 1), &kinds, loss);
    }
}
