//! Numbers that depend on nothing but a seed, an id and what they are for.

/// What numbers are drawn for. Each purpose has a stream of its own, so that a change of one leaves the others.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    Existence = 1,
    Product = 2,
    Price = 3,
    Category = 4,
    Layout = 5,
    Filler = 6,
    Split = 7,
    Fault = 8,
}

/// A stream of SplitMix64 (Steele, Lea, Flood 2014). It is written out here because generators of libraries may
/// change their streams with a version, and the catalog must not.
pub(crate) struct Draw {
    state: u64,
}

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Draw {
    pub(crate) fn new(seed: u64, id: u64, purpose: Purpose) -> Self {
        let state = [id, purpose as u64]
            .into_iter()
            .fold(mix(seed), |state, part| mix(state ^ mix(part)));
        Self { state }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STEP);
        mix(self.state)
    }

    /// A number from 0 to `bound - 1`; 0 when the bound is 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        // The high half of the product is spread evenly; the bias is below 2^-32 for bounds as small as ours.
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// One of the choices, of which there must be at least one.
    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(STEP);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_by_seed_id_and_purpose() {
        let first = |seed, id, purpose| Draw::new(seed, id, purpose).next();
        let base = first(1, 1, Purpose::Price);
        assert_eq!(base, first(1, 1, Purpose::Price));
        assert_ne!(base, first(2, 1, Purpose::Price));
        assert_ne!(base, first(1, 2, Purpose::Price));
        assert_ne!(base, first(1, 1, Purpose::Fault));
    }

    #[test]
    fn numbers_stay_below_the_bound_and_reach_all_values() {
        let mut draw = Draw::new(1, 1, Purpose::Price);
        let mut seen = [0_u32; 7];
        for _ in 0..7_000 {
            seen[draw.below(7) as usize] += 1;
        }
        assert!(seen.iter().all(|count| (800..1_200).contains(count)), "{seen:?}");
        assert_eq!(draw.below(0), 0);
    }
}
