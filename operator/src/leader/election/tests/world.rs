//! A simulation in true time: one API server, two candidates, each with a clock of its own speed, and what becomes of
//! each of their requests by script.

use std::{collections::BTreeMap, vec::IntoIter};

use proptest::collection::vec;

use super::*;

/// True time, milliseconds.
type Millis = u64;

/// A process that has ended is followed by a new one after this time.
const RESTART: Millis = 1000;
/// Once there are no more faults, there is one leader after this time.
const SETTLED: Millis = 100_000;

/// What becomes of one request of a candidate.
#[derive(Clone, Debug)]
pub(super) struct Fate {
    /// How long the process stands still before it begins the request.
    stall: Millis,
    /// How long the request is on its way, and how long its answer.
    there: Millis,
    back: Millis,
    lost: Lost,
    end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lost {
    Nothing,
    Request,
    Answer,
}

/// Whether the process ends after the request has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    GoesOn,
    Killed,
    /// It gives the Lease up if it leads.
    Stopped,
}

const NO_FAULT: Fate = Fate {
    stall: 0,
    there: 5,
    back: 5,
    lost: Lost::Nothing,
    end: End::GoesOn,
};

#[derive(Clone, Debug)]
pub(super) struct Script {
    /// Speeds of the clocks, parts per thousand of true time.
    speeds: [u64; 2],
    fates: [Vec<Fate>; 2],
}

pub(super) fn script() -> impl Strategy<Value = Script> {
    let delay = || prop_oneof![6 => 0..50_u64, 2 => 50..2500_u64, 1 => 2500..30_000_u64];
    let stall = prop_oneof![8 => Just(0), 1 => 0..30_000_u64];
    let lost = prop_oneof![6 => Just(Lost::Nothing), 1 => Just(Lost::Request), 1 => Just(Lost::Answer)];
    let end = prop_oneof![40 => Just(End::GoesOn), 1 => Just(End::Killed), 1 => Just(End::Stopped)];
    let fate = (stall, delay(), delay(), lost, end).prop_map(|(stall, there, back, lost, end)| Fate {
        stall,
        there,
        back,
        lost,
        end,
    });
    let fates = vec(fate, 0..60);
    let speed = || 850..1200_u64;
    ([speed(), speed()], [fates.clone(), fates]).prop_map(|(speeds, fates)| Script { speeds, fates })
}

/// Plays a script to its end, and looks at each moment at which a candidate begins to lead.
pub(super) fn run(script: &Script) {
    let mut world = World::default();
    for (speed, fates) in script.speeds.iter().zip(&script.fates) {
        world.start(0, *speed, fates.clone().into_iter());
    }
    let mut end = Millis::MAX;
    while let Some(((now, _), (process, event))) = world.queue.pop_first() {
        if now > end {
            break;
        }
        if end == Millis::MAX && world.faults_are_over() {
            end = now + SETTLED;
        }
        world.happens(now, process, event);
    }
    let leaders = world.processes.iter().filter(|process| process.leads_until > end);
    assert_eq!(leaders.count(), 1, "without faults there is one leader");
}

/// A process, from its start to its end.
struct Process {
    candidate: Candidate,
    /// What its clock showed at true time 0.
    zero: Instant,
    speed: u64,
    /// None: it has ended.
    fates: Option<IntoIter<Fate>>,
    /// The request that it waits for.
    ticket: u64,
    /// Until when it may write, in true time.
    leads_until: Millis,
}

impl Process {
    /// What its clock shows.
    fn clock(&self, now: Millis) -> Instant {
        self.zero + Duration::from_micros(now * self.speed)
    }

    /// The first true time at which its clock shows this or more.
    fn when(&self, shown: Instant) -> Millis {
        let micros = u64::try_from(shown.saturating_duration_since(self.zero).as_micros()).unwrap();
        micros.div_ceil(self.speed)
    }
}

#[allow(clippy::large_enum_variant, reason = "there are few of them")]
#[derive(Debug)]
enum Event {
    Step,
    Arrives {
        request: Request,
        fate: Fate,
        ticket: u64,
        begun: Instant,
    },
    Answered {
        request: Request,
        answer: Result<Option<Lease>, u16>,
        ticket: u64,
        begun: Instant,
    },
    GivenUp {
        ticket: u64,
    },
}

#[allow(clippy::large_enum_variant, reason = "there are few of them")]
#[derive(Debug)]
enum Request {
    Look,
    Put(Lease),
}

#[derive(Default)]
struct World {
    stored: Stored,
    processes: Vec<Process>,
    /// By time, and in the order in which they were planned.
    queue: BTreeMap<(Millis, usize), (usize, Event)>,
    planned: usize,
    tickets: u64,
}

impl World {
    fn start(&mut self, now: Millis, speed: u64, fates: IntoIter<Fate>) {
        let number = self.processes.len();
        self.processes.push(Process {
            candidate: Candidate::new(format!("process {number}"), timing()),
            zero: Instant::now(),
            speed,
            fates: Some(fates),
            ticket: 0,
            leads_until: 0,
        });
        self.plan(now, number, Event::Step);
    }

