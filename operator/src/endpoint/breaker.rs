//! Whether an endpoint is worth asking, and by how many at once. Pure: clocks and chance are handed in.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{Answers, Silence};

/// Calls under way at once to an endpoint that answers: half of what a controller works on, so that one endpoint
/// which falls silent cannot hold a whole controller. As many again may make the endpoint work for long, so that whoever
/// only looks need not wait behind them.
const MOST: u32 = 8;
/// Time between the failure that opened the breaker and the first probe.
const FIRST: Duration = Duration::from_secs(1);
/// The longest time between two probes.
const LONGEST: Duration = Duration::from_secs(30);

/// Counts the calls to one endpoint and remembers whether it answers.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    health: Health,
    under_way: UnderWay,
    /// Changes when the breaker opens. The failure of a call that began before says nothing new.
    openings: u64,
}

/// Calls under way.
#[derive(Debug, Default)]
struct UnderWay {
    soon: u32,
    long: u32,
}

impl UnderWay {
    fn of(&mut self, answers: Answers) -> &mut u32 {
        match answers {
            Answers::Soon => &mut self.soon,
            Answers::MayTakeLong => &mut self.long,
        }
    }
}

#[derive(Debug, Default)]
enum Health {
    /// It has not answered yet: one call at a time finds out.
    #[default]
    Unknown,
    Answers,
    /// It answered until the last call. The next one decides.
    Doubtful(Silence),
    Silent(Outage),
}

#[derive(Debug)]
struct Outage {
    silence: Silence,
    /// Probes that got no answer.
    probes: u32,
    next_probe: Instant,
}

/// Whether a call may begin.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It may, and must be ended with this number.
    Begun(u64),
    /// Not before another one ends.
    Full,
    /// The endpoint is known to be silent.
    Refused(Silence),
}

impl Breaker {
    /// Asks to begin a call.
    pub(super) fn begin(&mut self, answers: Answers, now: Instant) -> Admission {
        let under_way = self.under_way.of(answers);
        let most = match &self.health {
            Health::Silent(outage) if now < outage.next_probe || *under_way > 0 => {
                return Admission::Refused(outage.silence.clone());
            }
            Health::Answers => MOST,
            Health::Unknown | Health::Doubtful(_) | Health::Silent(_) => 1,
        };
        if *under_way >= most {
            return Admission::Full;
        }
        *under_way += 1;
        Admission::Begun(self.openings)
    }

    /// Whether the last call got an answer.
    pub(super) fn answers(&self) -> bool {
        matches!(self.health, Health::Answers)
    }

    /// Since when and why there is no answer, once that is known.
    pub(super) fn silence(&self) -> Option<&Silence> {
        match &self.health {
            Health::Silent(outage) => Some(&outage.silence),
            Health::Unknown | Health::Answers | Health::Doubtful(_) => None,
        }
    }

    /// Whether a call is under way that may take long.
    pub(super) fn is_at_work(&self) -> bool {
        self.under_way.long > 0
    }

    /// A call has been given up, or its end says nothing about the endpoint.
    pub(super) fn abandoned(&mut self, answers: Answers) {
        let under_way = self.under_way.of(answers);
        *under_way = under_way.saturating_sub(1);
    }

    /// A call got an answer, be it a refusal.
    pub(super) fn answered(&mut self, answers: Answers) {
        self.abandoned(answers);
        self.health = Health::Answers;
    }

    /// A call got no answer. Returns since when there was none. `jitter` is about 1.
    pub(super) fn unanswered(
        &mut self,
        answers: Answers,
        begun: u64,
        cause: String,
        (now, at): (Instant, Timestamp),
        jitter: f64,
    ) -> Silence {
        self.abandoned(answers);
        let since = match &self.health {
            Health::Unknown | Health::Answers => Some(at),
            Health::Doubtful(silence) => silence.since,
            Health::Silent(outage) => outage.silence.since,
        };
        let silence = Silence { cause, since };
        let probes = match &self.health {
            Health::Answers => {
                self.health = Health::Doubtful(silence.clone());
                return silence;
            }
            // It began before the breaker opened: known already.
            Health::Silent(outage) if begun != self.openings => return outage.silence.clone(),
            Health::Unknown | Health::Doubtful(_) => 0,
            Health::Silent(outage) => outage.probes.saturating_add(1),
        };
        self.openings += u64::from(probes == 0);
        self.health = Health::Silent(Outage {
            silence: silence.clone(),
            probes,
            next_probe: now + delay(probes).mul_f64(jitter),
        });
        silence
    }
}

