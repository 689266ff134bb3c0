//! Messages by the hundred instead of one by one, which costs librdkafka and the Rust client half as much.
//!
//! The Rust client knows one way to messages: an event for each, out of one queue for everything. Here the queues of
//! the assigned partitions are forwarded into a queue of our own, which librdkafka empties into an array
//! (`rd_kafka_consume_batch_queue`). So this queue brings only messages, and what fails about a partition; rebalances
//! and all that concerns the whole client stay in the client's own queue. They must: whoever takes a rebalance out of a
//! queue in batches has it answered by librdkafka itself, with an empty assignment.
//!
//! What librdkafka 2.12 does about such a queue, on which the callers rely (rdkafka_queue.c, rdkafka_partition.c):
//! - Every seek, pause, resume, assignment and revocation of a partition gives it a new version, at the latest before the
//!   call returns. A message that was fetched under an older one is dropped instead of being put into a batch, also out of
//!   the batch that is just being filled (`rd_kafka_op_version_outdated`, and the barrier before all other operations).
//! - A partition that is paused, also by librdkafka itself for the time of a rebalance, goes on after the last message
//!   that was put into a batch (`rktp_app_pos`). If that happens at the same moment, messages come twice: users must go by
//!   offsets. None is left out.
//! - An error of a partition is put into the batch as a message, and its offset is then taken for one that was consumed:
//!   the next pause would leave a record out (mended in 2.13.2, issue 4844). So a batch with an error is the last one that
//!   may be used.
//! - A queue that an application has forwarded stays as it is when its partition starts (`RD_KAFKA_Q_F_FWD_APP`). Stopping
//!   the partition ends the forwarding, so it must be renewed for each assignment.
//! - Taking a batch counts as polling (`rd_kafka_app_polled`), for `max.poll.interval.ms`.
//! - `queued.min.messages` and `queued.max.messages.kbytes` bound the queue that is forwarded to, so all partitions
//!   together.

use std::ffi::{CString, c_int, c_void};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Deref;
use std::ptr::NonNull;
use std::slice;
use std::time::Duration;

use rdkafka::bindings::{
    rd_kafka_consume_batch_queue, rd_kafka_message_destroy, rd_kafka_message_t, rd_kafka_message_timestamp,
    rd_kafka_queue_destroy, rd_kafka_queue_forward, rd_kafka_queue_get_consumer,
    rd_kafka_queue_get_partition, rd_kafka_queue_length, rd_kafka_queue_new, rd_kafka_queue_t,
    rd_kafka_resp_err_t,
};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};

/// A consumer that hands out messages in batches. To be used by one thread at a time, which may be another one later.
pub(crate) struct BatchConsumer<C: ConsumerContext> {
    /// First, since fields are dropped in this order: the messages in it belong to the client.
    queue: Queue,
    /// The client's own, of everything else.
    events: Queue,
    consumer: BaseConsumer<C>,
}

impl<C: ConsumerContext> BatchConsumer<C> {
    /// Of a consumer that is in a group.
    pub(crate) fn new(consumer: BaseConsumer<C>) -> Self {
        let client = consumer.client().native_ptr();
        // SAFETY: the client lives. Both handles are ours.
        let (queue, events) = unsafe { (rd_kafka_queue_new(client), rd_kafka_queue_get_consumer(client)) };
        let queue = NonNull::new(queue).expect("librdkafka ends the process when there is no memory");
        let events = NonNull::new(events).expect("a consumer with a group has a queue");
        Self {
            queue: Queue(queue),
            events: Queue(events),
            consumer,
        }
    }

    /// Whether there is anything to poll for. A poll of the Rust client takes one event, if that is only a line of a log.
    pub(crate) fn has_events(&self) -> bool {
        // SAFETY: the queue lives.
        unsafe { rd_kafka_queue_length(self.events.0.as_ptr()) > 0 }
    }

    /// Has batches bring the messages of a partition from its next assignment on. To be called before each: until then
    /// nothing is fetched, so that none of its messages goes another way.
    pub(crate) fn bring(&self, topic: &str, partition: i32) -> KafkaResult<()> {
        let topic = CString::new(topic)?;
        // SAFETY: the client lives, and copies the name.
        let source = unsafe {
            rd_kafka_queue_get_partition(self.consumer.client().native_ptr(), topic.as_ptr(), partition)
        };
        let Some(source) = NonNull::new(source).map(Queue) else {
            // Of a consumer only for a name that no topic can have.
            return Err(KafkaError::Subscription(topic.to_string_lossy().into_owned()));
        };
        // SAFETY: both are queues of the same client. The one that is forwarded counts as an owner of ours, whose memory it
        // therefore does not outlive; once we have destroyed it, what is forwarded to it is dropped.
        unsafe { rd_kafka_queue_forward(source.0.as_ptr(), self.queue.0.as_ptr()) }
        Ok(())
    }

