//! The committed offsets of any consumer group, asked of one client. Blocking.
//!
//! librdkafka can ask for the offsets of other groups (its admin request ListConsumerGroupOffsets), of which the Rust
//! client knows nothing. Otherwise a client with this group's name would have to be made for each group, and a client
//! has several threads.

use std::{
    collections::BTreeMap,
    ffi::{CString, c_int},
    ptr,
    time::Duration,
};

use rdkafka::{
    ClientContext,
    bindings::{
        rd_kafka_AdminOptions_destroy, rd_kafka_AdminOptions_new, rd_kafka_AdminOptions_set_request_timeout,
        rd_kafka_ListConsumerGroupOffsets, rd_kafka_ListConsumerGroupOffsets_destroy,
        rd_kafka_ListConsumerGroupOffsets_new, rd_kafka_ListConsumerGroupOffsets_result_groups,
        rd_kafka_admin_op_t, rd_kafka_error_code, rd_kafka_event_ListConsumerGroupOffsets_result,
        rd_kafka_event_destroy, rd_kafka_event_error, rd_kafka_group_result_error,
        rd_kafka_group_result_partitions, rd_kafka_queue_destroy, rd_kafka_queue_new, rd_kafka_queue_poll,
        rd_kafka_resp_err_t, rd_kafka_topic_partition_list_add, rd_kafka_topic_partition_list_destroy,
        rd_kafka_topic_partition_list_new,
    },
    client::Client,
    error::{KafkaError, KafkaResult},
    types::RDKafkaErrorCode,
};

/// What a group has committed, by partition. One without is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) offsets: BTreeMap<i32, i64>,
    /// What was written beside them, where that is something.
    pub(crate) metadata: BTreeMap<i32, String>,
}

/// What the group has committed; what is in a transaction that is still open does not count.
pub(crate) fn committed<C: ClientContext>(
    client: &Client<C>,
    group: &str,
    topic: &str,
    partitions: &[i32],
    timeout: Duration,
) -> KafkaResult<Committed> {
    let (group, topic) = (CString::new(group)?, CString::new(topic)?);
    let milliseconds = c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX);
    let client = client.native_ptr();
    // SAFETY: `client` outlives this call, since it is borrowed. Each `_new` returns an object that is ours, or null,
    // which `Owned` refuses; each is freed once, by its own function, after the last use. The list and the strings are
    // copied by those who get them. The queue is ours alone, and so the only event on it is the answer, which holds its elements as long as it lives.
    unsafe {
        let list = Owned::of(
            rd_kafka_topic_partition_list_new(c_int::try_from(partitions.len()).unwrap_or(0)),
            rd_kafka_topic_partition_list_destroy,
        )?;
        for partition in partitions {
            rd_kafka_topic_partition_list_add(list.0, topic.as_ptr(), *partition);
        }
        let mut request = Owned::of(
            rd_kafka_ListConsumerGroupOffsets_new(group.as_ptr(), list.0),
            rd_kafka_ListConsumerGroupOffsets_destroy,
        )?;
        let options = Owned::of(
            rd_kafka_AdminOptions_new(
                client,
                rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS,
            ),
            rd_kafka_AdminOptions_destroy,
        )?;
        check(rd_kafka_AdminOptions_set_request_timeout(
            options.0,
            milliseconds,
            ptr::null_mut(),
            0,
        ))?;
        let queue = Owned::of(rd_kafka_queue_new(client), rd_kafka_queue_destroy)?;
        rd_kafka_ListConsumerGroupOffsets(client, &raw mut request.0, 1, options.0, queue.0);
        // The request has a deadline of its own. A moment later the answer says so, unless the client is stuck.
        let event = rd_kafka_queue_poll(queue.0, milliseconds.saturating_add(100));
        let event = Owned::of(event, rd_kafka_event_destroy)?;
        check(rd_kafka_event_error(event.0))?;
        let result = rd_kafka_event_ListConsumerGroupOffsets_result(event.0);
        if result.is_null() {
            return Err(no_answer());
        }
        let mut count = 0;
        let groups = rd_kafka_ListConsumerGroupOffsets_result_groups(result, &raw mut count);
        if count != 1 || groups.is_null() {
            return Err(no_answer());
        }
        let error = rd_kafka_group_result_error(*groups);
        if !error.is_null() {
            check(rd_kafka_error_code(error))?;
        }
        let found = rd_kafka_group_result_partitions(*groups);
        if found.is_null() {
            return Err(no_answer());
        }
        let (elements, count) = ((*found).elems, usize::try_from((*found).cnt).unwrap_or(0));
        if count == 0 {
            return Ok(Committed::default());
        }
        let mut committed = Committed::default();
        for index in 0..count {
            let element = elements.add(index);
            // As a number: the broker may answer with a code that this librdkafka has no name for.
            let code = (&raw const (*element).err).cast::<c_int>().read();
            if code != 0 {
                let code = rd_kafka_resp_err_t::try_from(code)
                    .unwrap_or(rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_UNKNOWN);
                check(code)?;
            }
            // Below 0: the group has committed nothing.
            if (*element).offset < 0 {
                continue;
            }
            let partition = (*element).partition;
            committed.offsets.insert(partition, (*element).offset);
            let (first, length) = ((*element).metadata.cast::<u8>(), (*element).metadata_size);
            if !first.is_null() && length > 0 {
                let metadata = String::from_utf8_lossy(std::slice::from_raw_parts(first, length));
                committed.metadata.insert(partition, metadata.into_owned());
            }
        }
        Ok(committed)
    }
}

