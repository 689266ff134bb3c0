//! A worker that filters the records of a topic and keeps running sums of one of their fields, exactly once in them.
//!
//! What it writes to the output topic is also its state. The totals of input partition p go to output partition p,
//! in the same transaction as the offsets that they cover ([`partition`], [`total`]); whoever is assigned p reads
//! them back and checks them against the offset ([`restore`]). The owner of input partition 0 adds the overall
//! total, from what all owners have written ([`overall`]). Why it is so: `docs/adr/0002-state-in-the-output-topic.md`.
//! Without transactions (`delivery: idempotentUpsert`) the totals alone are the truth, and may come again:
//! `docs/adr/0007-upserts-without-transactions.md`.
//!
//! Sums are integers of units of their last digit behind the point ([`rules`]), so that they add up exactly; floats are rounded to such
//! before they are added, if they are at all: `docs/adr/0008-floats-are-rounded-to-fixed-point.md`.
//! With `sum.retract` a record takes the place of the one before of its key: what each key adds ([`keys`]) is in memory, and in a
//! topic of its own, in the same transactions: `docs/adr/0010-what-each-key-adds.md`.
//!
//! What happens when:
//!
//! * **several workers** share the partitions; each writes only the totals of its own;
//! * **a partition is revoked**: what is known of it is committed, then forgotten; the next owner reads it back;
//! * **partitions are lost** (the group took the worker for dead): they are forgotten without a commit, and one that
//!   is under way is refused by the broker, because the generation or the instance is old;
//! * **SIGTERM**: a last commit, the group is left, exit code 0; **SIGKILL**: the open transaction is aborted by the
//!   successor with the same name or after 10 s, and its records are read again;
//! * **a transaction is aborted**: nothing is lost from memory, the next one is a snapshot of what there is then;
//! * **a schema is not known**: the registry is asked, and as long as it does not answer that partition waits, the
//!   others go on, and readiness says so; an id that it does not have makes the record a dead letter;
//! * **a record cannot be decoded, filtered or summed**: it goes to the dead letter topic, with the reason, in the
//!   same transaction ([`dead_letter`]), or, with `onError: stop`, its partition stops before it until it can be; a
//!   tombstone counts as dropped;
//! * **the totals and the committed offset disagree**, the totals are of another sum ([`identity`]), records were deleted
//!   unread, or a total is full: that partition is stopped, the others go on, the log and readiness say what to do;
//! * **the totals are of an earlier computation** of this sum ([`computation`]) and the resource says what becomes of them:
//!   they are gone on with, or the partition is summed anew beside them until it has caught up ([`catch_up`]).

pub mod accumulator;
pub mod catch_up;
pub mod computation;
pub mod dead_letter;
pub mod decode;
pub mod group;
pub mod identity;
pub mod judge;
pub mod keys;
pub mod metrics;
pub mod output;
pub mod overall;
pub mod partition;
pub mod restore;
pub mod rules;
pub mod total;
pub mod window;
pub mod worker;
