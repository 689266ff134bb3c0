//! What is known of a set of records: how many there were, and their sum.

use naru_rules::decimal::MAX_DIGITS;
use snafu::{OptionExt, Snafu, ensure};

/// Largest magnitude of a sum: what the `decimal(38, scale)` of the output holds.
pub const MAX_SUM: i128 = MAX_DIGITS;

/// The sum or a count has left the range of its field in the output.
#[derive(Debug, PartialEq, Eq, Snafu)]
#[snafu(display("the sum has more than 38 digits, or a count more than 63 bits"))]
pub struct Overflow;

/// Counts and the exact sum of a set of records. Sets are merged in any order with the same result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accumulator {
    /// Records that passed the filter, those with null included.
    pub count: i64,
    /// Records that did not.
    pub dropped: i64,
    /// Records that could not be decoded or summed.
    pub dead: i64,
    /// Records that came after their window was closed.
    pub late: i64,
    /// Records among those of `count` that a later one of the same key has taken back.
    pub retracted: i64,
    /// Sum of the field over the records that passed and stand, in units of its last digit behind the point; null adds nothing.
    pub sum: i128,
}

impl Accumulator {
    /// One record that passed the filter.
    pub fn summed(value: Option<i128>) -> Self {
        Self {
            count: 1,
            sum: value.unwrap_or(0),
            ..Self::default()
        }
    }

    /// One record that the filter dropped.
    pub fn dropped() -> Self {
        Self {
            dropped: 1,
            ..Self::default()
        }
    }

    /// One record that became a dead letter.
    pub fn dead() -> Self {
        Self {
            dead: 1,
            ..Self::default()
        }
    }

    /// One record whose window was closed.
    pub fn late() -> Self {
        Self {
            late: 1,
            ..Self::default()
        }
    }

    /// The union of two sets that have no record in common.
    pub fn merge(self, other: Self) -> Result<Self, Overflow> {
        let sum = self.sum.checked_add(other.sum).context(OverflowSnafu)?;
        ensure!(sum.abs() <= MAX_SUM, OverflowSnafu);
        Ok(Self {
            count: self.count.checked_add(other.count).context(OverflowSnafu)?,
            dropped: self.dropped.checked_add(other.dropped).context(OverflowSnafu)?,
            dead: self.dead.checked_add(other.dead).context(OverflowSnafu)?,
            late: self.late.checked_add(other.late).context(OverflowSnafu)?,
            retracted: self
                .retracted
                .checked_add(other.retracted)
                .context(OverflowSnafu)?,
            sum,
        })
    }

