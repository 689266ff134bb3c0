//! What the marketplace sells: a pure function from a seed and an id to a product or a hole.

mod draw;
mod words;

use std::ops::RangeInclusive;

use jiff::{SignedDuration, civil};
use serde::Serialize;

pub(crate) use draw::{Draw, Purpose};
pub(crate) use words::any_title;

/// Holes per 100 ids. Deleted and hidden products leave such holes in the id space of a real marketplace.
const HOLE_PERCENT: u64 = 12;

/// All products that there will ever be, by id.
#[derive(Clone, Copy, Debug)]
pub struct Catalog {
    seed: u64,
}

/// What stands at an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    Product(Product),
    /// A hole that the site answers with status 404.
    Missing,
    /// A hole that the site answers with status 200 and a page whose product is empty ("soft 404").
    Empty,
}

/// One product, with the fields that pages show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Product {
    pub id: u64,
    pub title: String,
    /// KRW, from 0 to 120,000,000.
    pub price: i64,
    /// From the widest level to the narrowest, 1 to 4 of them.
    pub category: Vec<String>,
    pub status: Status,
    pub seller: String,
    pub description: String,
    /// `2026-05-21 08:56:29`, Korean time, without a zone as the pages have it.
    pub sort_date: String,
}

/// Whether a product can be bought. Pages and `/truth` show the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "u8")]
pub enum Status {
    OnSale = 0,
    Reserved = 1,
    Sold = 3,
}

impl From<Status> for u8 {
    fn from(status: Status) -> Self {
        status as Self
    }
}

impl Catalog {
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    pub fn entry(&self, id: u64) -> Entry {
        let mut draw = Draw::new(self.seed, id, Purpose::Existence);
        if draw.below(100) >= HOLE_PERCENT {
            Entry::Product(self.describe(id))
        } else if draw.below(2) == 0 {
            Entry::Missing
        } else {
            Entry::Empty
        }
    }

    /// The product at an id, unless a hole is there.
    pub fn product(&self, id: u64) -> Option<Product> {
        self.exists(id).then(|| self.describe(id))
    }

    /// All products with these ids, in order.
    pub fn products(&self, ids: RangeInclusive<u64>) -> impl Iterator<Item = Product> {
        ids.filter_map(|id| self.product(id))
    }

    pub fn exists(&self, id: u64) -> bool {
        Draw::new(self.seed, id, Purpose::Existence).below(100) >= HOLE_PERCENT
    }

    /// The largest of these ids that is a product.
    pub fn newest_product(&self, ids: RangeInclusive<u64>) -> Option<u64> {
        ids.rev().find(|id| self.exists(*id))
    }

    fn describe(&self, id: u64) -> Product {
        let shelf = words::shelf(&mut Draw::new(self.seed, id, Purpose::Category));
        let mut draw = Draw::new(self.seed, id, Purpose::Product);
        Product {
            id,
            title: words::title(&mut draw, shelf),
            price: price(&mut Draw::new(self.seed, id, Purpose::Price)),
            category: shelf.path.iter().map(ToString::to_string).collect(),
            status: draw.pick(&[
                Status::OnSale,
                Status::OnSale,
                Status::OnSale,
                Status::Reserved,
                Status::Sold,
            ]),
            seller: words::seller(&mut draw),
            description: words::description(&mut draw),
            sort_date: sort_date(id),
        }
    }
}

/// About 17 % above 1,000,000 KRW, and 1 % each exactly there and 1 above, where filters err; 2 % cost nothing.
fn price(draw: &mut Draw) -> i64 {
    let thousands = |draw: &mut Draw, from: u64, to: u64| (from + draw.below(to - from)) as i64 * 1_000;
    match draw.below(1_000) {
        0..20 => 0,
        20..30 => 1_000_000,
        30..40 => 1_000_001,
        40..45 => thousands(draw, 10_000, 120_001),
        45..200 => thousands(draw, 1_001, 5_000),
        200..600 => thousands(draw, 1, 100),
        _ => thousands(draw, 100, 1_000) - 500 * draw.below(2) as i64,
    }
}

