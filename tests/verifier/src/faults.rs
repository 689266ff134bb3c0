//! What is done to the workers, the brokers and the network between them.

mod traps;

use std::time::Duration;

use naru_tests::filtered_sum::check::Violation;
use naru_tests::filtered_sum::{GROUP, worker::Worker};
use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};

use self::traps::spring;
use crate::audit::{OFFSETS, partition_of};
use crate::proxy::Request;
use crate::stage::{Member, PARTITIONS, SOON, Stage};

const TRANSACTIONS: &str = "__transaction_state";
/// A worker that is out of reach for this long has lost its place in the group: the session is over after 10 s.
const SILENCE: Duration = Duration::from_secs(12);

/// A kind of fault. After it everything that is to run is running, and the network passes everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Fault {
    /// SIGKILL at any moment, and a start under the same name.
    Kill,
    /// SIGKILL right before or after a request of a transaction, whose delivery may come after the death.
    Step,
    /// SIGKILL, and a start under another name: the group notices only when the session is over.
    Lost,
    /// SIGSTOP until the session is over, then SIGCONT.
    Stop,
    /// SIGTERM, and a start under another name.
    Term,
    /// A worker that is held up in the middle of a transaction until others own its partitions, and then goes on.
    Zombie,
    /// The same, but until another process of its name has replaced it.
    Twin,
    /// Connections of a worker to one broker or all are reset and refused for a while.
    Cut,
    /// Nothing passes between a worker and one broker or all for a while.
    Hold,
    /// SIGKILL of a broker, which comes back.
    Broker,
    /// The coordinator of the group or of a worker's transactions moves, because its broker ends in order or is killed.
    Coordinator,
    /// From one worker to the most there may be and back to one.
    Scale,
    /// Each worker ends in order and is started again, one after the other.
    Roll,
    /// All workers are replaced at once by such with another specification.
    Spec,
    /// Workers come and go faster than the group can follow.
    Storm,
}

/// A sequence of `count` faults in which each of `kinds` comes equally often.
pub fn plan(kinds: &[Fault], count: usize, random: &mut impl Rng) -> Vec<Fault> {
    let mut plan = Vec::new();
    while plan.len() < count {
        let mut deck = kinds.to_vec();
        deck.shuffle(random);
        plan.extend(deck);
    }
    plan.truncate(count);
    plan
}

/// Does it, and says what it did.
pub fn inject(stage: &mut Stage, fault: Fault) -> Result<String, Violation> {
    match fault {
        Fault::Kill => kill(stage),
        Fault::Step => step(stage),
        Fault::Lost => lost(stage),
        Fault::Stop => stop(stage),
        Fault::Term => term(stage),
        Fault::Zombie => zombie(stage),
        Fault::Twin => twin(stage),
        Fault::Cut => cut(stage),
        Fault::Hold => hold(stage),
        Fault::Broker => broker(stage),
        Fault::Coordinator => coordinator(stage),
        Fault::Scale => scale(stage),
        Fault::Roll => roll(stage),
        Fault::Spec => spec(stage),
        Fault::Storm => storm(stage),
    }
}

fn kill(stage: &mut Stage) -> Result<String, Violation> {
    let victim = stage.any();
    let name = again(stage, victim);
    Ok(format!("{name} killed"))
}

fn step(stage: &mut Stage) -> Result<String, Violation> {
    let victim = owner(stage)?;
    let at = spring(stage, Fault::Step, victim)?;
    stage.workers[victim].worker.process.kill();
    let gate = stage.gate(stage.workers[victim].gate);
    let is_late: bool = stage.random.random();
    if !is_late {
        gate.cut(None);
    }
    let name = again(stage, victim);
    let late = if is_late { "delivered later" } else { "lost" };
    Ok(format!("{name} killed {at}, which was {late}"))
}

