//! What surrounds the product on every page: head, navigation, other products, footer.

use super::{Page, escape_html, grouped};
use crate::catalog::{Draw, Purpose, any_title};

/// A product that is shown beside the page's own. Its markup uses the same classes as the product itself, outside
/// `main`, as on real pages.
pub(super) struct Card {
    pub(super) seq: u64,
    pub(super) title: String,
    pub(super) price: u64,
}

/// Everything up to and including `<body>`; `more` goes into the head.
pub(super) fn opening(page: &Page<'_>, more: &str) -> String {
    let title = escape_html(page.title());
    let summary = escape_html(&page.description().chars().take(80).collect::<String>());
    let id = page.id;
    let mut html = format!(
        "<!DOCTYPE html><html lang=\"ko\"><head><meta charset=\"utf-8\"/>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\
         <title>{title} | 나루장터</title>\
         <meta property=\"og:type\" content=\"product\"/>\
         <meta property=\"og:title\" content=\"{title}\"/>\
         <meta property=\"og:description\" content=\"{summary}\"/>\
         <meta property=\"og:image\" content=\"/media/original/{id}.jpg?size=150\"/>\
         <meta property=\"og:url\" content=\"/product/{id}\"/>{more}<style>"
    );
    for step in 0..60 {
        html.push_str(&format!(
            ".m-{step}{{margin:{step}px}}.p-{step}{{padding:{step}px}}.w-{step}{{width:{step}rem}}"
        ));
    }
    html.push_str("</style></head><body class=\"m-0 p-0\"><header><nav><a href=\"/\">나루장터</a>");
    for name in [
        "가전제품",
        "디지털",
        "패션",
        "스포츠",
        "취미",
        "도서",
        "캠핑",
        "무료나눔",
    ] {
        html.push_str(&format!(
            "<a class=\"p-4 m-2\" href=\"/search/{name}\">{name}</a>"
        ));
    }
    html.push_str("</nav></header>");
    html
}

pub(super) fn closing() -> &'static str {
    "<footer class=\"p-20\"><p>나루장터는 시험을 위해 지어낸 장터입니다. 여기 있는 물건은 아무도 팔지 않습니다.</p>\
     <a href=\"/terms\">이용약관</a><a href=\"/privacy\">개인정보</a></footer></body></html>"
}

/// Cards until a size between 15 and 40 kB, drawn from the id, is reached; `used` bytes are there already.
pub(super) fn fill(page: &Page<'_>, used: usize, render: impl Fn(&Card) -> String) -> String {
    let mut draw = page.draw(Purpose::Filler);
    let size = 15_000 + draw.below(25_000) as usize;
    let mut text = String::new();
    while used + text.len() < size {
        text.push_str(&render(&card(&mut draw, page.id)));
    }
    text
}

pub(super) fn card_html(card: &Card) -> String {
    let Card { seq, title, price } = card;
    format!(
        "<li class=\"w-12 p-2\"><a class=\"group relative m-1\" href=\"/product/{seq}\">\
         <img class=\"w-12\" loading=\"lazy\" alt=\"\" src=\"/media/original/{seq}.jpg?size=150\"/>\
         <h2 class=\"p-1\">{}</h2><p class=\"price\">{}원</p></a></li>",
        escape_html(title),
        grouped(*price as i64),
    )
}

fn card(draw: &mut Draw, id: u64) -> Card {
    Card {
        seq: id.saturating_sub(1 + draw.below(1_000)),
        title: any_title(draw),
        price: 1_000 * draw.below(3_000),
    }
}