    /// Waits until there are `most` messages or `within` has passed, and takes what there is.
    pub(crate) fn batch(&self, most: usize, within: Duration) -> Batch<'_> {
        let mut messages = Vec::<Native>::with_capacity(most);
        // Rounded up: a wait of no milliseconds, again and again, would keep a core busy.
        let milliseconds = c_int::try_from(within.as_micros().div_ceil(1000)).unwrap_or(c_int::MAX);
        // SAFETY: the queue lives, no other thread takes from it since this type is not `Sync`, and there is room for
        // `most` pointers, which is what `Native` is in memory. Librdkafka writes as many as it returns, each to a message
        // that is ours from then on.
        unsafe {
            let room = messages.as_mut_ptr().cast::<*mut rd_kafka_message_t>();
            let count = rd_kafka_consume_batch_queue(self.queue.0.as_ptr(), milliseconds, room, most);
            messages.set_len(usize::try_from(count).unwrap_or(0));
        }
        Batch {
            messages,
            consumer: PhantomData,
        }
    }
}

impl<C: ConsumerContext> Deref for BatchConsumer<C> {
    type Target = BaseConsumer<C>;

    fn deref(&self) -> &Self::Target {
        &self.consumer
    }
}

/// One of the handles of a queue.
struct Queue(NonNull<rd_kafka_queue_t>);

// SAFETY: librdkafka's queues may be used by any thread; they have locks of their own.
unsafe impl Send for Queue {}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the handle is ours and is not used afterwards, and the client still lives: `BatchConsumer` drops it later.
        // A queue that we made drops the messages in it, and from then on all that is forwarded to it. The client's own stays.
        unsafe { rd_kafka_queue_destroy(self.0.as_ptr()) }
    }
}

/// Messages in the order in which each of their partitions has them. What is not read before this is dropped does not
/// come again.
pub struct Batch<'a> {
    messages: Vec<Native>,
    /// Whose messages they are: the client outlives them.
    consumer: PhantomData<&'a ()>,
}

/// One message, as it is in librdkafka's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    pub partition: i32,
    pub offset: i64,
    pub key: Option<&'a [u8]>,
    /// `None` for a tombstone.
    pub value: Option<&'a [u8]>,
    native: &'a Native,
}

impl Message<'_> {
    /// When it was written, by the producer's clock or the broker's as the topic says, ms since the epoch. `None` of a record in
    /// a format that had no times yet.
    pub fn timestamp(&self) -> Option<i64> {
        self.native.timestamp()
    }
}

impl Batch<'_> {
    /// Messages that follow each other and are of one partition, together.
    pub fn runs(&self) -> impl Iterator<Item = (i32, impl Iterator<Item = Message<'_>>)> {
        let runs = self
            .messages
            .chunk_by(|one, next| one.partition() == next.partition());
        runs.map(|run| (run[0].partition(), run.iter().map(Native::view)))
    }

    pub fn iter(&self) -> impl Iterator<Item = Message<'_>> {
        self.messages.iter().map(Native::view)
    }

    pub fn len(&self) -> usize {
        self.messages.len()
    }

    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// The first thing in it that is no message. Then none of it may be used.
    pub(crate) fn error(&self) -> Option<KafkaError> {
        let code = self.messages.iter().map(Native::code).find(|code| *code != 0)?;
        let code =
            rd_kafka_resp_err_t::try_from(code).unwrap_or(rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_UNKNOWN);
        Some(KafkaError::MessageConsumption(RDKafkaErrorCode::from(code)))
    }
}

/// A message that is ours: it lives as long as this, and nobody changes it.
#[derive(Debug, PartialEq, Eq)]
#[repr(transparent)]
struct Native(NonNull<rd_kafka_message_t>);

impl Native {
    fn partition(&self) -> i32 {
        // SAFETY: it lives.
        unsafe { (*self.0.as_ptr()).partition }
    }

    /// 0 if it is a message indeed. As a number: these bindings may have no name for a code.
    fn code(&self) -> c_int {
        // SAFETY: it lives, and an enum of C is an int.
        unsafe { (&raw const (*self.0.as_ptr()).err).cast::<c_int>().read() }
    }

    fn timestamp(&self) -> Option<i64> {
        let mut kind = MaybeUninit::uninit();
        // SAFETY: it lives, and is not changed. There is room for what kind of time it is, which is not read.
        let time = unsafe { rd_kafka_message_timestamp(self.0.as_ptr(), kind.as_mut_ptr()) };
        (time >= 0).then_some(time)
    }

    fn view(&self) -> Message<'_> {
        let native = self.0.as_ptr();
        // SAFETY: it lives, and so do its key and its value, of these lengths, null if there is none. The view borrows it.
        unsafe {
            let bytes = |start: *mut c_void, length| {
                NonNull::new(start.cast::<u8>()).map(|start| slice::from_raw_parts(start.as_ptr(), length))
            };
            Message {
                partition: (*native).partition,
                offset: (*native).offset,
                key: bytes((*native).key, (*native).key_len),
                value: bytes((*native).payload, (*native).len),
                native: self,
            }
        }
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        // SAFETY: it is ours, and nobody sees it any more: views borrow it. Its client still lives, since the batch that it
        // is in borrows the consumer.
        unsafe { rd_kafka_message_destroy(self.0.as_ptr()) }
    }
}
