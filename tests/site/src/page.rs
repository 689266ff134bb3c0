//! A product as a page, in one of three layouts; pure.

mod data;
mod flight;
mod plain;
mod server_rendered;
mod shell;

use crate::catalog::{Draw, Product, Purpose};

/// How a page is built. The id chooses, so that a crawl meets all of them in a mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// HTML with its data once more as JSON in `script#__NEXT_DATA__`, as the Next.js pages router has it.
    ServerRendered,
    /// HTML only.
    Plain,
    /// An empty frame and the data in `self.__next_f.push` calls, as the Next.js app router has it.
    Flight,
}

impl Layout {
    pub fn of(seed: u64, id: u64) -> Self {
        Draw::new(seed, id, Purpose::Layout).pick(&[Self::ServerRendered, Self::Plain, Self::Flight])
    }
}

/// The page of a product, or with `None` the page of a product that is gone, on which its fields are empty.
/// 15 to 60 kB.
pub(crate) fn page(seed: u64, id: u64, product: Option<&Product>) -> String {
    let page = Page { seed, id, product };
    match Layout::of(seed, id) {
        Layout::ServerRendered => server_rendered::page(&page),
        Layout::Plain => plain::page(&page),
        Layout::Flight => flight::page(&page),
    }
}

/// What a layout is given.
struct Page<'a> {
    seed: u64,
    id: u64,
    product: Option<&'a Product>,
}

impl Page<'_> {
    fn title(&self) -> &str {
        self.product.map_or("", |product| &product.title)
    }

    fn description(&self) -> &str {
        self.product.map_or("", |product| &product.description)
    }

    fn seller(&self) -> &str {
        self.product.map_or("", |product| &product.seller)
    }

    /// `163,000원`
    fn price(&self) -> String {
        self.product
            .map_or_else(String::new, |product| format!("{}원", grouped(product.price)))
    }

    fn draw(&self, purpose: Purpose) -> Draw {
        Draw::new(self.seed, self.id, purpose)
    }
}

/// Digits in groups of three.
fn grouped(number: i64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Text for HTML, as content or in a quoted attribute.
pub(crate) fn escape_html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#x27;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// JSON that neither ends the script element it stands in nor breaks a JavaScript string.
fn escape_json_for_script(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '&' | '<' | '>' | '\u{2028}' | '\u{2029}' => {
                escaped.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;

    #[test]
    fn prices_have_groups_of_three() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (163_000, "163,000"),
            (1_000_001, "1,000,001"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn pages_are_a_function_of_seed_and_id_and_as_large_as_real_ones() {
        let catalog = Catalog::new(7);
        for id in 1..=600 {
            let product = catalog.product(id);
            let html = page(7, id, product.as_ref());
            assert_eq!(html, page(7, id, product.as_ref()));
            assert!(
                (15_000..=60_000).contains(&html.len()),
                "{id} has {} bytes",
                html.len()
            );
        }
    }

    #[test]
    fn all_layouts_occur_about_equally_often() {
        for layout in [Layout::ServerRendered, Layout::Plain, Layout::Flight] {
            let count = (1..=900).filter(|id| Layout::of(1, *id) == layout).count();
            assert!((250..350).contains(&count), "{layout:?}: {count}");
        }
    }
}
