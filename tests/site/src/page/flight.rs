//! The layout whose data arrives as a React flight stream, cut into `self.__next_f.push` calls.
//!
//! A row is `hex id:payload`, ended by a newline; a text row is `hex id:T<bytes in hex>,<text>` and has no end mark.
//! In JSON, a text `"$29"` stands for row 29, and a text that really begins with `$` gets one more.

use std::borrow::Cow;

use super::{
    Page,
    data::ProductData,
    escape_json_for_script,
    shell::{self, Card, fill},
};
use crate::catalog::{Draw, Purpose};

/// Texts above this many bytes move into a row of their own.
const LONGEST_INLINE_TEXT: usize = 1_024;

/// The row that a long description moves to.
const TEXT_ROW: &str = "29";

pub(super) fn page(page: &Page<'_>) -> String {
    let mut html = shell::opening(page, "");
    html.push_str("<div id=\"root\"><div class=\"skeleton w-40 p-40\"></div></div>");
    html.push_str("<script>(self.__next_f=self.__next_f||[]).push([0])</script>");
    let stream = stream(page, html.len());
    for part in parts(&stream, &mut page.draw(Purpose::Split)) {
        let json = serde_json::to_string(&(1, part)).expect("a number and a text are always JSON");
        html.push_str(&format!(
            "<script>self.__next_f.push({})</script>",
            escape_json_for_script(&json)
        ));
    }
    html.push_str(shell::closing());
    html
}

/// All rows of the page; `used` bytes stand outside of them.
fn stream(page: &Page<'_>, used: usize) -> String {
    let mut rows = String::from(
        "1:\"$Sreact.fragment\"\n2:I[1301,[\"130\",\"static/chunks/product.js\"],\"Product\"]\n\
         :HL[\"/_next/static/css/site.css\",\"style\"]\n",
    );
    rows.push_str(
        "0:{\"P\":null,\"b\":\"naru-site\",\"c\":[\"\",\"product\"],\"q\":\"$undefined\",\"f\":\"$L22\"}\n",
    );
    if page.description().len() > LONGEST_INLINE_TEXT {
        let text = page.description();
        rows.push_str(&format!("{TEXT_ROW}:T{:x},{text}", text.len()));
    }
    rows.push_str(&product_row(page));
    let cards = fill(page, used + rows.len(), card_json);
    rows.push_str(&format!(
        "23:[\"$\",\"ul\",null,{{\"children\":[\"$undefined\"{cards}]}}]\n"
    ));
    rows
}

fn product_row(page: &Page<'_>) -> String {
    let mut product = ProductData::of(page);
    product.product_title = reference_safe(page.title());
    product.product_description = if page.description().len() > LONGEST_INLINE_TEXT {
        Cow::Owned(format!("${TEXT_ROW}"))
    } else {
        reference_safe(page.description())
    };
    format!(
        "22:[\"$\",\"$L2\",null,{{\"locale\":\"ko\",\"viewed\":\"$undefined\",\"data\":{{\"product\":{}}}}}]\n",
        product.json(),
    )
}

fn reference_safe(text: &str) -> Cow<'_, str> {
    if text.starts_with('$') {
        Cow::Owned(format!("${text}"))
    } else {
        Cow::Borrowed(text)
    }
}

fn card_json(card: &Card) -> String {
    let children = serde_json::json!({
        "href": format!("/product/{}", card.seq),
        "className": "group relative m-1",
        "children": [reference_safe(&card.title), card.price],
    });
    format!(",[\"$\",\"$L3\",\"{}\",{children}]", card.seq)
}

/// The stream in parts of drawn lengths, which end anywhere in a row but never inside a character: pushes are
/// JavaScript strings.
fn parts<'a>(stream: &'a str, draw: &mut Draw) -> Vec<&'a str> {
    let mut parts = Vec::new();
    let mut rest = stream;
    while !rest.is_empty() {
        let length = 101 + draw.below(4_000) as usize;
        let end = (length..rest.len())
            .find(|end| rest.is_char_boundary(*end))
            .unwrap_or(rest.len());
        let (part, after) = rest.split_at(end);
        parts.push(part);
        rest = after;
    }
    parts
}
