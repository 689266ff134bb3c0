//! Which requests for pages go wrong and how: decided by the seed, the id and the attempt, so that a test can
//! repeat it.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::catalog::{Draw, Purpose};

/// Plans that a site holds at a time.
const MOST_PLANS: usize = 16;

/// Longest delay of a slow page, ms.
const LONGEST_DELAY: u64 = 60_000;

/// What goes wrong, for whom and how often.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Plan {
    pub kind: FaultKind,
    /// Share of the ids that are hit, 0 to 100. The seed chooses them.
    pub percent: u8,
    /// How many requests for each of these ids go wrong before one goes well; without it, all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// `Retry-After` of `tooManyRequests` and `unavailable`, s; without it, no such header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u64>,
    /// What `slow` adds before the first byte, ms.
    #[serde(default = "two_seconds")]
    pub delay_millis: u64,
}

/// What can go wrong.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum FaultKind {
    /// Status 429.
    TooManyRequests,
    /// Status 503.
    Unavailable,
    /// The page, late.
    Slow,
    /// The page with its true `Content-Length` and half its bytes; then the connection ends.
    CutOff,
    /// Status 200 and a page that asks whether one is a human.
    Captcha,
    /// Status 302, to where robots.txt lets nobody ask.
    Redirect,
}

fn two_seconds() -> u64 {
    2_000
}

impl Plan {
    fn validate(&self) -> Result<(), String> {
        if self.percent > 100 {
            return Err(format!("`percent` is {}, expected 0 to 100", self.percent));
        }
        if self.delay_millis > LONGEST_DELAY {
            return Err(format!(
                "`delayMillis` is {}, expected at most {LONGEST_DELAY}",
                self.delay_millis
            ));
        }
        Ok(())
    }

    /// Whether the given attempt, counted from 0, goes wrong. Plans of one kind hit the same ids.
    fn hits(&self, seed: u64, id: u64, attempt: u32) -> bool {
        let mut draw = Draw::new(seed, id ^ ((self.kind as u64) << 56), Purpose::Fault);
        draw.below(100) < u64::from(self.percent) && self.times.is_none_or(|times| attempt < times)
    }
}

/// The plans in force, in the order in which they came, and how often each has hit an id.
pub(crate) struct Faults {
    seed: u64,
    plans: Vec<(Plan, HashMap<u64, u32>)>,
}

impl Faults {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            plans: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, plan: Plan) -> Result<(), String> {
        plan.validate()?;
        if self.plans.len() == MOST_PLANS {
            return Err(format!(
                "there are {MOST_PLANS} plans already, remove them with DELETE /faults"
            ));
        }
        self.plans.push((plan, HashMap::new()));
        Ok(())
    }

    pub(crate) fn clear(&mut self) {
        self.plans.clear();
    }

    /// The fault of a request that has come in for an id: of the first plan that still has one for it.
    pub(crate) fn strike(&mut self, id: u64) -> Option<Plan> {
        self.plans.iter_mut().find_map(|(plan, hits)| {
            let attempt = hits.get(&id).copied().unwrap_or(0);
            plan.hits(self.seed, id, attempt).then(|| {
                hits.insert(id, attempt.saturating_add(1));
                plan.clone()
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(kind: FaultKind, percent: u8, times: Option<u32>) -> Plan {
        Plan {
            kind,
            percent,
            times,
            retry_after_seconds: None,
            delay_millis: 0,
        }
    }

    /// What each of some ids meets in three attempts.
    fn met(seed: u64, plans: &[Plan]) -> Vec<Vec<Option<FaultKind>>> {
        let mut faults = Faults::new(seed);
        for plan in plans {
            faults.add(plan.clone()).unwrap();
        }
        (1..=500)
            .map(|id| (0..3).map(|_| faults.strike(id).map(|plan| plan.kind)).collect())
            .collect()
    }

    #[test]
    fn the_planned_share_of_ids_fails_the_planned_number_of_times_and_then_works() {
        use FaultKind::Unavailable;
        let met = met(1, &[plan(Unavailable, 30, Some(2))]);
        let hit = met.iter().filter(|attempts| attempts[0].is_some()).count();
        assert!((110..190).contains(&hit), "{hit}");
        for attempts in met {
            let expected = if attempts[0].is_some() {
                [Some(Unavailable), Some(Unavailable), None]
            } else {
                [None; 3]
            };
            assert_eq!(attempts, expected);
        }
    }

    #[test]
    fn the_seed_chooses_whom_faults_hit() {
        let plans = [plan(FaultKind::Slow, 30, None)];
        assert_eq!(met(1, &plans), met(1, &plans));
        assert_ne!(met(1, &plans), met(2, &plans));
    }

    #[test]
    fn plans_follow_one_another() {
        use FaultKind::{Captcha, CutOff};
        let met = met(1, &[plan(CutOff, 100, Some(1)), plan(Captcha, 100, None)]);
        assert!(
            met.iter()
                .all(|attempts| *attempts == [Some(CutOff), Some(Captcha), Some(Captcha)])
        );
    }

    #[test]
    fn what_cannot_be_planned_is_refused_with_the_field() {
        let mut faults = Faults::new(1);
        let error = faults.add(plan(FaultKind::Slow, 101, None)).unwrap_err();
        assert_eq!(error, "`percent` is 101, expected 0 to 100");
        let late = Plan {
            delay_millis: 60_001,
            ..plan(FaultKind::Slow, 1, None)
        };
        assert_eq!(
            faults.add(late).unwrap_err(),
            "`delayMillis` is 60001, expected at most 60000"
        );
        for _ in 0..MOST_PLANS {
            faults.add(plan(FaultKind::Slow, 0, None)).unwrap();
        }
        assert!(
            faults
                .add(plan(FaultKind::Slow, 0, None))
                .unwrap_err()
                .contains("16 plans")
        );
    }
}
