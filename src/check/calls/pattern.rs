//! Do calls fail by chance, or by rule? A device that loses packets fails now and then; a rule that is wrong
//! fails at the same point every time, or for the first call, or from some number on.

use super::symptom::Symptom;

/// How failures are spread over a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// No call failed.
    None,
    /// Some failed, whichever.
    Random,
    /// All failed alike, or those whose place in the burst, or whose kind, tells.
    Systematic,
}

impl Pattern {
    /// The word of the report.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Random => "random",
            Self::Systematic => "systematic",
        }
    }
}

/// One call of a burst, as far as the pattern goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fared {
    /// How it fared.
    pub symptom: Symptom,
    /// Its audio was trunked.
    pub trunked: bool,
}

/// What the failures of a burst have in common.
#[derive(Clone, Debug, PartialEq)]
pub struct Spread {
    /// The pattern; `None` where the calls are too few, or too bunched, to tell.
    pub pattern: Option<Pattern>,
    /// Calls that failed.
    pub failed: usize,
    /// Calls that ended.
    pub ended: usize,
    /// The share of failures that the burst is compatible with (Wilson, 95 %); `None` for no calls.
    pub interval: Option<(f64, f64)>,
    /// Why the pattern is this one, in words.
    pub why: String,
}

impl Spread {
    /// How many of all calls would fail, where chance decides, as a fact.
    pub(in crate::check) fn odds(&self) -> Option<String> {
        let (low, high) = self
            .interval
            .filter(|_| self.pattern == Some(Pattern::Random))?;
        Some(format!(
            "{} of {} calls failed: between {:.1} and {:.1} % of all would, with 95 % confidence",
            self.failed,
            self.ended,
            low * 100.0,
            high * 100.0
        ))
    }
}

/// An arrangement that chance makes less often than this is taken for a rule.
const CHANCE: f64 = 0.05;
/// So many failures that are alike make "every call".
const ENOUGH: usize = 3;

/// The pattern of the calls of one burst, in the order in which they were placed.
#[must_use]
pub fn spread(calls: &[Fared]) -> Spread {
    let ended = calls.len();
    let failures: Vec<usize> = (0..ended)
        .filter(|&at| calls.get(at).is_some_and(|call| call.symptom.is_failure()))
        .collect();
    let failed = failures.len();
    let (pattern, why) = classify(calls, &failures);
    Spread {
        pattern,
        failed,
        ended,
        interval: wilson(failed, ended),
        why,
    }
}

fn classify(calls: &[Fared], failures: &[usize]) -> (Option<Pattern>, String) {
    let (ended, failed) = (calls.len(), failures.len());
    if ended == 0 {
        return (None, "no call ended".into());
    }
    let symptoms: Vec<Symptom> = failures
        .iter()
        .filter_map(|at| calls.get(*at))
        .map(|call| call.symptom)
        .collect();
    let Some(first) = symptoms.first().copied() else {
        return (
            Some(Pattern::None),
            match ended {
                1 => "the call did not fail".into(),
                _ => format!("none of {ended} calls failed"),
            },
        );
    };
    let alike = symptoms.iter().all(|symptom| *symptom == first);
    if failed == ended {
        return if alike && (failed >= ENOUGH || first.is_policy()) {
            let why = match ended {
                1 => format!("the far end itself says why: {}", first.as_str()),
                _ => format!(
                    "every call ({failed} of {ended}) ended alike: {}",
                    first.as_str()
                ),
            };
            (Some(Pattern::Systematic), why)
        } else if failed < ENOUGH {
            let why = match ended {
                1 => "one call is too few to tell chance from rule".into(),
                _ => format!("{failed} of {ended} calls failed: too few to tell chance from rule"),
            };
            (None, why)
        } else {
            let why = format!("all {ended} calls failed, and not at the same point");
            (Some(Pattern::Random), why)
        };
    }
    if let Some(why) = by_kind(calls, alike) {
        return (Some(Pattern::Systematic), why);
    }
    let arrangements = binomial(ended, failed);
    let in_a_row = failures.windows(2).all(|pair| pair[1] == pair[0] + 1);
    let at_begin = in_a_row && failures.first() == Some(&0);
    let at_end = in_a_row && failures.last() == Some(&(ended - 1));
    if alike && (at_begin || at_end) && 1.0 / arrangements <= CHANCE {
        let place = match (at_begin, failed) {
            (true, 1) => "the first call failed".to_owned(),
            (true, _) => format!("the first {failed} calls failed"),
            (false, _) => format!("every call from number {} on failed", ended - failed + 1),
        };
        let why = format!("{place}, and no other of {ended}: {}", first.as_str());
        return (Some(Pattern::Systematic), why);
    }
    #[allow(clippy::cast_precision_loss)] // counts of calls
    let places = (ended - failed + 1) as f64;
    if in_a_row && failed >= ENOUGH && places / arrangements <= CHANCE {
        let why = format!(
            "{failed} of {ended} calls failed one after the other: an outage of the line would do that"
        );
        return (None, why);
    }
    if (at_begin || at_end) && failed == 1 && ended < 20 {
        let why = format!(
            "one call of {ended} failed, the {}: too few to tell chance from rule",
            if at_begin { "first" } else { "last" }
        );
        return (None, why);
    }
    let why = format!("{failed} of {ended} calls failed, here and there");
    (Some(Pattern::Random), why)
}