fn lost(stage: &mut Stage) -> Result<String, Violation> {
    let victim = stage.any();
    let old = stage.workers.swap_remove(victim);
    old.worker.process.kill();
    stage.note(&format!("kill {}", old.worker.name));
    drop(old);
    let new = stage.join();
    Ok(format!(
        "a worker killed, {} in its place",
        stage.workers[new].worker.name
    ))
}

fn stop(stage: &mut Stage) -> Result<String, Violation> {
    let victim = stage.any();
    let name = stage.workers[victim].worker.name.clone();
    stage.workers[victim].worker.process.signal("STOP");
    stage.note(&format!("stop {name}"));
    let passed = stage.pass(SILENCE);
    stage.workers[victim].worker.process.signal("CONT");
    stage.note(&format!("continue {name}"));
    passed.map(|()| format!("{name} stopped for {} s", SILENCE.as_secs()))
}

fn term(stage: &mut Stage) -> Result<String, Violation> {
    let victim = stage.any();
    let old = stage.workers.swap_remove(victim);
    let name = old.worker.name.clone();
    terminate(stage, vec![old])?;
    stage.join();
    Ok(format!("{name} ended, another started"))
}

fn zombie(stage: &mut Stage) -> Result<String, Violation> {
    while stage.workers.len() < 2 {
        stage.join();
    }
    stage.until(SOON, "every worker has partitions", |stage| {
        stage.workers.iter().all(|member| partitions(&member.worker) > 0)
    })?;
    let victim = owner(stage)?;
    let at = spring(stage, Fault::Zombie, victim)?;
    let Member { worker, gate } = &stage.workers[victim];
    let (name, gate) = (worker.name.clone(), stage.gate(*gate));
    stage.until(
        SOON,
        "others own the partitions of a worker that is out of reach",
        |stage| {
            let others = stage.workers.iter().filter(|member| member.worker.name != name);
            others.map(|member| partitions(&member.worker)).sum::<i32>() == PARTITIONS
        },
    )?;
    stage.feed.resume();
    stage.until(SOON, "the others commit something", progresses())?;
    gate.open();
    stage.note(&format!("{name} goes on"));
    Ok(format!("{name} held up {at} until others owned its partitions"))
}

fn twin(stage: &mut Stage) -> Result<String, Violation> {
    let victim = owner(stage)?;
    let at = spring(stage, Fault::Twin, victim)?;
    let name = stage.workers[victim].worker.name.clone();
    let free = stage.free_gate();
    let twin = stage.start(&name, free);
    let old = std::mem::replace(&mut stage.workers[victim], twin);
    stage.until(SOON, "the twin owns the partitions", |stage| {
        partitions(&stage.workers[victim].worker) > 0
    })?;
    stage.feed.resume();
    stage.until(SOON, "the workers commit something", progresses())?;
    let (gate, answers) = (
        stage.gate(old.gate),
        [Request::EndTxn, Request::InitProducerId, Request::JoinGroup],
    );
    let before = gate.passed(&answers);
    gate.open();
    stage.note(&format!("the first {name} goes on"));
    stage.until(SOON, "who was replaced goes on", |_| {
        gate.passed(&answers) > before
    })?;
    old.worker.process.kill();
    stage.note(&format!("kill the first {name}"));
    Ok(format!(
        "{name} held up {at} until it was replaced by another of its name"
    ))
}

fn cut(stage: &mut Stage) -> Result<String, Violation> {
    let (name, gate, broker) = connection(stage);
    stage.gate(gate).cut(broker);
    let time = stage.moment(Duration::from_secs(4));
    passes(stage, gate, &name, "cut off from", broker, time)
}

fn hold(stage: &mut Stage) -> Result<String, Violation> {
    let (name, gate, broker) = connection(stage);
    stage.gate(gate).hold(broker);
    let time = stage.moment(Duration::from_secs(14));
    passes(stage, gate, &name, "out of reach of", broker, time)
}

