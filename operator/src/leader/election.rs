//! What a candidate knows of the Lease, and what it does next. Pure: no client, and no clock but the times it is told,
//! which are all of this process's own monotonic clock.

#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{api::coordination::v1::Lease, apimachinery::pkg::apis::meta::v1::MicroTime};
use tokio::time::Instant;

/// Everything follows from how long a Lease lasts without a renewal. With 10 s: renewed every 2 s, looked at every 1 s,
/// an answer is waited for 2 s, and the leader stops 7 s after the last renewal that went through began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    lease: Duration,
}

impl Timing {
    /// For a Lease that lasts this long.
    pub fn new(lease: Duration) -> Self {
        Self { lease }
    }

    pub(super) fn lease(&self) -> Duration {
        self.lease
    }

    /// How long after a renewal began the leader may still write. The rest of the Lease is the margin for clocks that
    /// run at different speeds and for writes that were on their way.
    fn term(&self) -> Duration {
        self.lease * 7 / 10
    }

    fn renew_every(&self) -> Duration {
        self.lease / 5
    }

    fn look_every(&self) -> Duration {
        self.lease / 10
    }

    /// Deadline of one request for the Lease.
    pub(super) fn request(&self) -> Duration {
        self.lease / 5
    }

    /// As the Lease tells it to others. Rounded up: they may wait longer, never shorter.
    fn seconds(&self) -> i32 {
        let seconds = self.lease.as_secs() + u64::from(self.lease.subsec_nanos() > 0);
        i32::try_from(seconds).unwrap_or(i32::MAX)
    }
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Wait(Duration),
    /// Read the Lease.
    Look,
    /// Write [`Candidate::claim`], to take the Lease or to renew it.
    Claim,
    /// The Lease is lost, or may be. Nothing follows this.
    Resign,
}

/// One of several operators that want to lead.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    /// Different for each process, also for two that run in the same pod one after the other.
    identity: String,
    timing: Timing,
    seen: Option<Seen>,
    role: Role,
    /// No step before this.
    pause: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Seen {
    /// None: it was there and is there no more.
    lease: Option<Lease>,
    /// When this version of it was first seen.
    since: Instant,
    /// Somebody else has written to it since.
    stale: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Standby,
    /// Until the end of the term that the last renewal began.
    Leader(Instant),
    Lost,
}

impl Candidate {
    pub(super) fn new(identity: String, timing: Timing) -> Self {
        Self {
            identity,
            timing,
            seen: None,
            role: Role::Standby,
            pause: None,
        }
    }

    /// Until when this candidate may write, by the last renewal that it knows to have gone through.
    pub(super) fn leads_until(&self) -> Option<Instant> {
        match self.role {
            Role::Leader(end) => Some(end),
            Role::Standby | Role::Lost => None,
        }
    }

    /// Who holds the Lease, as far as this candidate knows.
    pub(super) fn holder(&self) -> Option<&str> {
        holder(self.seen.as_ref()?.lease.as_ref()?)
    }

    /// Who else holds it.
    pub(super) fn rival(&self) -> Option<&str> {
        self.holder().filter(|holder| *holder != self.identity)
    }

    /// What to do at `now`.
    pub(super) fn next(&mut self, now: Instant) -> Step {
        match self.role {
            Role::Leader(end) if now >= end => self.role = Role::Lost,
            _ => {}
        }
        let end = match self.role {
            Role::Lost => return Step::Resign,
            Role::Leader(end) => Some(end),
            Role::Standby => None,
        };
        if let Some(pause) = self.pause.filter(|pause| now < *pause) {
            return Step::Wait(end.map_or(pause, |end| end.min(pause)) - now);
        }
        match &self.seen {
            Some(seen) if !seen.stale && now >= self.free_at(seen) => Step::Claim,
            _ => Step::Look,
        }
    }

