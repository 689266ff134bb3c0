//! Electors against an API server in memory, in time that passes by itself.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use futures::FutureExt;
use http::Method;

use super::*;
use crate::leader::fake::Server;

const SECOND: Duration = Duration::from_secs(1);

/// An operator whose work is to wait until it is stopped.
struct Operator {
    stop: CancellationToken,
    fence: Fence,
    standing: watch::Receiver<Standing>,
    ended: tokio::task::JoinHandle<Result<(), Lost>>,
}

impl Operator {
    fn start(server: &Server, identity: &str) -> Self {
        let name = "naru".to_owned();
        let elector = Elector::new(
            server.client(),
            name,
            identity.to_owned(),
            Timing::new(10 * SECOND),
        );
        let stop = CancellationToken::new();
        let (fence, standing) = (elector.fence(), elector.standing());
        let ended = tokio::spawn({
            let stop = stop.clone();
            async move {
                let work = || stop.clone().cancelled_owned().map(|()| Ended::Wholly);
                elector.lead(stop.clone(), work).await
            }
        });
        Self {
            stop,
            fence,
            standing,
            ended,
        }
    }

    async fn stands(&mut self, standing: Standing) {
        let reached = self.standing.wait_for(|now| *now == standing);
        let reached = tokio::time::timeout(60 * SECOND, reached).await;
        reached.expect("it stands so within a minute").unwrap();
    }
}