fn broker(stage: &mut Stage) -> Result<String, Violation> {
    let broker = stage.random.random_range(0..stage.kafka.broker_count());
    outage(stage, broker, false)
}

fn coordinator(stage: &mut Stage) -> Result<String, Violation> {
    let (of, topic, partition) = if stage.random.random() {
        ("the group", OFFSETS, partition_of(GROUP, 5))
    } else {
        let victim = stage.any();
        let id = format!("{GROUP}.{}", stage.workers[victim].worker.name);
        ("a worker's transactions", TRANSACTIONS, partition_of(&id, 3))
    };
    let mut leader = None;
    stage.until(SOON, "there is a coordinator", |stage| {
        leader = stage.kafka.leader(topic, partition);
        leader.is_some()
    })?;
    let in_order: bool = stage.random.random();
    let what = outage(stage, leader.unwrap_or_default(), in_order)?;
    Ok(format!("{what}, coordinator of {of}"))
}

fn scale(stage: &mut Stage) -> Result<String, Violation> {
    while stage.workers.len() < stage.most {
        stage.join();
    }
    stage.until(SOON, "every worker has partitions", |stage| {
        stage.workers.iter().all(|member| partitions(&member.worker) > 0)
    })?;
    stage.work()?;
    let surplus = stage.workers.split_off(1);
    terminate(stage, surplus)?;
    Ok(format!("scaled to {} and back to 1", stage.most))
}

fn roll(stage: &mut Stage) -> Result<String, Violation> {
    for index in 0..stage.workers.len() {
        let (name, gate) = (
            stage.workers[index].worker.name.clone(),
            stage.workers[index].gate,
        );
        end(stage, index)?;
        stage.workers[index] = stage.start(&name, gate);
        stage.until(SOON, "the worker is ready", |stage| {
            stage.workers[index].worker.is_ready()
        })?;
    }
    Ok(format!(
        "{} workers started again, one by one",
        stage.workers.len()
    ))
}

fn spec(stage: &mut Stage) -> Result<String, Violation> {
    stage.commit_interval_ms = if stage.commit_interval_ms == 20 { 60 } else { 20 };
    let old = std::mem::take(&mut stage.workers);
    for member in &old {
        member.worker.process.signal("TERM");
        stage.note(&format!("terminate {}", member.worker.name));
        // Through the same gate, which is open.
        let name = stage.new_name();
        let new = stage.start(&name, member.gate);
        stage.workers.push(new);
    }
    let count = old.len();
    terminate(stage, old)?;
    Ok(format!(
        "{count} workers replaced at once, to commit every {} ms",
        stage.commit_interval_ms
    ))
}

fn storm(stage: &mut Stage) -> Result<String, Violation> {
    let mut count = 0;
    for _ in 0..5 {
        let victim = stage.any();
        let gone = stage.workers.swap_remove(victim).worker;
        gone.process.kill();
        stage.note(&format!("kill {}", gone.name));
        count += 1;
        stage.join();
        if stage.workers.len() < stage.most {
            stage.join();
        }
        let time = stage.moment(Duration::from_millis(600));
        stage.pass(time)?;
    }
    Ok(format!("{count} workers killed while others joined"))
}

/// SIGKILL and a start under the same name, behind an open gate.
fn again(stage: &mut Stage, victim: usize) -> String {
    let Member { worker, gate } = &stage.workers[victim];
    let (name, gate) = (worker.name.clone(), *gate);
    worker.process.kill();
    stage.note(&format!("kill {name}"));
    stage.workers[victim] = stage.start(&name, gate);
    name
}

/// SIGTERM for all of them at once; each must end in order.
fn terminate(stage: &mut Stage, members: Vec<Member>) -> Result<(), Violation> {
    for member in &members {
        member.worker.process.signal("TERM");
        stage.note(&format!("terminate {}", member.worker.name));
    }
    stage.until(SOON, "workers end after SIGTERM", |_| {
        members.iter().all(|member| !member.worker.process.is_running())
    })?;
    for member in members {
        ended(&member.worker)?;
    }
    Ok(())
}

