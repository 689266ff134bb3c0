//! Shows that the filtered-sum worker keeps its promises, whatever happens to it and to Kafka.
//!
//! A round writes records, does something to the workers, the brokers or the network between them ([`faults`]), and then
//! waits until the totals are those of the whole input. Meanwhile readers of their own see everything that becomes
//! visible and check it ([`watch`]):
//!
//! | | what holds |
//! |---|---|
//! | I1 | every total of a partition, ever visible, is that of the records before its `nextOffset` |
//! | I2 | no two totals of a partition cover the same records, and none goes back |
//! | I3 | soon after the faults stop the totals cover everything, and no worker has ended by itself or asks for help |
//! | I4 | the offset that the group has committed is that of the newest total, and every offset that was ever committed is that of a visible total |
//! | I5 | summed, dropped and dead records are all there are; each dead letter is there once, as it was |
//! | I6 | what is visible stands in the log, and the totals of a transaction are visible together |
//! | I7 | commits are accepted in the order of the offsets, so from one owner at a time |
//! | I8 | every overall total is the sum of what its vector of offsets says, and never goes back |
//! | I9 | no transaction hides what comes after it for long |
//! | I11 | sums are exact, beyond 64 bits and at the limit of the filter |
//! | I12 | workers to which nothing happens make the same totals of the same input |
//!
//! The reference is known from who writes the input: the key of a record says what it is to the sum.

pub mod audit;
pub mod faults;
pub mod feeding;
pub mod proxy;
pub mod report;
pub mod stage;
pub mod watch;
