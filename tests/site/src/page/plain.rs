//! The layout without JSON: everything is in the markup, and the id only in the URL.

use super::{
    Page, escape_html,
    shell::{self, card_html, fill},
};

pub(super) fn page(page: &Page<'_>) -> String {
    let price = page
        .product
        .map_or_else(String::new, |product| product.price.to_string());
    let categories = page.product.map_or(&[][..], |product| &product.category);
    let breadcrumb: Vec<_> = categories
        .iter()
        .map(|name| format!("<a href=\"/search/{0}\">{0}</a>", escape_html(name)))
        .collect();
    let metas = format!(
        "<meta property=\"product:price:amount\" content=\"{price}\"/>\
         <meta property=\"product:price:currency\" content=\"KRW\"/>\
         <meta property=\"product:category\" content=\"{}\"/>",
        escape_html(&categories.join(",")),
    );
    let mut html = shell::opening(page, &metas);
    html.push_str(&format!(
        "<main class=\"p-10\"><nav class=\"breadcrumb\">{}</nav>\
         <h1 class=\"text-heading\">{}</h1><p class=\"price\">{}</p>\
         <p class=\"description p-4\">{}</p>\
         <p class=\"seller\"><a href=\"/store/{}\">{}</a></p></main>\
         <aside><h3>비슷한 상품</h3><ul>",
        breadcrumb.join(","),
        escape_html(page.title()),
        page.price(),
        escape_html(page.description()),
        page.id % 1_000_003,
        escape_html(page.seller()),
    ));
    let cards = fill(page, html.len(), card_html);
    html.push_str(&cards);
    html.push_str("</ul></aside>");
    html.push_str(shell::closing());
    html
}
