//! The passes of a sweep: one in full resolution where the budget allows, else coarse ones first; and what
//! all of them together have shown of each shape.

use std::{collections::BTreeMap, time::Duration};

use super::{
    edge::{self, Edge, Sample},
    grid,
};
use crate::probe::behaviour::Shape;

/// Idle times to try, for each shape.
pub(super) type Plan = Vec<(Shape, Vec<Duration>)>;

/// The state of the passes.
#[derive(Debug)]
pub(super) struct Passes {
    budget: usize,
    /// Steps are as small as they get: an edge found now is final, and must be certain.
    is_fine: bool,
    samples: BTreeMap<Shape, BTreeMap<Duration, Sample>>,
}

/// Misses in a row that make an edge certain.
const MISSES: usize = 3;

impl Passes {
    /// The first pass.
    pub(super) fn begin(shapes: &[Shape], longest: Duration, budget: usize) -> (Self, Plan) {
        let each = budget / shapes.len().max(1);
        let fine = grid::fine(longest, each);
        let is_fine = fine.is_some();
        let grid = fine.unwrap_or_else(|| grid::coarse(longest, each.max(2)));
        let mut passes = Self {
            budget,
            is_fine,
            samples: BTreeMap::new(),
        };
        let plan: Plan = shapes.iter().map(|shape| (*shape, grid.clone())).collect();
        passes.open(&plan);
        (passes, plan)
    }

    /// One pass of exactly these idle times.
    pub(super) fn exactly(shapes: &[Shape], idles: &[Duration]) -> (Self, Plan) {
        let plan: Plan = shapes
            .iter()
            .map(|shape| (*shape, idles.to_vec()))
            .collect();
        let mut passes = Self {
            budget: 0,
            is_fine: true,
            samples: BTreeMap::new(),
        };
        passes.open(&plan);
        (passes, plan)
    }

    /// The next pass, or `None` where no shape needs one.
    pub(super) fn next(&mut self) -> Option<Plan> {
        if self.is_fine {
            return None;
        }
        let wanting: Vec<(Shape, Duration, Duration)> = self
            .samples
            .keys()
            .filter_map(|shape| {
                let edge = self.edge(*shape);
                Some((*shape, edge.alive.unwrap_or_default(), edge.dead?))
            })
            .collect();
        let each = self.budget.checked_div(wanting.len())?;
        let mut plan = Plan::new();
        self.is_fine = true;
        for (shape, alive, dead) in wanting {
            let (step, grid) = grid::between(alive, dead, each);
            self.is_fine &= step <= grid::resolution(alive);
            plan.push((shape, grid));
        }
        // What was not due when the pass ended was never needed.
        for samples in self.samples.values_mut() {
            samples.retain(|_, sample| *sample != Sample::Open);
        }
        self.open(&plan);
        Some(plan)
    }

    /// Takes note of what one idle time showed.
    pub(super) fn conclude(&mut self, shape: Shape, idle: Duration, sample: Sample) {
        self.samples.entry(shape).or_default().insert(idle, sample);
    }

    /// Whether edges found now are final.
    pub(super) const fn is_final(&self) -> bool {
        self.is_fine
    }

    /// The edge of a shape as it is proven: by misses in a row in any pass, and above an idle time that was
    /// survived. Where nothing ever was, no answer may come for another reason than a timer.
    pub(super) fn proven(&self, shape: Shape) -> Edge {
        let edge = edge::find(&self.samples(shape), MISSES);
        Edge {
            dead: edge.dead.filter(|_| edge.alive.is_some()),
            ..edge
        }
    }

    /// The edge of a shape as far as it shows, to plan by.
    pub(super) fn edge(&self, shape: Shape) -> Edge {
        let misses = if self.is_fine { MISSES } else { 1 };
        edge::find(&self.samples(shape), misses)
    }

    /// Whether nothing that is still open can move any edge.
    pub(super) fn is_settled(&self) -> bool {
        self.samples.keys().all(|shape| self.edge(*shape).settled)
    }

    /// Everything tried so far, in ascending order.
    pub(super) fn samples(&self, shape: Shape) -> Vec<(Duration, Sample)> {
        self.samples
            .get(&shape)
            .map(|samples| {
                samples
                    .iter()
                    .map(|(idle, sample)| (*idle, *sample))
                    .collect()
            })
            .unwrap_or_default()
    }

    fn open(&mut self, plan: &Plan) {
        for (shape, grid) in plan {
            let samples = self.samples.entry(*shape).or_default();
            samples.extend(grid.iter().map(|idle| (*idle, Sample::Open)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn one_miss_plans_the_next_pass_and_proves_nothing() {
        let (mut passes, plan) = Passes::begin(&[Shape::Exchange], s(300), 10);
        assert!(!passes.is_final());
        let coarse = plan[0].1.clone();
        passes.conclude(Shape::Exchange, coarse[0], Sample::Alive);
        passes.conclude(Shape::Exchange, coarse[1], Sample::Missed);
        assert_eq!(passes.edge(Shape::Exchange).dead, Some(coarse[1]));
        assert_eq!(passes.proven(Shape::Exchange).dead, None);
        passes.conclude(Shape::Exchange, coarse[2], Sample::Missed);
        passes.conclude(Shape::Exchange, coarse[3], Sample::Missed);
        assert_eq!(passes.proven(Shape::Exchange).dead, Some(coarse[1]));
    }

    #[test]
    fn where_nothing_was_alive_nothing_is_proven_dead() {
        let (mut passes, _) = Passes::begin(&[Shape::Exchange], s(10), 100);
        for idle in 1..=10 {
            passes.conclude(Shape::Exchange, s(idle), Sample::Missed);
        }
        assert_eq!(passes.proven(Shape::Exchange).dead, None);
        assert!(passes.is_settled());
    }
}