/// Ids grow by about one in two seconds.
fn sort_date(id: u64) -> String {
    let known = (228_000_000_u64, civil::date(2026, 5, 3).at(9, 0, 0, 0));
    let seconds = (i128::from(id) - i128::from(known.0)) * 2;
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    known
        .1
        .saturating_add(SignedDuration::from_secs(seconds))
        .strftime("%Y-%m-%d %H:%M:%S")
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: RangeInclusive<u64> = 228_000_001..=228_010_000;

    fn share(count: usize) -> f64 {
        count as f64 / IDS.count() as f64
    }

    #[test]
    fn the_same_seed_gives_the_same_catalog_and_another_seed_another() {
        let entries = |seed| IDS.map(|id| Catalog::new(seed).entry(id)).collect::<Vec<_>>();
        assert_eq!(entries(1), entries(1));
        assert_ne!(entries(1), entries(2));
    }

    #[test]
    fn about_twelve_percent_are_holes_half_of_them_soft() {
        let entries: Vec<_> = IDS.map(|id| Catalog::new(1).entry(id)).collect();
        let missing = share(entries.iter().filter(|entry| **entry == Entry::Missing).count());
        let empty = share(entries.iter().filter(|entry| **entry == Entry::Empty).count());
        assert!((0.05..0.07).contains(&missing), "{missing}");
        assert!((0.05..0.07).contains(&empty), "{empty}");
    }

    #[test]
    fn entry_product_and_exists_agree() {
        let catalog = Catalog::new(1);
        for id in IDS {
            let product = match catalog.entry(id) {
                Entry::Product(product) => Some(product),
                Entry::Missing | Entry::Empty => None,
            };
            assert_eq!(catalog.exists(id), product.is_some());
            assert_eq!(catalog.product(id), product);
        }
    }

    #[test]
    fn prices_lie_on_both_sides_of_a_million_and_on_it() {
        let prices: Vec<i64> = Catalog::new(1)
            .products(IDS)
            .map(|product| product.price)
            .collect();
        let above = prices.iter().filter(|price| **price > 1_000_000).count() as f64 / prices.len() as f64;
        assert!((0.15..0.20).contains(&above), "{above}");
        for exact in [0, 1_000_000, 1_000_001] {
            assert!(
                prices.iter().filter(|price| **price == exact).count() > 50,
                "{exact}"
            );
        }
        assert!(prices.iter().all(|price| (0..=120_000_000).contains(price)));
    }

    #[test]
    fn texts_hold_what_breaks_careless_readers() {
        let products: Vec<_> = Catalog::new(1).products(IDS).collect();
        for part in ["\"", "'", "<", "&", "\\", "🙂"] {
            assert!(
                products.iter().any(|product| product.title.contains(part)),
                "no title with {part}"
            );
        }
        for part in ["</script>", "\n", "\"", "\u{2028}"] {
            assert!(
                products.iter().any(|product| product.description.contains(part)),
                "no description with {part}"
            );
        }
        assert!(products.iter().any(|product| product.title.starts_with('$')));
        assert!(products.iter().any(|product| product.description.len() > 2_000));
        assert!(products.iter().any(|product| product.description.len() < 500));
        for levels in 1..=4 {
            assert!(
                products.iter().any(|product| product.category.len() == levels),
                "{levels} levels"
            );
        }
    }

    #[test]
    fn the_newest_product_of_holes_alone_is_none() {
        let catalog = Catalog::new(1);
        let hole = IDS.clone().find(|id| !catalog.exists(*id)).unwrap();
        assert_eq!(catalog.newest_product(hole..=hole), None);
        assert_eq!(
            catalog.newest_product(IDS),
            IDS.rev().find(|id| catalog.exists(*id))
        );
    }

    #[test]
    fn any_id_has_a_date() {
        assert_eq!(sort_date(228_000_000), "2026-05-03 09:00:00");
        assert_eq!(sort_date(228_000_030), "2026-05-03 09:01:00");
        for id in [0, u64::MAX] {
            assert_eq!(sort_date(id).len(), "2026-05-03 09:00:00".len());
        }
    }
}
