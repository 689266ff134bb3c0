//! The layout whose data stands twice: in markup, and as JSON in `script#__NEXT_DATA__`.

use super::{
    Page,
    data::ProductData,
    escape_html, escape_json_for_script,
    shell::{self, card_html, fill},
};

pub(super) fn page(page: &Page<'_>) -> String {
    let mut html = shell::opening(page, "");
    html.push_str(&format!(
        "<div id=\"__next\"><main class=\"p-8\"><h1 class=\"text-heading\">{}</h1>\
         <div class=\"font-bold\">{}</div><article><p class=\"p-2\">{}</p></article></main>",
        escape_html(page.title()),
        page.price(),
        escape_html(page.description()),
    ));
    let data = escape_json_for_script(&next_data(page));
    html.push_str("<aside><ul>");
    let cards = fill(page, html.len() + data.len(), card_html);
    html.push_str(&cards);
    html.push_str("</ul></aside></div><script id=\"__NEXT_DATA__\" type=\"application/json\">");
    html.push_str(&data);
    html.push_str("</script>");
    html.push_str(shell::closing());
    html
}

/// A query's answer has an envelope of its own, which is why `data` occurs twice in the path.
fn next_data(page: &Page<'_>) -> String {
    let (id, product) = (page.id, ProductData::of(page).json());
    format!(
        "{{\"props\":{{\"pageProps\":{{\"dehydratedState\":{{\"mutations\":[],\"queries\":[{{\"state\":{{\
         \"data\":{{\"meta\":{{\"code\":0,\"message\":\"ok\"}},\"data\":{{\"product\":{product},\
         \"store\":{{\"storeSeq\":{},\"level\":3}}}}}},\"status\":\"success\"}},\
         \"queryKey\":[\"get-product\",{id}]}}]}}}},\"__N_SSP\":true}},\"page\":\"/product/[productSeq]\",\
         \"query\":{{\"productSeq\":\"{id}\"}},\"buildId\":\"naru-site\",\"isFallback\":false}}",
        id % 1_000_003,
    )
}
