//! What the last record of each key of a partition adds, so that the next one of the key can take it back.
//!
//! It is in the memory of the partition's owner and, of every key that adds something, a record in the topic of keys
//! ([`record`]), which is written in the transaction of the totals and read back with them ([`topic`]). Why it is so:
//! `docs/adr/0010-what-each-key-adds.md`.

pub mod record;
pub mod topic;

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;

/// Most bytes of a key: it is kept in memory.
pub const MAX_LENGTH: usize = 1024;

/// What a record adds that passed the filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contribution {
    /// `None` when nothing is grouped.
    pub group: Option<Arc<str>>,
    /// In units of the sum's last digit behind the point; 0 of a field that is null.
    pub value: i128,
}

/// Why a record with this key is a dead letter, if it is one.
pub fn unfit(key: Option<&[u8]>) -> Option<String> {
    match key.map(<[u8]>::len) {
        None => Some(
            "the record has no key, and by sum.retract it takes the place of the one before of its key"
                .to_owned(),
        ),
        Some(0..=MAX_LENGTH) => None,
        Some(length) => Some(format!(
            "the record's key has {length} bytes, expected at most {MAX_LENGTH} with sum.retract"
        )),
    }
}

/// What each key of one partition adds, and what of it the topic of keys does not say yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// Keys that add something, and those that do no more since the last commit.
    entries: HashMap<Box<[u8]>, Entry>,
    groups: Names,
    /// Those that go with the next commit.
    changed: Vec<Box<[u8]>>,
    /// How many have changed since the last one.
    changes: usize,
    /// More have changed than go with one commit: so many, those that do included. `None`: all go with the next one.
    unwritten: Option<usize>,
    /// Where the sum begins, if what it began with was not all written at once.
    start: Option<i64>,
}

/// 24 bytes, with any value and without padding before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    value: [u8; 16],
    /// `None`: the key adds nothing.
    group: Option<GroupId>,
    /// It is not in the topic as it is here.
    is_changed: bool,
}

impl Keys {
    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What `key` adds.
    pub fn get(&self, key: &[u8]) -> Option<Contribution> {
        self.contribution(self.entries.get(key)?)
    }

    fn contribution(&self, entry: &Entry) -> Option<Contribution> {
        Some(Contribution {
            group: self.groups.name(entry.group?),
            value: i128::from_ne_bytes(entry.value),
        })
    }

    /// From now on `key` adds this value to this group, or nothing.
    pub fn put(&mut self, key: &[u8], added: Option<(Option<&str>, i128)>) {
        let entry = self.entry(added, true);
        match self.entries.get_mut(key) {
            Some(before) if (before.value, before.group) == (entry.value, entry.group) => {}
            Some(before) => {
                let was_changed = before.is_changed;
                *before = entry;
                if !was_changed {
                    self.note(key);
                }
            }
            None if entry.group.is_none() => {}
            None => {
                self.entries.insert(Box::from(key), entry);
                self.note(key);
            }
        }
    }

    fn entry(&mut self, added: Option<(Option<&str>, i128)>, is_changed: bool) -> Entry {
        let (group, value) = match added {
            Some((group, value)) => (Some(self.groups.id(group)), value),
            None => (None, 0),
        };
        Entry {
            value: value.to_ne_bytes(),
            group,
            is_changed,
        }
    }

    fn note(&mut self, key: &[u8]) {
        self.changes += 1;
        match &mut self.unwritten {
            Some(unwritten) => *unwritten += 1,
            None => self.changed.push(Box::from(key)),
        }
    }

    /// Takes in a record of the topic of keys, in their order.
    pub fn observe(&mut self, key: &[u8], added: Option<(Option<&str>, i128)>) {
        let entry = self.entry(added, false);
        match entry.group {
            Some(_) => self.entries.insert(Box::from(key), entry),
            None => self.entries.remove(key),
        };
    }

    /// The same keys, of which none adds anything, in the place of what the topic says: so many that they go with several
    /// commits. The sum that they are of now begins at `start`.
    pub fn retired(mut self, start: i64) -> Self {
        self.start = Some(start);
        for entry in self.entries.values_mut() {
            entry.group = None;
            entry.is_changed = true;
        }
        self.unwritten = Some(self.entries.len());
        self.changed.clear();
        self
    }

    /// How many have changed since the last commit.
    pub fn changes(&self) -> usize {
        self.changes
    }