fn end(stage: &mut Stage, index: usize) -> Result<(), Violation> {
    let name = stage.workers[index].worker.name.clone();
    stage.workers[index].worker.process.signal("TERM");
    stage.note(&format!("terminate {name}"));
    stage.until(SOON, "a worker ends after SIGTERM", |stage| {
        !stage.workers[index].worker.process.is_running()
    })?;
    ended(&stage.workers[index].worker)
}

fn ended(worker: &Worker) -> Result<(), Violation> {
    match worker.process.wait(SOON) {
        Some(0) => Ok(()),
        code => Err(Violation::new(
            "I3",
            format!("after SIGTERM {} has ended with {code:?}", worker.name),
        )),
    }
}

/// A broker ends, in order or not, and comes back.
fn outage(stage: &mut Stage, broker: usize, in_order: bool) -> Result<String, Violation> {
    stage.watch.excuse();
    if in_order {
        stage.kafka.terminate(broker);
    } else {
        stage.kafka.kill(broker);
    }
    let what = format!(
        "broker {} {}",
        broker + 1,
        if in_order { "ended" } else { "killed" }
    );
    stage.note(&what);
    let time = stage.moment(Duration::from_secs(8));
    stage.pass(time)?;
    stage.kafka.restart(broker);
    stage.note(&format!("start broker {}", broker + 1));
    stage.until(2 * SOON, "every replica is in sync", |stage| {
        stage.kafka.is_whole()
    })?;
    stage.watch.excuse();
    Ok(what)
}

/// Some worker that owns partitions.
fn owner(stage: &mut Stage) -> Result<usize, Violation> {
    let mut owners = Vec::new();
    stage.until(SOON, "a worker owns partitions", |stage| {
        let members = stage.workers.iter().enumerate();
        owners = members
            .filter(|(_, member)| partitions(&member.worker) > 0)
            .map(|(index, _)| index)
            .collect();
        !owners.is_empty()
    })?;
    Ok(owners.choose(&mut stage.random).copied().unwrap_or_default())
}

/// A worker's name and gate, and to which broker; `None`: to all.
fn connection(stage: &mut Stage) -> (String, usize, Option<usize>) {
    let victim = stage.any();
    let brokers = stage.kafka.broker_count();
    let broker = stage
        .random
        .random::<bool>()
        .then(|| stage.random.random_range(0..brokers));
    let Member { worker, gate } = &stage.workers[victim];
    (worker.name.clone(), *gate, broker)
}

fn passes(
    stage: &mut Stage,
    gate: usize,
    name: &str,
    what: &str,
    broker: Option<usize>,
    time: Duration,
) -> Result<String, Violation> {
    let broker = broker.map_or_else(
        || "all brokers".to_owned(),
        |broker| format!("broker {}", broker + 1),
    );
    let what = format!("{name} {what} {broker}");
    stage.note(&what);
    let passed = stage.pass(time);
    stage.gate(gate).open();
    stage.note(&format!("{name} is back"));
    passed.map(|()| format!("{what} for {:.1} s", time.as_secs_f64()))
}

fn progresses() -> impl FnMut(&mut Stage) -> bool {
    let mut before = None;
    move |stage| {
        let now = stage.watch.progress();
        now > *before.get_or_insert(now)
    }
}

fn partitions(worker: &Worker) -> i32 {
    worker
        .metric("assigned_partitions")
        .map_or(0, |count| count as i32)
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn every_fault_comes_before_one_comes_again() {
        let kinds = Fault::value_variants();
        let plan = plan(kinds, 2 * kinds.len() + 3, &mut StdRng::seed_from_u64(1));
        for deck in plan.chunks(kinds.len()) {
            let mut sorted = deck.to_vec();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted.len(), deck.len());
        }
    }
}