    /// The API server answered what the Lease is, none if there is none, and the answer was here at `now`.
    pub(super) fn looked(&mut self, lease: Option<Lease>, now: Instant) {
        let theirs = lease.as_ref().and_then(holder) != Some(&self.identity);
        if matches!(self.role, Role::Leader(_)) && theirs {
            self.role = Role::Lost;
        }
        let version = |lease: &Option<Lease>| lease.as_ref()?.metadata.resource_version.clone();
        // Any renewal gives a new version, whatever clock it was stamped by.
        let since = match &self.seen {
            Some(seen) if version(&seen.lease) == version(&lease) => seen.since,
            // One that was never there is free; one that was deleted may have a leader that has not noticed yet.
            None if lease.is_none() => now.checked_sub(self.timing.lease).unwrap_or(now),
            _ => now,
        };
        let seen = Seen {
            lease,
            since,
            stale: false,
        };
        self.pause = Some(self.free_at(&seen).min(now + self.timing.look_every()));
        self.seen = Some(seen);
    }

    /// The API server accepted a claim that was begun at `begun`, and its answer was here at `now`.
    pub(super) fn claimed(&mut self, lease: Lease, begun: Instant, now: Instant) {
        self.seen = Some(Seen {
            lease: Some(lease),
            since: now,
            stale: false,
        });
        self.role = match self.role {
            // What was stopped in between is not started again: the end of a term is final.
            Role::Leader(end) if now >= end => Role::Lost,
            Role::Lost => Role::Lost,
            Role::Leader(_) | Role::Standby => Role::Leader(begun + self.timing.term()),
        };
        self.pause = Some(begun + self.timing.renew_every());
    }

    /// The API server refused a claim at `now`, since the Lease is not what it was when it was last seen.
    pub(super) fn conflicted(&mut self, now: Instant) {
        // One that cannot be created cannot be looked at either: that would go round and round.
        self.pause = Some(now + self.timing.look_every());
        if let Some(seen) = &mut self.seen {
            seen.stale = true;
            if seen.lease.is_some() {
                self.pause = None;
            }
        }
    }

    /// Nobody knows what became of the last request.
    pub(super) fn failed(&mut self, now: Instant) {
        self.pause = Some(now + self.timing.look_every());
    }

    /// Gives up for good.
    pub(super) fn step_down(&mut self) {
        self.role = Role::Lost;
    }

    /// The Lease as it would be with this candidate as its holder, renewed at `wall`, which is for people only.
    pub(super) fn claim(&self, wall: Timestamp) -> Lease {
        let seen = self.seen.as_ref().and_then(|seen| seen.lease.clone());
        let transitions = seen.as_ref().map(|lease| {
            let before = lease.spec.as_ref().and_then(|spec| spec.lease_transitions);
            before.unwrap_or(0)
        });
        let renewal = self.holder() == Some(&self.identity);
        let mut lease = seen.unwrap_or_default();
        let spec = lease.spec.get_or_insert_default();
        if !renewal {
            spec.holder_identity = Some(self.identity.clone());
            spec.acquire_time = Some(MicroTime(wall));
            spec.lease_transitions = Some(transitions.map_or(0, |before| before.saturating_add(1)));
        }
        spec.renew_time = Some(MicroTime(wall));
        spec.lease_duration_seconds = Some(self.timing.seconds());
        lease
    }

    /// The Lease without a holder, for others to take at once; none if it is not this candidate's to give up.
    pub(super) fn release(&self, wall: Timestamp) -> Option<Lease> {
        self.leads_until()?;
        let mut lease = self.seen.as_ref()?.lease.clone()?;
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = None;
        spec.renew_time = Some(MicroTime(wall));
        Some(lease)
    }

    /// When what was seen may be claimed, unless it is renewed before.
    fn free_at(&self, seen: &Seen) -> Instant {
        let held = match &seen.lease {
            Some(lease) => match holder(lease) {
                None => return seen.since,
                // By a claim of which the answer never came.
                Some(holder) if holder == self.identity => return seen.since,
                Some(_) => duration(lease).unwrap_or(self.timing.lease),
            },
            None => self.timing.lease,
        };
        seen.since + held
    }
}

/// Who holds a Lease. Some write the empty string for nobody.
fn holder(lease: &Lease) -> Option<&str> {
    let holder = lease.spec.as_ref()?.holder_identity.as_deref()?;
    (!holder.is_empty()).then_some(holder)
}

/// How long its holder may rely on it after a renewal.
fn duration(lease: &Lease) -> Option<Duration> {
    let seconds = lease.spec.as_ref()?.lease_duration_seconds?;
    Some(Duration::from_secs(u64::try_from(seconds).ok()?))
}
