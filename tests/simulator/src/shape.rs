//! Loads.

use std::f64::consts::TAU;

/// What happens to a group.
#[derive(Clone, Copy)]
pub struct Shape {
    pub name: &'static str,
    /// What it is, for readers of the table.
    pub about: &'static str,
    /// Seconds.
    pub lasts: u32,
    /// Records per second that are produced at this second.
    pub arrival: fn(f64) -> f64,
    /// So many times as much.
    pub times: f64,
    /// The part of them that goes to the first partition. None: as much as to the others.
    pub hot: Option<f64>,
    /// Seconds that a pod takes from being asked for to joining the group.
    pub start: u32,
    /// From when to when the brokers are down, seconds. What is produced then arrives afterwards.
    pub outage: Option<(u32, u32)>,
    /// Fewest pods.
    pub min_replicas: i32,
}

const PLAIN: Shape = Shape {
    name: "",
    about: "",
    lasts: 3600,
    arrival: |_| 0.0,
    times: 1.0,
    hot: None,
    start: 10,
    outage: None,
    min_replicas: 1,
};

/// All of them.
pub const SHAPES: [Shape; 11] = [
    Shape {
        name: "constant",
        about: "2,500/s all the time",
        arrival: |_| 2500.0,
        ..PLAIN
    },
    Shape {
        name: "step",
        about: "700/s, from minute 5 to 35 five times as much",
        arrival: step,
        ..PLAIN
    },
    Shape {
        name: "ramp",
        about: "from 500/s up to 8,000/s in 30 min, and down again",
        lasts: 4500,
        arrival: |at| {
            let up = (at / 1800.0).min(1.0);
            let down = ((at - 2100.0) / 1200.0).clamp(0.0, 1.0);
            500.0 + 7500.0 * (up - down)
        },
        ..PLAIN
    },
    Shape {
        name: "sine",
        about: "between 1,000/s and 6,000/s in 30 min, four times",
        lasts: 7200,
        arrival: |at| 3500.0 - 2500.0 * (TAU * at / 1800.0).cos(),
        ..PLAIN
    },
    Shape {
        name: "spikes",
        about: "700/s, and every 10 min 6,000/s for 20 s",
        arrival: |at| {
            if at > 300.0 && (at - 300.0) % 600.0 < 20.0 {
                6000.0
            } else {
                700.0
            }
        },
        ..PLAIN
    },
    Shape {
        name: "bursts",
        about: "a batch of 20,000 every minute, nothing in between",
        arrival: |at| if at % 60.0 < 2.0 { 10_000.0 } else { 0.0 },
        ..PLAIN
    },
    Shape {
        name: "skew",
        about: "the step to 2,000/s, 30 % of it in one partition",
        arrival: |at| {
            if (300.0..2100.0).contains(&at) {
                2000.0
            } else {
                500.0
            }
        },
        hot: Some(0.3),
        ..PLAIN
    },
    Shape {
        name: "hopeless-skew",
        about: "the same, but 60 % in one partition: more than a pod can do",
        arrival: |at| {
            if (300.0..2100.0).contains(&at) {
                2000.0
            } else {
                500.0
            }
        },
        hot: Some(0.6),
        ..PLAIN
    },
    Shape {
        name: "slow-start",
        about: "the step, with pods that take a minute to start",
        arrival: step,
        start: 60,
        ..PLAIN
    },
    Shape {
        name: "outage",
        about: "3,000/s; brokers down from minute 20 to 30, and all of it at once afterwards",
        lasts: 4200,
        arrival: |_| 3000.0,
        outage: Some((1200, 1800)),
        ..PLAIN
    },
    Shape {
        name: "wake",
        about: "nothing, and 1,500/s for 10 min now and then; no pod in between",
        lasts: 5400,
        arrival: |at| {
            if (600.0..1200.0).contains(&(at % 2700.0)) {
                1500.0
            } else {
                0.0
            }
        },
        min_replicas: 0,
        ..PLAIN
    },
];

impl Shape {
    /// Records per second that are produced at this second.
    pub fn at(&self, second: f64) -> f64 {
        (self.arrival)(second) * self.times
    }
}

fn step(at: f64) -> f64 {
    if (300.0..2100.0).contains(&at) {
        3500.0
    } else {
        700.0
    }
}