    /// Chooses what goes with the next commit, if it is not all: no more than `room`.
    pub fn choose(&mut self, room: usize) {
        // What went with a commit that failed goes with the next one.
        if self.unwritten.is_some() && self.changed.is_empty() {
            let changed = self.entries.iter().filter(|(_, entry)| entry.is_changed);
            self.changed = changed.take(room).map(|(key, _)| key.clone()).collect();
        }
    }

    /// What goes with the next commit, with what each key adds.
    pub fn chosen(&self) -> impl ExactSizeIterator<Item = (&[u8], Option<Contribution>)> {
        let added = |key| self.entries.get(key).and_then(|entry| self.contribution(entry));
        self.changed.iter().map(move |key| (&**key, added(key)))
    }

    /// Whether the topic does not say all that is known, also after the next commit: then whoever takes the partition over has
    /// to sum it anew.
    pub fn is_missing(&self) -> bool {
        self.unwritten
            .is_some_and(|unwritten| unwritten > self.changed.len())
    }

    /// First offset of the input of which something may be missing: from there on it would have to be summed anew.
    pub fn start(&self) -> Option<i64> {
        self.start
    }

    /// Whether some that do not all go with one commit are left to be written.
    pub fn has_left(&self) -> bool {
        self.unwritten.is_some()
    }

    /// The topic has what was chosen.
    pub fn written(&mut self) {
        let written = self.changed.len();
        for key in self.changed.drain(..) {
            match self.entries.get_mut(&key) {
                Some(entry) if entry.group.is_some() => entry.is_changed = false,
                _ => drop(self.entries.remove(&key)),
            }
        }
        self.changes = 0;
        let unwritten = self.unwritten.map(|unwritten| unwritten - written);
        self.unwritten = unwritten.filter(|unwritten| *unwritten > 0);
    }

    /// How many keys add something to each group, and what they add together, modulo 2^128: enough to find out whether it is
    /// what a total says.
    pub fn sums(&self) -> HashMap<Option<Arc<str>>, (i64, i128)> {
        let mut sums = HashMap::<GroupId, (i64, i128)>::new();
        for entry in self.entries.values() {
            let Some(group) = entry.group else { continue };
            let (count, sum) = sums.entry(group).or_default();
            *count += 1;
            *sum = sum.wrapping_add(i128::from_ne_bytes(entry.value));
        }
        let named = sums.into_iter().map(|(id, sum)| (self.groups.name(id), sum));
        named.collect()
    }
}

/// A group of [`Names`]. None of them is 0, so that it is as small as one that may be missing.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
struct GroupId(NonZeroU32);

impl GroupId {
    /// Where nothing is grouped.
    const ALL: Self = Self(NonZeroU32::MIN);
}

/// Names of groups, each of which is in memory once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Names {
    names: Vec<Arc<str>>,
    ids: HashMap<Arc<str>, GroupId>,
}

impl Names {
    fn id(&mut self, group: Option<&str>) -> GroupId {
        let Some(name) = group else {
            return GroupId::ALL;
        };
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let name = Arc::<str>::from(name);
        self.names.push(Arc::clone(&name));
        let number = u32::try_from(self.names.len()).ok();
        let id = number.and_then(|number| GroupId::ALL.0.checked_add(number));
        let id = GroupId(id.expect("four thousand million groups do not fit into memory"));
        self.ids.insert(name, id);
        id
    }

