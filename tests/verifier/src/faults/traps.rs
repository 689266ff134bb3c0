//! Where a worker is held up, at the next request of a kind.

use std::time::{Duration, Instant};

use naru_contract::Delivery;
use naru_tests::filtered_sum::check::Violation;

use super::Fault;
use crate::proxy::{Request, Trap};
use crate::stage::{SOON, Stage};

/// How long a worker may take to get to a certain request.
const ARRIVAL: Duration = Duration::from_secs(5);

/// Lets a worker come up to the next step of what it writes that this fault is for, and holds everything there, while
/// nothing more is written. Says where that is.
pub(super) fn spring(stage: &mut Stage, fault: Fault, victim: usize) -> Result<String, Violation> {
    let delivery = stage.delivery;
    let Trap { request, after } = stage.next_trap(fault, || traps(fault, delivery));
    let gate = stage.gate(stage.workers[victim].gate);
    gate.set_trap(Trap { request, after });
    let until = Instant::now() + ARRIVAL;
    stage.until(SOON, "a worker is held up", |_| {
        gate.has_sprung() || Instant::now() > until
    })?;
    let at = match gate.has_sprung() {
        true => format!("{} {request:?}", if after { "after" } else { "before" }),
        // One that is broken may never ask for this.
        false => "anywhere".to_owned(),
    };
    gate.hold(None);
    stage.feed.pause();
    let name = stage.workers[victim].worker.name.clone();
    stage.note(&format!("{name} held up {at}"));
    Ok(at)
}

fn traps(fault: Fault, delivery: Delivery) -> Vec<Trap> {
    let transaction = [
        Request::AddPartitionsToTxn,
        Request::Produce,
        Request::AddOffsetsToTxn,
        Request::TxnOffsetCommit,
        Request::EndTxn,
    ];
    let before = |request: &Request| Trap {
        request: *request,
        after: false,
    };
    let after = |request: &Request| Trap {
        request: *request,
        after: true,
    };
    let all = match delivery {
        Delivery::ExactlyOnce => &transaction[..],
        Delivery::IdempotentUpsert => &[Request::Produce],
    };
    match fault {
        Fault::Step => all.iter().map(before).chain(all.iter().map(after)).collect(),
        // From the first request on that only the owner may make; upserts anybody may write.
        _ => all[all.len().min(3) - 1..].iter().map(before).collect(),
    }
}