/// Whether exactly the trunked calls failed, or exactly the plain ones, and alike.
fn by_kind(calls: &[Fared], alike: bool) -> Option<String> {
    let of = |trunked: bool| calls.iter().filter(move |call| call.trunked == trunked);
    let all = |trunked| of(trunked).all(|call| call.symptom.is_failure());
    let none = |trunked| !of(trunked).any(|call| call.symptom.is_failure());
    let counts = [of(false).count(), of(true).count()];
    if !alike || counts.iter().any(|count| *count < ENOUGH) {
        return None;
    }
    if all(true) && none(false) {
        return Some("every trunked call failed, and no plain one".into());
    }
    (all(false) && none(true)).then(|| "every plain call failed, and no trunked one".into())
}

/// In how many ways so many of so many can be chosen; large numbers lose precision, not size.
fn binomial(of: usize, chosen: usize) -> f64 {
    #[allow(clippy::cast_precision_loss)] // counts of calls
    (0..chosen.min(of - chosen))
        .map(|step| (of - step) as f64 / (step + 1) as f64)
        .product()
}

/// The 95 % confidence interval of a share (E. B. Wilson, 1927).
#[must_use]
pub fn wilson(hits: usize, of: usize) -> Option<(f64, f64)> {
    const Z: f64 = 1.96;
    if of == 0 {
        return None;
    }
    #[allow(clippy::cast_precision_loss)] // counts of calls
    let (hits, of) = (hits as f64, of as f64);
    let share = hits / of;
    let middle = share + Z * Z / (2.0 * of);
    let half = Z * (share * (1.0 - share) / of + Z * Z / (4.0 * of * of)).sqrt();
    let scale = 1.0 + Z * Z / of;
    let (low, high) = ((middle - half) / scale, (middle + half) / scale);
    Some((low.max(0.0), high.min(1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A burst in a line: `.` went well, `i` was invalidated, `p` lost its path, `r` was rejected, `b` was
    /// busy; upper case: trunked.
    fn burst(line: &str) -> Spread {
        let calls: Vec<Fared> = line
            .chars()
            .map(|letter| Fared {
                symptom: match letter.to_ascii_lowercase() {
                    'i' => Symptom::Invalidated,
                    'p' => Symptom::PathLost,
                    'r' => Symptom::Rejected,
                    'b' => Symptom::Busy,
                    _ => Symptom::Fine,
                },
                trunked: letter.is_ascii_uppercase() || letter == ':',
            })
            .collect();
        spread(&calls)
    }

    #[test]
    fn patterns_of_bursts() {
        let rows = [
            ("", None),
            (".", Some(Pattern::None)),
            ("....................", Some(Pattern::None)),
            ("bbbb", Some(Pattern::None)),
            ("r", Some(Pattern::Systematic)),
            ("i", None),
            ("ii", None),
            ("iii", Some(Pattern::Systematic)),
            ("ipi", Some(Pattern::Random)),
            ("i....", None),
            ("....i", None),
            ("..i..", Some(Pattern::Random)),
            ("i...................", Some(Pattern::Systematic)),
            ("..........iiiii", Some(Pattern::Systematic)),
            ("iiiii..........", Some(Pattern::Systematic)),
            (".....iiiii.....", None),
            ("..i...i.i....i..", Some(Pattern::Random)),
            ("....III", Some(Pattern::Systematic)),
            ("iiii:::", Some(Pattern::Systematic)),
        ];
        for (line, pattern) in rows {
            let found = burst(line);
            assert_eq!(found.pattern, pattern, "{line}: {}", found.why);
            assert!(!found.why.is_empty());
        }
    }

    #[test]
    fn chance_is_called_random() {
        use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

        let mut rng = StdRng::from_seed([4; 32]);
        let mut called = [0; 3];
        for _ in 0..2000 {
            let line: String = (0..50)
                .map(|_| if rng.random_bool(0.1) { 'i' } else { '.' })
                .collect();
            match burst(&line).pattern {
                Some(Pattern::Random) => called[0] += 1,
                Some(Pattern::Systematic) => called[1] += 1,
                Some(Pattern::None) | None => called[2] += 1,
            }
        }
        assert!(
            called[1] < 2000 / 20,
            "a rule was seen in chance: {called:?}"
        );
        assert!(called[0] > 1800, "{called:?}");
    }

    #[test]
    fn the_interval_is_that_of_wilson() {
        let (low, high) = wilson(11, 200).unwrap();
        assert!((low - 0.0310).abs() < 0.0005, "{low}");
        assert!((high - 0.0957).abs() < 0.0005, "{high}");
        assert_eq!(wilson(0, 0), None);
        assert!(wilson(0, 10).unwrap().0.abs() < 1e-9);
    }
}