    fn name(&self, id: GroupId) -> Option<Arc<str>> {
        let place = id.0.get().checked_sub(2)?;
        self.names.get(usize::try_from(place).ok()?).cloned()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn chosen(keys: &Keys) -> BTreeMap<Vec<u8>, Option<i128>> {
        let chosen = keys.chosen();
        chosen
            .map(|(key, added)| (key.to_vec(), added.map(|added| added.value)))
            .collect()
    }

    #[test]
    fn an_entry_is_small() {
        assert_eq!(size_of::<(Box<[u8]>, Entry)>(), 40);
    }

    #[test]
    fn each_key_that_changed_goes_with_the_next_commit_once_as_it_is_then() {
        let mut keys = Keys::default();
        for (key, value) in [("a", 1), ("b", 2), ("a", 3)] {
            keys.put(key.as_bytes(), Some((Some("x"), value)));
        }
        keys.put(b"c", None);
        assert_eq!(
            chosen(&keys),
            [(b"a".to_vec(), Some(3)), (b"b".to_vec(), Some(2))].into()
        );
        keys.written();
        assert!(chosen(&keys).is_empty());

        keys.put(b"a", Some((Some("x"), 3)));
        assert_eq!(keys.changes(), 0, "nothing has changed");
        keys.put(b"a", None);
        keys.put(b"b", Some((Some("y"), 2)));
        assert_eq!(
            chosen(&keys),
            [(b"a".to_vec(), None), (b"b".to_vec(), Some(2))].into()
        );
        keys.written();
        assert_eq!(
            keys.len(),
            1,
            "what adds nothing is forgotten once that is written"
        );
        let group = keys.get(b"b").unwrap().group;
        assert_eq!(group.as_deref(), Some("y"));
    }

    #[test]
    fn keys_in_the_place_of_others_are_written_bit_by_bit_and_those_that_are_gone_are_taken_out() {
        let mut found = Keys::default();
        for key in 0..10_u8 {
            found.observe(&[key], Some((None, 5)));
        }
        found.observe(&[0], None);
        let mut keys = found.retired(0);
        for key in 5..15_u8 {
            keys.put(&[key], Some((None, 7)));
        }
        let mut topic = (1..10)
            .map(|key| (vec![key], Some(5)))
            .collect::<BTreeMap<_, _>>();
        let mut commits = 0;
        loop {
            keys.choose(4);
            let chosen = chosen(&keys);
            assert!(chosen.len() <= 4);
            let is_missing = keys.is_missing();
            topic.extend(chosen);
            commits += 1;
            // What comes meanwhile goes with them.
            if commits == 1 {
                keys.put(&[20], Some((None, 7)));
            }
            keys.written();
            assert_eq!(keys.has_left(), is_missing);
            if !is_missing {
                break;
            }
        }
        let left = topic.into_iter().filter_map(|(key, value)| Some((key, value?)));
        let expected = (5..15).chain([20]).map(|key| (vec![key], 7));
        assert_eq!(
            left.collect::<BTreeMap<_, _>>(),
            expected.collect::<BTreeMap<_, _>>()
        );
        assert_eq!(commits, 4, "15 keys, 4 at a time");
        keys.put(&[5], None);
        assert_eq!((chosen(&keys).len(), keys.is_missing()), (1, false));
    }

    #[test]
    fn no_key_and_one_that_is_too_long_are_refused() {
        assert_eq!(unfit(Some(b"")), None);
        assert_eq!(unfit(Some(&[0; MAX_LENGTH])), None);
        assert!(unfit(None).unwrap().starts_with("the record has no key, "));
        assert_eq!(
            unfit(Some(&[0; MAX_LENGTH + 1])).unwrap(),
            "the record's key has 1025 bytes, expected at most 1024 with sum.retract"
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_is_known_however_often_a_commit_fails(
            steps in prop::collection::vec((0..6_u8, prop::option::of((prop::option::of("[xy]"), -3..3_i128)), 0..4_u8), 0..60),
            retired: bool,
        ) {
            let mut keys = Keys::default();
            let mut topic = BTreeMap::new();
            if retired {
                for key in [3, 4, 5, 100] {
                    keys.observe(&[key], Some((None, 1)));
                    topic.insert(vec![key], Contribution { group: None, value: 1 });
                }
                keys = keys.retired(0);
            }
            let mut commit = |keys: &mut Keys| {
                keys.choose(2);
                for (key, added) in keys.chosen() {
                    match added {
                        Some(added) => topic.insert(key.to_vec(), added),
                        None => topic.remove(key),
                    };
                }
                let is_missing = keys.is_missing();
                keys.written();
                assert_eq!(keys.has_left(), is_missing);
                (is_missing, topic.clone())
            };
            let mut known = BTreeMap::new();
            for (key, added, then) in steps {
                let of = |(group, value): &(Option<String>, i128)| Contribution { group: group.as_deref().map(Arc::from), value: *value };
                keys.put(&[key], added.as_ref().map(|(group, value)| (group.as_deref(), *value)));
                match &added {
                    Some(added) => known.insert(vec![key], of(added)),
                    None => known.remove(&vec![key]),
                };
                match then {
                    0 => {
                        let (is_missing, topic) = commit(&mut keys);
                        prop_assert!(is_missing || topic == known);
                    }
                    // It was chosen, and the commit failed.
                    1 => keys.choose(2),
                    _ => {}
                }
            }
            let mut last = commit(&mut keys);
            for _ in 0..6 {
                last = commit(&mut keys);
            }
            prop_assert_eq!(last, (false, known.clone()));
            for (key, added) in &known {
                prop_assert_eq!(keys.get(key), Some(added.clone()));
            }
            prop_assert_eq!(keys.len(), known.len());
            let sum = keys.sums().values().map(|(_, sum)| *sum).sum::<i128>();
            prop_assert_eq!(sum, known.values().map(|added| added.value).sum::<i128>());
        }
    }
}
