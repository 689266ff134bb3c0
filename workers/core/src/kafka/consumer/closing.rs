//! A consumer that closes within a bound: rust-rdkafka's own drop closes it, and waits for as long as that takes.

use std::ops::Deref;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use tracing::warn;

use super::rebalance::Rebalances;
use crate::drain::{CLOSE, Drain};
use crate::native::BatchConsumer;

const LOOK: Duration = Duration::from_millis(100);

pub(super) struct Closing {
    /// There until it is dropped.
    consumer: Option<BatchConsumer<Rebalances>>,
    group: String,
    pub(super) drain: Drain,
}

impl Closing {
    pub(super) fn new(consumer: BatchConsumer<Rebalances>, group: &str) -> Self {
        Self {
            consumer: Some(consumer),
            group: group.to_owned(),
            drain: Drain::default(),
        }
    }
}

impl Deref for Closing {
    type Target = BatchConsumer<Rebalances>;

    fn deref(&self) -> &Self::Target {
        self.consumer.as_ref().expect("it is there until it is dropped")
    }
}

impl Drop for Closing {
    /// To close it here first and have it dropped then would close it twice, which rust-rdkafka reports as an error.
    fn drop(&mut self) {
        let consumer = self.consumer.take();
        let deadline = self.drain.deadline(CLOSE);
        let (closed, wait) = mpsc::channel::<()>();
        let closing = std::thread::Builder::new()
            .name("closing".to_owned())
            .spawn(move || {
                drop(consumer);
                drop(closed);
            });
        if closing.is_err() {
            // Without a thread it has been closed right here.
            return;
        }
        while !deadline.is_over() {
            if wait.recv_timeout(LOOK.min(deadline.left())) == Err(RecvTimeoutError::Disconnected) {
                return;
            }
        }
        warn!(group = %self.group, "the consumer did not close in time and is left to itself");
    }
}