    fn plan(&mut self, at: Millis, process: usize, event: Event) {
        self.planned += 1;
        self.queue.insert((at, self.planned), (process, event));
    }

    fn faults_are_over(&self) -> bool {
        let fates = self.processes.iter().filter_map(|process| process.fates.as_ref());
        fates.map(ExactSizeIterator::len).all(|left| left == 0)
    }

    fn happens(&mut self, now: Millis, number: usize, event: Event) {
        match event {
            Event::Step => self.step(now, number),
            Event::Arrives {
                request,
                fate,
                ticket,
                begun,
            } => {
                let answer = match &request {
                    Request::Look => Ok(self.stored.lease.clone()),
                    Request::Put(lease) => self.stored.put(lease.clone()).map(Some),
                };
                if fate.lost != Lost::Answer {
                    let answered = Event::Answered {
                        request,
                        answer,
                        ticket,
                        begun,
                    };
                    self.plan(now + fate.back, number, answered);
                }
            }
            Event::Answered {
                request,
                answer,
                ticket,
                begun,
            } => {
                if self.processes[number].ticket == ticket && self.processes[number].fates.is_some() {
                    self.answered(now, number, &request, answer, begun);
                }
            }
            Event::GivenUp { ticket } => {
                let process = &mut self.processes[number];
                if process.ticket == ticket && process.fates.is_some() {
                    process.ticket = 0;
                    process.candidate.failed(process.clock(now));
                    self.plan(now, number, Event::Step);
                }
            }
        }
    }

    fn answered(
        &mut self,
        now: Millis,
        number: usize,
        request: &Request,
        answer: Result<Option<Lease>, u16>,
        begun: Instant,
    ) {
        let process = &mut self.processes[number];
        process.ticket = 0;
        let clock = process.clock(now);
        match (request, answer) {
            (Request::Look, Ok(lease)) => process.candidate.looked(lease, clock),
            (Request::Put(_), Ok(Some(lease))) => process.candidate.claimed(lease, begun, clock),
            (_, Err(404 | 409)) => process.candidate.conflicted(clock),
            _ => process.candidate.failed(clock),
        }
        process.leads_until = match process.candidate.leads_until() {
            Some(end) => process.when(end),
            None => process.leads_until.min(now),
        };
        if process.leads_until > now {
            for (other, process) in self.processes.iter().enumerate() {
                assert!(
                    other == number || process.leads_until <= now,
                    "at {now} ms, {number} begins to lead and {other} leads until {} ms",
                    process.leads_until
                );
            }
        }
        self.plan(now, number, Event::Step);
    }

    fn step(&mut self, now: Millis, number: usize) {
        let process = &mut self.processes[number];
        let Some(fates) = &mut process.fates else { return };
        let clock = process.zero + Duration::from_micros(now * process.speed);
        let step = process.candidate.next(clock);
        let claim = match step {
            Step::Wait(pause) => {
                let at = process.when(clock + pause);
                return self.plan(at, number, Event::Step);
            }
            Step::Resign => return self.end(now, number),
            Step::Look => false,
            Step::Claim => true,
        };
        let fate = fates.next().unwrap_or(NO_FAULT);
        let sent = now + fate.stall;
        let begun = process.clock(sent);
        let request = if claim {
            Request::Put(process.candidate.claim(Timestamp::UNIX_EPOCH))
        } else {
            Request::Look
        };
        let longest = begun + timing().request();
        let deadline = process
            .candidate
            .leads_until()
            .map_or(longest, |end| end.min(longest));
        let given_up = process.when(deadline).max(sent);
        self.tickets += 1;
        let ticket = self.tickets;
        process.ticket = ticket;
        self.plan(given_up, number, Event::GivenUp { ticket });
        let end = fate.end;
        if fate.lost != Lost::Request {
            let arrives = Event::Arrives {
                request,
                fate: fate.clone(),
                ticket,
                begun,
            };
            self.plan(sent + fate.there, number, arrives);
        }
        match end {
            End::GoesOn => {}
            End::Killed => self.end(sent, number),
            End::Stopped => {
                if let Some(lease) = self.processes[number].candidate.release(Timestamp::UNIX_EPOCH) {
                    let release = Event::Arrives {
                        request: Request::Put(lease),
                        fate: NO_FAULT,
                        ticket: 0,
                        begun,
                    };
                    self.plan(sent + fate.back, number, release);
                }
                self.end(sent, number);
            }
        }
    }

    /// The process writes nothing more, and another one takes its place.
    fn end(&mut self, now: Millis, number: usize) {
        let process = &mut self.processes[number];
        process.leads_until = process.leads_until.min(now);
        let speed = process.speed;
        if let Some(fates) = process.fates.take() {
            self.start(now + RESTART, speed, fates);
        }
    }
}