    /// The union with `one` less a record of this set that added `before`, if there is such.
    pub fn replace(self, before: Option<i128>, one: Self) -> Result<Self, Overflow> {
        let Some(before) = before else {
            return self.merge(one);
        };
        let (without, with) = (self.sum.checked_sub(before), self.sum.checked_add(one.sum));
        // If one way leads out of 128 bits, the other does not, or the sum is out of range anyway.
        let sum = without.and_then(|sum| sum.checked_add(one.sum));
        let sum = sum.or_else(|| with?.checked_sub(before)).context(OverflowSnafu)?;
        ensure!(sum.unsigned_abs() <= MAX_SUM.unsigned_abs(), OverflowSnafu);
        let one = Self {
            retracted: 1,
            sum: 0,
            ..one
        };
        let counts = Self { sum: 0, ..self }.merge(one)?;
        Ok(Self { sum, ..counts })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_accumulator() -> impl Strategy<Value = Accumulator> {
        let count = 0..1_i64 << 40;
        let sum = -(1_i128 << 100)..1_i128 << 100;
        let counts = (count.clone(), count.clone(), count.clone(), count.clone(), count);
        (counts, sum).prop_map(|((count, dropped, dead, late, retracted), sum)| Accumulator {
            count,
            dropped,
            dead,
            late,
            retracted,
            sum,
        })
    }

    fn fold(values: &[Option<i64>]) -> Accumulator {
        values.iter().fold(Accumulator::default(), |all, value| {
            all.merge(Accumulator::summed(value.map(i128::from))).unwrap()
        })
    }

    proptest! {
        #[test]
        fn merging_is_commutative_and_associative_and_nothing_is_neutral(
            a in any_accumulator(), b in any_accumulator(), c in any_accumulator(),
        ) {
            let merge = |a: Accumulator, b| a.merge(b).unwrap();
            prop_assert_eq!(merge(a, b), merge(b, a));
            prop_assert_eq!(merge(merge(a, b), c), merge(a, merge(b, c)));
            prop_assert_eq!(merge(a, Accumulator::default()), a);
        }

        #[test]
        fn the_sum_is_that_of_unbounded_integers_however_the_records_are_split(
            values in prop::collection::vec(any::<Option<i64>>(), 0..50), at in any::<prop::sample::Index>(),
        ) {
            let (left, right) = values.split_at(at.index(values.len() + 1));
            let all = fold(&values);
            prop_assert_eq!(fold(left).merge(fold(right)), Ok(all));
            prop_assert_eq!(all.sum, values.iter().flatten().map(|value| i128::from(*value)).sum::<i128>());
            prop_assert_eq!(all.count, i64::try_from(values.len()).unwrap());
        }
    }

    #[test]
    fn null_is_counted_and_adds_nothing() {
        let null = Accumulator::summed(None);
        assert_eq!((null.count, null.sum), (1, 0));
    }

    #[test]
    fn what_is_replaced_does_not_count_in_the_sum_whatever_is_added_first() {
        let sum = |sum| Accumulator {
            sum,
            ..Accumulator::default()
        };
        let one = |value| Accumulator::summed(Some(value));
        for (before, taken, added, expected) in [
            (7, Some(5), 1, Some(3)),
            (7, Some(-5), -1, Some(11)),
            (MAX_SUM, Some(MAX_SUM), MAX_SUM, Some(MAX_SUM)),
            // To take back first, or to add first, would lead out of 128 bits.
            (MAX_SUM, Some(-MAX_SUM), -MAX_SUM, Some(MAX_SUM)),
            (-MAX_SUM, Some(-MAX_SUM), -MAX_SUM, Some(-MAX_SUM)),
            (-MAX_SUM, Some(MAX_SUM), MAX_SUM, Some(-MAX_SUM)),
            (MAX_SUM, Some(1), 2, None),
            (MAX_SUM, Some(-MAX_SUM), MAX_SUM, None),
            (-MAX_SUM, Some(MAX_SUM), -MAX_SUM, None),
        ] {
            let found = sum(before).replace(taken, one(added)).ok();
            assert_eq!(
                found.map(|found| found.sum),
                expected,
                "{before} {taken:?} {added}"
            );
            if let Some(found) = found {
                assert_eq!((found.count, found.retracted), (1, 1));
            }
        }
        assert_eq!(sum(7).replace(None, one(1)), sum(7).merge(one(1)));
        let full = Accumulator {
            retracted: i64::MAX,
            ..Accumulator::default()
        };
        assert_eq!(full.replace(Some(0), one(0)), Err(Overflow));
    }

    #[test]
    fn a_sum_or_count_out_of_range_is_an_error() {
        let sum = |sum| Accumulator {
            sum,
            ..Accumulator::default()
        };
        assert_eq!(sum(MAX_SUM).merge(sum(1)), Err(Overflow));
        assert_eq!(sum(-MAX_SUM).merge(sum(-1)), Err(Overflow));
        assert_eq!(sum(i128::MAX).merge(sum(i128::MAX)), Err(Overflow));
        assert_eq!(sum(MAX_SUM - 1).merge(sum(1)), Ok(sum(MAX_SUM)));
        assert_eq!(sum(-MAX_SUM).merge(sum(MAX_SUM)), Ok(sum(0)));
        let dropped = Accumulator {
            dropped: i64::MAX,
            ..Accumulator::default()
        };
        assert_eq!(dropped.merge(Accumulator::dropped()), Err(Overflow));
    }
}