/// An object of librdkafka's that is to be freed.
struct Owned<T>(*mut T, unsafe extern "C" fn(*mut T));

impl<T> Owned<T> {
    /// Fails for null: there was no memory, or no answer in time.
    fn of(object: *mut T, free: unsafe extern "C" fn(*mut T)) -> KafkaResult<Self> {
        if object.is_null() {
            return Err(no_answer());
        }
        Ok(Self(object, free))
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: it is not null, ours, and of the type that `free` was declared for.
        unsafe { (self.1)(self.0) }
    }
}

fn check(code: rd_kafka_resp_err_t) -> KafkaResult<()> {
    match RDKafkaErrorCode::from(code) {
        RDKafkaErrorCode::NoError => Ok(()),
        code => Err(KafkaError::OffsetFetch(code)),
    }
}

fn no_answer() -> KafkaError {
    KafkaError::OffsetFetch(RDKafkaErrorCode::OperationTimedOut)
}

#[cfg(test)]
mod tests {
    use rdkafka::{
        ClientConfig, Offset, TopicPartitionList,
        consumer::{BaseConsumer, CommitMode, Consumer},
        mocking::MockCluster,
    };

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    fn consumer(bootstrap_servers: &str, group: &str) -> BaseConsumer {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", bootstrap_servers)
            .set("group.id", group);
        config.create().unwrap()
    }

    #[test]
    fn one_client_asks_for_any_group() {
        let brokers = MockCluster::new(1).unwrap();
        brokers.create_topic("items", 3, 1).unwrap();
        let servers = brokers.bootstrap_servers();
        for (group, offset) in [("first", 7), ("second", 5)] {
            let worker = consumer(&servers, group);
            let mut offsets = TopicPartitionList::new();
            let mut element = offsets.add_partition("items", 1);
            element.set_offset(Offset::Offset(offset)).unwrap();
            element.set_metadata(if group == "first" { "busy" } else { "" });
            worker.commit(&offsets, CommitMode::Sync).unwrap();
        }
        let asking = consumer(&servers, "asking");
        let of = |group: &str| committed(asking.client(), group, "items", &[0, 1, 2], SOON).unwrap();
        let expected = |offset, metadata: &[(i32, String)]| Committed {
            offsets: BTreeMap::from([(1, offset)]),
            metadata: metadata.iter().cloned().collect(),
        };
        assert_eq!(of("first"), expected(7, &[(1, "busy".to_owned())]));
        assert_eq!(of("second"), expected(5, &[]));
        assert_eq!(of("third"), Committed::default());
    }

    #[test]
    fn brokers_that_nobody_runs_answer_nothing_in_time() {
        let asking = consumer("127.0.0.1:9", "asking");
        let began = std::time::Instant::now();
        let error = committed(
            asking.client(),
            "first",
            "items",
            &[0],
            Duration::from_millis(200),
        );
        assert!(error.is_err(), "{error:?}");
        assert!(began.elapsed() < SOON / 2, "{:?}", began.elapsed());
    }

    #[test]
    fn a_name_that_cannot_be_is_refused() {
        let asking = consumer("127.0.0.1:9", "asking");
        assert!(matches!(
            committed(asking.client(), "a\0b", "items", &[0], SOON),
            Err(KafkaError::Nul(_))
        ));
    }
}
