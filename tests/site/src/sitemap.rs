//! The sitemap of the newest products: an index of children, each for a block of ids; pure.

use std::ops::RangeInclusive;

use crate::page::escape_html;

/// Ids that the sitemap covers, back from the head.
const NEWEST: u64 = 1_000;

/// Ids in a block. Blocks begin at multiples of it, so that a child keeps its name while the head moves.
const BLOCK: u64 = 250;

const OPENING: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
const NAMESPACE: &str = "http://www.sitemaps.org/schemas/sitemap/0.9";

/// The ids that a sitemap with this head covers.
pub(crate) fn window(first: u64, head: u64) -> RangeInclusive<u64> {
    first.max(head.saturating_sub(NEWEST - 1))..=head
}

/// Names of the children: every second one is gzip.
pub(crate) fn children(window: &RangeInclusive<u64>) -> Vec<String> {
    (window.start() / BLOCK..=window.end() / BLOCK)
        .map(|block| {
            format!(
                "recent-product-{block}.xml{}",
                if block % 2 == 0 { ".gz" } else { "" }
            )
        })
        .collect()
}

/// The ids of a child, if it is one of the window's.
pub(crate) fn child(name: &str, window: &RangeInclusive<u64>) -> Option<RangeInclusive<u64>> {
    let text = name
        .strip_suffix(".xml.gz")
        .or_else(|| name.strip_suffix(".xml"))?;
    let block: u64 = text.strip_prefix("recent-product-")?.parse().ok()?;
    let from = block.checked_mul(BLOCK)?;
    let ids = from.max(*window.start())..=from.saturating_add(BLOCK - 1).min(*window.end());
    (!ids.is_empty()).then_some(ids)
}

pub(crate) fn index(host: &str, children: &[String]) -> String {
    let urls = children
        .iter()
        .map(|name| format!("http://{host}/sitemap/{name}"));
    document("sitemapindex", "sitemap", urls)
}

pub(crate) fn pages(host: &str, ids: impl Iterator<Item = u64>) -> String {
    document(
        "urlset",
        "url",
        ids.map(|id| format!("http://{host}/product/{id}")),
    )
}

fn document(root: &str, element: &str, urls: impl Iterator<Item = String>) -> String {
    let mut xml = format!("{OPENING}<{root} xmlns=\"{NAMESPACE}\">\n");
    for url in urls {
        xml.push_str(&format!(
            "<{element}><loc>{}</loc></{element}>\n",
            escape_html(&url)
        ));
    }
    xml.push_str(&format!("</{root}>\n"));
    xml
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_cover_the_window_exactly_once() {
        for (first, head) in [
            (1, 1),
            (1, 999),
            (1, 1_000),
            (1, 5_678),
            (228_000_001, 228_000_600),
        ] {
            let window = window(first, head);
            let ids: Vec<_> = children(&window)
                .iter()
                .flat_map(|name| child(name, &window).unwrap())
                .collect();
            assert_eq!(ids, window.clone().collect::<Vec<_>>());
            assert_eq!(window, first.max(head.saturating_sub(999))..=head);
        }
    }

    #[test]
    fn names_of_no_child_are_refused() {
        let window = window(1, 5_678);
        for name in [
            "recent-product-1.xml",
            "recent-product-99.xml",
            "recent-product-x.xml",
            "other.xml",
            "",
        ] {
            assert_eq!(child(name, &window), None, "{name}");
        }
        assert_eq!(child(&format!("recent-product-{}.xml", u64::MAX), &window), None);
    }
}
