//! Records that take the place of the one before of their key.

use std::sync::Arc;

use snafu::ResultExt;

use super::{ApplyError, ApplySnafu, Group, Outcome, PartitionTotals};
use crate::accumulator::Accumulator;
use crate::keys::Keys;

impl PartitionTotals {
    /// The same, of which this is what each key adds.
    pub fn with_keys(self, keys: Option<Keys>) -> Self {
        Self {
            keys: keys.map(Box::new),
            ..self
        }
    }

    /// What each key adds, if a record takes the place of the one before of its key.
    pub fn keys(&self) -> Option<&Keys> {
        self.keys.as_deref()
    }

    pub fn keys_mut(&mut self) -> Option<&mut Keys> {
        self.keys.as_deref_mut()
    }

    /// Adds the record at `offset` and takes back what `key` has added before; false if the record is covered already. One that
    /// goes to the dead letter topic leaves that as it is. After an error nothing has changed.
    pub fn apply_keyed(&mut self, offset: i64, key: &[u8], outcome: Outcome<'_>) -> Result<bool, ApplyError> {
        if self.covers(offset) {
            return Ok(false);
        }
        let (added, one) = match outcome {
            // Nothing is taken back from windows: whoever has them has no keys.
            Outcome::Dead | Outcome::Windowed { .. } => return self.apply(offset, outcome),
            Outcome::Dropped => (None, Accumulator::dropped()),
            Outcome::Summed { group, value } => {
                (Some((group, value.unwrap_or(0))), Accumulator::summed(value))
            }
        };
        let partition = self.partition;
        let too_much = ApplySnafu { partition, offset };
        let before = self.keys.as_ref().and_then(|keys| keys.get(key));
        let taken = before.as_ref().map(|before| before.value);
        let all = self.all.replace(taken, one).context(too_much)?;

        let from = before.as_ref().and_then(|before| before.group.as_deref());
        let to = added.and_then(|(group, _)| group);
        let of = |name: &str| {
            let group = self.groups.get(name);
            group.map_or_else(Accumulator::default, |group| group.accumulator)
        };
        let taken_from = match from {
            Some(name) if to != Some(name) => {
                let rest = of(name).replace(taken, Accumulator::default());
                Some((name, rest.context(too_much)?))
            }
            _ => None,
        };
        let added_to = match to {
            Some(name) => {
                let taken = taken.filter(|_| from == Some(name));
                Some((name, of(name).replace(taken, one).context(too_much)?))
            }
            None => None,
        };

        for (name, accumulator) in taken_from.into_iter().chain(added_to) {
            self.set_group(name, accumulator);
        }
        if let Some(keys) = &mut self.keys {
            keys.put(key, added);
        }
        self.all = all;
        self.next_offset = offset + 1;
        self.changed = true;
        Ok(true)
    }

    fn set_group(&mut self, name: &str, accumulator: Accumulator) {
        let group = match self.groups.get_mut(name) {
            Some(group) => group,
            None => {
                let group = Group::new(name, 0, accumulator);
                self.groups.entry(Arc::clone(&group.name)).or_insert(group)
            }
        };
        group.accumulator = accumulator;
        if !group.changed {
            group.changed = true;
            self.changed_groups.push(Arc::clone(&group.name));
        }
    }
}

#[cfg(test)]
mod tests;