/// 1 s, 2 s, 4 s, ... up to half a minute.
fn delay(probes: u32) -> Duration {
    FIRST.saturating_mul(1 << probes.min(16)).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail(breaker: &mut Breaker, now: Instant) -> Silence {
        let Admission::Begun(begun) = breaker.begin(Answers::Soon, now) else {
            panic!("the call was not admitted")
        };
        breaker.unanswered(
            Answers::Soon,
            begun,
            "timed out".to_owned(),
            (now, Timestamp::UNIX_EPOCH),
            1.0,
        )
    }

    fn answer(breaker: &mut Breaker, now: Instant) {
        assert!(matches!(breaker.begin(Answers::Soon, now), Admission::Begun(_)));
        breaker.answered(Answers::Soon);
    }

    #[test]
    fn an_unknown_endpoint_is_asked_by_one_and_one_that_answers_by_eight() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        assert_eq!(breaker.begin(Answers::Soon, now), Admission::Begun(0));
        assert_eq!(breaker.begin(Answers::Soon, now), Admission::Full);
        breaker.answered(Answers::Soon);
        for _ in 0..MOST {
            assert_eq!(breaker.begin(Answers::Soon, now), Admission::Begun(0));
        }
        assert_eq!(breaker.begin(Answers::Soon, now), Admission::Full);
        breaker.abandoned(Answers::Soon);
        assert_eq!(breaker.begin(Answers::Soon, now), Admission::Begun(0));
    }

    #[test]
    fn calls_that_make_an_endpoint_work_for_long_leave_room_for_the_others() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        answer(&mut breaker, now);
        for _ in 0..MOST {
            assert_eq!(breaker.begin(Answers::MayTakeLong, now), Admission::Begun(0));
        }
        assert_eq!(breaker.begin(Answers::MayTakeLong, now), Admission::Full);
        assert_eq!(breaker.begin(Answers::Soon, now), Admission::Begun(0));
        breaker.abandoned(Answers::Soon);
        assert_eq!(breaker.begin(Answers::MayTakeLong, now), Admission::Full);
        breaker.abandoned(Answers::MayTakeLong);
        assert_eq!(breaker.begin(Answers::MayTakeLong, now), Admission::Begun(0));
    }

    #[test]
    fn a_silent_endpoint_is_probed_ever_more_rarely_by_one_until_it_answers() {
        let (mut breaker, start) = (Breaker::default(), Instant::now());
        let mut probes = Vec::new();
        for second in 0..100 {
            let now = start + Duration::from_secs(second);
            match breaker.begin(Answers::Soon, now) {
                Admission::Begun(begun) => {
                    // A second probe at the same time is refused, and not made to wait.
                    assert!(
                        second == 0 || matches!(breaker.begin(Answers::Soon, now), Admission::Refused(_))
                    );
                    breaker.unanswered(
                        Answers::Soon,
                        begun,
                        "timed out".to_owned(),
                        (now, Timestamp::UNIX_EPOCH),
                        1.0,
                    );
                    probes.push(second);
                }
                Admission::Refused(silence) => assert_eq!(silence.cause, "timed out"),
                Admission::Full => panic!("nothing was under way"),
            }
        }
        assert_eq!(probes, [0, 1, 3, 7, 15, 31, 61, 91]);
        answer(&mut breaker, start + Duration::from_secs(200));
        assert_eq!(breaker.begin(Answers::Soon, start), Admission::Begun(1));
    }

    #[test]
    fn one_failure_of_an_endpoint_that_answers_is_no_outage_and_two_are() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        answer(&mut breaker, now);
        fail(&mut breaker, now);
        answer(&mut breaker, now);
        fail(&mut breaker, now);
        fail(&mut breaker, now);
        assert!(matches!(breaker.begin(Answers::Soon, now), Admission::Refused(_)));
    }

    #[test]
    fn calls_that_began_before_the_outage_do_not_make_it_longer() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        answer(&mut breaker, now);
        let begun: Vec<_> = (0..MOST).map(|_| breaker.begin(Answers::Soon, now)).collect();
        for _ in begun {
            breaker.unanswered(
                Answers::Soon,
                0,
                "reset".to_owned(),
                (now, Timestamp::UNIX_EPOCH),
                1.0,
            );
        }
        assert_eq!(breaker.begin(Answers::Soon, now + FIRST), Admission::Begun(1));
    }

    #[test]
    fn the_beginning_of_an_outage_is_remembered() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        let first = fail(&mut breaker, now);
        let Admission::Begun(begun) = breaker.begin(Answers::Soon, now + FIRST) else {
            panic!("a probe was due")
        };
        let later: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let second = breaker.unanswered(
            Answers::Soon,
            begun,
            "timed out".to_owned(),
            (now + FIRST, later),
            1.0,
        );
        assert_eq!(first, second);
    }
}
