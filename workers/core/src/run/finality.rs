//! Which failures end a process and which only a session, decided once for all workers.
//!
//! A process that ends is started again with the configuration that it had. So it ends only over what it was
//! configured with: everything else somebody mends elsewhere, and a worker that keeps trying says meanwhile what it
//! waits for. That a place in a group or a transactional id was taken is no reason either. Both carry the instance's
//! own name, and after an outage of a broker a process may well be its own twin; a twin of another process is refused
//! by the broker whenever it commits, however long it lives.

use super::Session;
use crate::avro::registry;
use crate::kafka::{consumer, topic, transaction, upsert};

impl Session for registry::Error {
    fn is_final(&self) -> bool {
        matches!(self, Self::Address { .. } | Self::CreateClient { .. })
    }
}

impl Session for topic::Error {
    fn is_final(&self) -> bool {
        false
    }
}

impl Session for consumer::Error {
    fn is_final(&self) -> bool {
        false
    }
}

impl Session for transaction::Error {
    fn is_final(&self) -> bool {
        false
    }
}

impl Session for upsert::Error {
    fn is_final(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_process_was_configured_with_ends_it() {
        let text = || "x".to_owned();
        let incompatible = registry::Error::Incompatible {
            subject: text(),
            reason: text(),
        };
        let replaced = consumer::Error::Replaced {
            group: text(),
            instance: text(),
        };
        let fenced = transaction::Error::Fenced {
            transactional_id: text(),
        };
        assert!(!incompatible.is_final() && !replaced.is_final() && !fenced.is_final());
        assert!(registry::Error::Address { url: text() }.is_final());
    }
}
