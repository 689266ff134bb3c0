//! What the operator remembers of connectors between passes. After a restart of the operator it starts over, which
//! costs a restart too early or an Event too few, and nothing else.

use std::{
    collections::{BTreeMap, HashMap, hash_map::RandomState},
    hash::BuildHasher,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{connect::Config, controller::pace::Pace};

/// Of all connectors.
#[derive(Debug, Default)]
pub struct Memory {
    pub(super) restarts: Pace,
    /// Repairs of what somebody keeps changing in Connect, at the pace of restarts.
    pub(super) repairs: Pace,
    /// Hashes of the values that each connector was last known to have as we want it. Values may be secret, so that
    /// the hashes have a random key.
    settled: Mutex<HashMap<String, Hashes>>,
    hasher: RandomState,
}

type Hashes = BTreeMap<String, u64>;

/// Why a configuration is not what it should be: keys whose values are others than when all was well.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Changed {
    /// Somebody else has changed them in Connect.
    pub(super) there: Vec<String>,
    /// We want another value.
    pub(super) here: Vec<String>,
}

impl Memory {
    /// Remembers that the connector is registered as it should be.
    pub(super) fn settled(&self, connector: &str, config: &Config) {
        let hashes = self.hashes(config);
        self.entries().insert(connector.to_owned(), hashes);
    }

    /// Whether the connector was registered as it should be.
    pub(super) fn knows(&self, connector: &str) -> bool {
        self.entries().contains_key(connector)
    }

    /// Which side has moved since all was well. Empty if nobody remembers that.
    pub(super) fn changed(&self, connector: &str, wanted: &Config, registered: &Config) -> Changed {
        let entries = self.entries();
        let Some(before) = entries.get(connector) else {
            return Changed::default();
        };
        Changed {
            there: differing(before, &self.hashes(registered)),
            here: differing(before, &self.hashes(wanted)),
        }
    }

    /// The connector is gone.
    pub(super) fn forget(&self, connector: &str) {
        self.restarts.forget(connector);
        self.repairs.forget(connector);
        self.entries().remove(connector);
    }

    /// Forgets the connectors of resources that are gone.
    pub(super) fn retain(&self, is_there: impl Fn(&str) -> bool) {
        self.restarts.retain(&is_there);
        self.repairs.retain(&is_there);
        self.entries().retain(|connector, _| is_there(connector));
    }

    fn hashes(&self, config: &Config) -> Hashes {
        let entries = config.0.iter().filter(|(key, _)| *key != "name");
        entries
            .map(|(key, value)| (key.clone(), self.hasher.hash_one(value)))
            .collect()
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<String, Hashes>> {
        // A panic elsewhere cannot leave a half-made entry behind.
        self.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn differing(one: &Hashes, other: &Hashes) -> Vec<String> {
    let mut keys: Vec<&String> = one.keys().chain(other.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    keys.retain(|key| one.get(*key) != other.get(*key));
    keys.into_iter().cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_known_who_has_changed_what() {
        let memory = Memory::default();
        let was = Config::from([("a", "1"), ("b", "1"), ("c", "1")]);
        let wanted = Config::from([("a", "2"), ("b", "1"), ("c", "1")]);
        let there = Config::from([("a", "1"), ("b", "3"), ("d", "1"), ("name", "x")]);
        assert_eq!(memory.changed("x", &wanted, &there), Changed::default());
        memory.settled("x", &was);
        let changed = memory.changed("x", &wanted, &there);
        assert_eq!(
            (changed.here, changed.there),
            (vec!["a".to_owned()], ["b", "c", "d"].map(str::to_owned).to_vec())
        );
        memory.forget("x");
        assert_eq!(memory.changed("x", &wanted, &there), Changed::default());
    }
}