fn standby(leader: &str) -> Standing {
    Standing::Standby {
        leader: Some(leader.to_owned()),
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_operator_leads_at_once_and_the_second_stands_by() {
    let server = Server::default();
    let mut one = Operator::start(&server, "one");
    one.stands(Standing::Leading).await;
    assert_eq!(one.fence.check(), Ok(()));
    let mut two = Operator::start(&server, "two");
    two.stands(standby("one")).await;
    tokio::time::sleep(600 * SECOND).await;
    assert_eq!(server.holder().as_deref(), Some("one"));
    assert_eq!(one.fence.check(), Ok(()));
    assert!(two.fence.check().is_err());
    assert_eq!(two.standing.borrow().to_string(), "standby, leader is one");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_stopped_hands_over_within_two_seconds() {
    let server = Server::default();
    let mut one = Operator::start(&server, "one");
    one.stands(Standing::Leading).await;
    let mut two = Operator::start(&server, "two");
    two.stands(standby("one")).await;
    let stopped = Instant::now();
    one.stop.cancel();
    assert_eq!(one.ended.await.unwrap(), Ok(()));
    assert!(
        one.fence.check().is_err(),
        "what is left behind of it writes nothing"
    );
    two.stands(Standing::Leading).await;
    assert!(stopped.elapsed() < 2 * SECOND, "{:?}", stopped.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_killed_is_followed_within_thirteen_seconds_and_not_before_ten() {
    let server = Server::default();
    let mut one = Operator::start(&server, "one");
    one.stands(Standing::Leading).await;
    let mut two = Operator::start(&server, "two");
    two.stands(standby("one")).await;
    tokio::time::sleep(30 * SECOND).await;
    let killed = Instant::now();
    one.ended.abort();
    two.stands(Standing::Leading).await;
    let took = killed.elapsed();
    // The last renewal may have been up to 2.4 s before.
    assert!(took > 15 * SECOND / 2 && took < 13 * SECOND, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_leader_without_an_api_server_drops_its_work_when_its_term_ends() {
    let server = Server::default();
    let mut one = Operator::start(&server, "one");
    one.stands(Standing::Leading).await;
    tokio::time::sleep(30 * SECOND).await;
    server.world(|world| world.silent = true);
    let silent = Instant::now();
    let lost = one.ended.await.unwrap().unwrap_err();
    assert_eq!(
        lost.to_string(),
        "lost the Lease \"naru\": it could not be renewed in time, or was deleted"
    );
    assert!(silent.elapsed() <= 7 * SECOND, "{:?}", silent.elapsed());
    assert!(one.fence.check().is_err());
    assert_eq!(*one.standing.borrow(), Standing::Lost);
}

#[tokio::test(start_paused = true)]
async fn an_outage_shorter_than_the_term_changes_nothing() {
    let server = Server::default();
    let mut one = Operator::start(&server, "one");
    one.stands(Standing::Leading).await;
    for _ in 0..5 {
        for (silent, refusing) in [(true, None), (false, Some(500)), (false, Some(409))] {
            server.world(|world| (world.silent, world.refusing) = (silent, refusing));
            tokio::time::sleep(3 * SECOND).await;
            server.world(|world| (world.silent, world.refusing) = (false, None));
            tokio::time::sleep(10 * SECOND).await;
        }
    }
    assert_eq!(one.fence.check(), Ok(()));
    assert_eq!(*one.standing.borrow_and_update(), Standing::Leading);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_of_which_the_answer_is_lost_is_found_again() {
    let server = Server::default();
    let mut one = Operator::start(&server, "one");
    one.stands(Standing::Leading).await;
    server.world(|world| world.mute = true);
    tokio::time::sleep(3 * SECOND).await;
    server.world(|world| world.mute = false);
    tokio::time::sleep(30 * SECOND).await;
    assert_eq!(one.fence.check(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_lease_was_deleted_steps_down() {
    let server = Server::default();
    let mut one = Operator::start(&server, "one");
    one.stands(Standing::Leading).await;
    server.world(|world| world.stored.lease = None);
    let deleted = Instant::now();
    one.ended.await.unwrap().unwrap_err();
    assert!(deleted.elapsed() < 5 * SECOND, "{:?}", deleted.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_lost_says_to_whom() {
    let server = Server::default();
    let mut one = Operator::start(&server, "one");
    one.stands(Standing::Leading).await;
    server.world(|world| {
        let mut lease = world.stored.lease.clone().unwrap();
        lease.spec.as_mut().unwrap().holder_identity = Some("two".to_owned());
        world.stored.put(lease).unwrap();
    });
    let lost = one.ended.await.unwrap().unwrap_err();
    assert_eq!(lost.to_string(), "lost the Lease \"naru\": \"two\" holds it now");
    assert_eq!(server.holder().as_deref(), Some("two"), "it is left alone");
}

#[tokio::test(start_paused = true)]
async fn a_standby_that_is_stopped_never_worked() {
    let server = Server::default();
    let mut one = Operator::start(&server, "one");
    one.stands(Standing::Leading).await;
    let passes = Arc::new(AtomicUsize::new(0));
    let elector = Elector::new(
        server.client(),
        "naru".to_owned(),
        "two".to_owned(),
        Timing::new(10 * SECOND),
    );
    let (stop, begun) = (CancellationToken::new(), Arc::clone(&passes));
    let ended = tokio::spawn(elector.lead(stop.clone(), move || async move {
        begun.fetch_add(1, Ordering::Relaxed);
        Ended::Wholly
    }));
    tokio::time::sleep(30 * SECOND).await;
    stop.cancel();
    assert_eq!(ended.await.unwrap(), Ok(()));
    assert_eq!(passes.load(Ordering::Relaxed), 0);
    assert_eq!(server.holder().as_deref(), Some("one"));
}

#[tokio::test(start_paused = true)]
async fn a_leader_sends_one_request_every_two_seconds_or_so() {
    let server = Server::default();
    let mut one = Operator::start(&server, "one");
    one.stands(Standing::Leading).await;
    server.world(|world| world.requests.clear());
    tokio::time::sleep(600 * SECOND).await;
    let requests = server.world(|world| std::mem::take(&mut world.requests));
    assert!((250..=300).contains(&requests.len()), "{}", requests.len());
    assert!(requests.iter().all(|method| method == Method::PUT));
}

#[tokio::test(start_paused = true)]
async fn of_many_candidates_exactly_one_leads_whenever_the_leader_goes() {
    let server = Server::default();
    let mut operators: Vec<_> = (0..5)
        .map(|n| Operator::start(&server, &format!("operator {n}")))
        .collect();
    while operators.len() > 1 {
        tokio::time::sleep(10 * SECOND).await;
        let leading = |operator: &Operator| operator.fence.check().is_ok();
        assert_eq!(operators.iter().filter(|operator| leading(operator)).count(), 1);
        let at = operators.iter().position(leading).unwrap();
        let leader = operators.remove(at);
        leader.stop.cancel();
        leader.ended.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_deleted_below_its_dead_leader_is_made_anew() {
    let server = Server::default();
    let mut one = Operator::start(&server, "one");
    one.stands(Standing::Leading).await;
    let mut two = Operator::start(&server, "two");
    two.stands(standby("one")).await;
    one.ended.abort();
    server.world(|world| world.stored.lease = None);
    two.stands(Standing::Leading).await;
    assert_eq!(server.holder().as_deref(), Some("two"));
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_is_gone_is_asked_about_once_a_second_and_not_more() {
    let server = Server::default();
    server.world(|world| world.refusing = Some(404));
    let _one = Operator::start(&server, "one");
    tokio::time::sleep(60 * SECOND).await;
    let requests = server.world(|world| world.requests.len());
    assert!((60..130).contains(&requests), "{requests}");
}

#[tokio::test(start_paused = true)]
async fn a_standby_that_may_not_ask_for_the_lease_says_so_after_its_duration_and_until_it_may() {
    let server = Server::default();
    let mut one = Operator::start(&server, "one");
    one.stands(Standing::Leading).await;
    server.world(|world| world.refusing = Some(403));
    let mut two = Operator::start(&server, "two");
    assert_eq!(
        two.standing.borrow_and_update().to_string(),
        "waiting for an answer about the Lease"
    );
    let started = Instant::now();
    two.standing.changed().await.unwrap();
    let text = two.standing.borrow().to_string();
    assert!(text.starts_with("cannot ask for the Lease: "), "{text}");
    let took = started.elapsed();
    assert!(took >= 10 * SECOND && took < 15 * SECOND, "{took:?}");
    server.world(|world| world.refusing = None);
    let answered = |standing: &Standing| matches!(standing, Standing::Standby { .. });
    let answered = two.standing.wait_for(answered);
    let answered = tokio::time::timeout(15 * SECOND, answered).await;
    answered.expect("it is told within seconds").unwrap();
    // One refusal is none yet.
    server.world(|world| world.refusing = Some(500));
    tokio::time::sleep(5 * SECOND).await;
    assert!(matches!(*two.standing.borrow(), Standing::Standby { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_that_holds_its_thread_does_not_delay_renewals() {
    let server = Server::default();
    let elector = Elector::new(
        server.client(),
        "naru".to_owned(),
        "one".to_owned(),
        Timing::new(5 * SECOND),
    );
    let (stop, fence) = (CancellationToken::new(), elector.fence());
    let standing = server.clone();
    let led = elector.lead(stop, move || async move {
        let renewals = || standing.world(|world| world.requests.len());
        let (before, end) = (renewals(), std::time::Instant::now() + 60 * SECOND);
        // For longer than the leader's term, and without ever giving way.
        while renewals() < before + 4 && std::time::Instant::now() < end {
            std::thread::yield_now();
        }
        assert_eq!(fence.check(), Ok(()));
        Ended::Wholly
    });
    assert_eq!(led.await, Ok(()));
    assert_eq!(server.holder(), None, "it was released");
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_left_to_run_out_where_a_change_may_yet_take_effect() {
    let server = Server::default();
    let elector = Elector::new(
        server.client(),
        "naru".to_owned(),
        "one".to_owned(),
        Timing::new(10 * SECOND),
    );
    let fence = elector.fence();
    let led = elector.lead(CancellationToken::new(), || async { Ended::Loosely });
    assert_eq!(led.await, Ok(()));
    assert!(fence.check().is_err());
    assert_eq!(server.holder().as_deref(), Some("one"));
    let ended = Instant::now();
    Operator::start(&server, "two").stands(Standing::Leading).await;
    assert!(ended.elapsed() >= 10 * SECOND, "{:?}", ended.elapsed());
}
