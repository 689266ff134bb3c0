//! One rule under one load.

use crate::{
    rules::{Rule, Seen},
    shape::Shape,
    world::World,
};

/// What came of it.
pub struct Outcome {
    /// Records that waited, summed over seconds.
    pub lag_seconds: f64,
    /// Pods that were asked for, summed over seconds.
    pub pod_seconds: f64,
    pub decisions: Vec<Made>,
    /// Each second.
    pub course: Vec<Moment>,
}

/// A decision.
pub struct Made {
    pub second: u32,
    pub from: i32,
    pub to: i32,
    pub why: String,
}

/// A second.
#[derive(Clone, Copy)]
pub struct Moment {
    pub arrival: f64,
    pub lag: f64,
    pub replicas: i32,
    pub oracle: i32,
    pub down: bool,
}

/// Lets a rule scale a group under this load.
pub fn run(shape: Shape, rule: Box<dyn Rule>) -> Outcome {
    run_at(shape, rule, 0)
}

/// The same, with the rule beginning so many seconds earlier: its looks fall on other seconds.
pub fn run_at(shape: Shape, mut rule: Box<dyn Rule>, offset: u32) -> Outcome {
    let mut world = World::new(shape);
    let mut outcome = Outcome {
        lag_seconds: 0.0,
        pod_seconds: 0.0,
        decisions: Vec::new(),
        course: Vec::new(),
    };
    while world.second < shape.lasts {
        world.step();
        let seen = Seen {
            second: world.second + offset,
            replicas: world.replicas,
            ready: world.ready(),
            partitions: world.partitions(),
            worked: world.worked(),
            busy: world.busy,
        };
        if let Some((to, why)) = rule.tick(&seen) {
            let (second, from) = (world.second, world.replicas);
            outcome.decisions.push(Made {
                second,
                from,
                to,
                why,
            });
            world.scale(to);
        }
        outcome.lag_seconds += world.lag();
        outcome.pod_seconds += f64::from(world.replicas);
        outcome.course.push(Moment {
            arrival: world.arrival,
            lag: world.lag(),
            replicas: world.replicas,
            oracle: world.oracle(),
            down: world.down(),
        });
    }
    outcome
}

impl Outcome {
    /// Pods above what the load took at that time, at most. What is asked for because of a backlog counts, too.
    pub fn overshoot(&self) -> i32 {
        let peak = self.course.iter().map(|moment| moment.oracle).max().unwrap_or(0);
        let most = self
            .course
            .iter()
            .map(|moment| moment.replicas)
            .max()
            .unwrap_or(0);
        (most - peak).max(0)
    }

    /// Decisions for fewer pods while the brokers were down.
    pub fn scale_ins_during_outage(&self) -> usize {
        let down = |made: &&Made| {
            self.course
                .get(made.second as usize - 1)
                .is_some_and(|moment| moment.down)
        };
        self.decisions
            .iter()
            .filter(down)
            .filter(|made| made.to < made.from)
            .count()
    }

    /// Seconds from a moment to the first decision for more pods after it.
    pub fn reaction(&self, from: u32) -> Option<u32> {
        let first = self
            .decisions
            .iter()
            .find(|made| made.second > from && made.to > made.from)?;
        Some(first.second - from)
    }

    /// The largest lag.
    pub fn most_lag(&self) -> f64 {
        self.course.iter().map(|moment| moment.lag).fold(0.0, f64::max)
    }
}
