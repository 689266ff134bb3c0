//! Tables of what follows from what; and two candidates in a bad world, who never lead at the same time.

mod world;

use proptest::prelude::*;

use super::*;
use crate::leader::fake::Stored;

const SECOND: Duration = Duration::from_secs(1);

fn timing() -> Timing {
    Timing::new(10 * SECOND)
}

fn candidate() -> Candidate {
    Candidate::new("me".to_owned(), timing())
}

/// A Lease of this holder, in this version.
fn lease(holder: &str, version: &str) -> Lease {
    let mut candidate = Candidate::new(holder.to_owned(), timing());
    candidate.looked(None, Instant::now());
    let mut lease = candidate.claim(Timestamp::UNIX_EPOCH);
    lease.metadata.resource_version = Some(version.to_owned());
    lease
}

fn nobodys(version: &str) -> Lease {
    let mut lease = lease("", version);
    lease.spec.as_mut().unwrap().holder_identity = None;
    lease
}

/// One that leads since a claim that was begun and answered at `now`.
fn leader(now: Instant) -> Candidate {
    let mut candidate = candidate();
    candidate.looked(None, now);
    assert_eq!(candidate.next(now), Step::Claim);
    candidate.claimed(lease("me", "1"), now, now);
    candidate
}

#[test]
fn a_lease_is_claimed_as_soon_as_it_is_free() {
    let now = Instant::now();
    let later = |seconds: u32| now + seconds * SECOND;
    type Looks<'a> = &'a [(u32, Option<Lease>)];
    let theirs = |version| Some(lease("them", version));
    let cases: [(&str, Looks<'_>, u32); 8] = [
        ("never there", &[(0, None)], 0),
        ("given up", &[(0, theirs("1")), (1, Some(nobodys("2")))], 1),
        ("the empty string is nobody", &[(0, Some(lease("", "1")))], 0),
        (
            "claimed by an answer that was lost",
            &[(0, Some(lease("me", "1")))],
            0,
        ),
        ("not renewed", &[(0, theirs("1")), (9, theirs("1"))], 10),
        ("renewed between looks", &[(0, theirs("1")), (1, theirs("2"))], 11),
        ("a dead one's, seen for the first time", &[(3, theirs("1"))], 13),
        (
            "deleted below a leader that does not know yet",
            &[(0, theirs("1")), (4, None), (5, None)],
            14,
        ),
    ];
    for (case, looks, free) in cases {
        let mut candidate = candidate();
        for (second, lease) in looks {
            candidate.looked(lease.clone(), later(*second));
        }
        assert_ne!(
            candidate.next(later(free) - Duration::from_millis(1)),
            Step::Claim,
            "{case}: claimed early"
        );
        let claims = (0..=20).find(|second| candidate.next(later(*second)) == Step::Claim);
        assert_eq!(claims, Some(free), "{case}");
    }
}

#[test]
fn a_standby_looks_once_a_second() {
    let now = Instant::now();
    let mut candidate = candidate();
    assert_eq!(candidate.next(now), Step::Look);
    candidate.looked(Some(lease("them", "1")), now);
    assert_eq!(candidate.next(now), Step::Wait(SECOND));
    assert_eq!(candidate.next(now + SECOND), Step::Look);
    candidate.failed(now + 3 * SECOND);
    assert_eq!(candidate.next(now + 3 * SECOND), Step::Wait(SECOND));
}

#[test]
fn the_holder_s_own_duration_counts_and_not_the_standby_s() {
    let now = Instant::now();
    let mut candidate = candidate();
    let mut longer = lease("them", "1");
    longer.spec.as_mut().unwrap().lease_duration_seconds = Some(60);
    candidate.looked(Some(longer), now);
    assert_eq!(candidate.next(now + 59 * SECOND), Step::Look);
    assert_eq!(candidate.next(now + 60 * SECOND), Step::Claim);
}

#[test]
fn a_leader_renews_every_two_seconds_from_the_begin_of_the_last_renewal() {
    let now = Instant::now();
    let mut candidate = leader(now);
    assert_eq!(candidate.leads_until(), Some(now + 7 * SECOND));
    assert_eq!(candidate.next(now + SECOND), Step::Wait(SECOND));
    assert_eq!(candidate.next(now + 2 * SECOND), Step::Claim);
    candidate.claimed(lease("me", "2"), now + 2 * SECOND, now + 3 * SECOND);
    assert_eq!(candidate.leads_until(), Some(now + 9 * SECOND));
    assert_eq!(candidate.next(now + 3 * SECOND), Step::Wait(SECOND));
}

#[test]
fn a_leader_that_cannot_renew_stops_while_the_lease_still_lasts() {
    let now = Instant::now();
    let mut candidate = leader(now);
    for second in [2, 4, 6] {
        assert_eq!(candidate.next(now + second * SECOND), Step::Claim);
        candidate.failed(now + second * SECOND + SECOND / 2);
    }
    assert_eq!(candidate.next(now + 13 * SECOND / 2), Step::Wait(SECOND / 2));
    assert_eq!(candidate.next(now + 7 * SECOND), Step::Resign);
    candidate.claimed(lease("me", "2"), now + 6 * SECOND, now + 7 * SECOND);
    assert_eq!(candidate.next(now + 7 * SECOND), Step::Resign, "for good");
    assert_eq!(candidate.leads_until(), None);
}

#[test]
fn a_renewal_that_is_answered_after_the_term_is_too_late() {
    let now = Instant::now();
    let mut candidate = leader(now);
    candidate.claimed(lease("me", "2"), now + 6 * SECOND, now + 7 * SECOND);
    assert_eq!(candidate.leads_until(), None);
    assert_eq!(candidate.next(now + 7 * SECOND), Step::Resign);
}

#[test]
fn a_leader_that_meets_a_conflict_looks_and_goes_on_only_if_the_lease_is_still_its_own() {
    let now = Instant::now();
    let at = now + 2 * SECOND;
    let cases = [
        ("somebody edited a label", Some(lease("me", "9")), Step::Claim),
        ("taken", Some(lease("them", "9")), Step::Resign),
        ("taken and given up", Some(nobodys("9")), Step::Resign),
        ("deleted", None, Step::Resign),
    ];
    for (case, found, expected) in cases {
        let mut candidate = leader(now);
        candidate.conflicted(at);
        assert_eq!(candidate.next(at), Step::Look, "{case}");
        candidate.looked(found, at);
        assert_eq!(candidate.next(at), expected, "{case}");
    }
}

#[test]
fn a_claim_says_who_since_when_and_how_often_the_leader_changed() {
    let now = Instant::now();
    let wall: Timestamp = "2026-01-01T00:00:07Z".parse().unwrap();
    let mut candidate = candidate();
    candidate.looked(Some(lease("them", "5")), now);
    let taken = candidate.claim(wall);
    assert_eq!(taken.metadata.resource_version.as_deref(), Some("5"));
    let spec = taken.spec.clone().unwrap();
    assert_eq!(spec.holder_identity.as_deref(), Some("me"));
    assert_eq!(spec.lease_duration_seconds, Some(10));
    assert_eq!(spec.lease_transitions, Some(1));
    assert_eq!(spec.acquire_time, Some(MicroTime(wall)));
    candidate.claimed(taken, now, now);
    let renewed = candidate
        .claim(wall + jiff::SignedDuration::from_secs(2))
        .spec
        .unwrap();
    assert_eq!(
        renewed.acquire_time,
        Some(MicroTime(wall)),
        "since when it leads stays"
    );
    assert_ne!(renewed.renew_time, spec.renew_time);
    assert_eq!(renewed.lease_transitions, Some(1));
    let released = candidate.release(wall).unwrap().spec.unwrap();
    assert_eq!(
        (released.holder_identity, released.lease_transitions),
        (None, Some(1))
    );
}

#[test]
fn only_a_leader_gives_the_lease_up() {
    let now = Instant::now();
    let mut candidate = candidate();
    candidate.looked(Some(lease("them", "1")), now);
    assert!(candidate.release(Timestamp::UNIX_EPOCH).is_none());
    let mut candidate = leader(now);
    candidate.step_down();
    assert!(candidate.release(Timestamp::UNIX_EPOCH).is_none());
}

#[test]
fn others_are_told_a_duration_in_whole_seconds_that_is_never_too_short() {
    for (millis, seconds) in [(1, 1), (1000, 1), (1001, 2), (10_000, 10)] {
        assert_eq!(Timing::new(Duration::from_millis(millis)).seconds(), seconds);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Requests are late, lost on either way, or carried out long after anybody waits for them; clocks run at speeds
    /// from 0.85 to 1.2; processes stand still for seconds, and are killed.
    #[test]
    fn two_never_lead_at_the_same_time(script in world::script()) {
        world::run(&script);
    }
}
