//! The product object that both JSON layouts carry.

use std::borrow::Cow;

use serde::Serialize;

use super::Page;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ProductData<'a> {
    product_seq: Option<u64>,
    store_seq: Option<u64>,
    nick_name: &'a str,
    pub(super) product_title: Cow<'a, str>,
    pub(super) product_description: Cow<'a, str>,
    qty: u8,
    product_status: Option<u8>,
    category_name: String,
    product_price: Option<i64>,
    parcel_fee_yn: u8,
    product_trade_type: u8,
    labels: [&'static str; 2],
    media: [Media; 1],
    sort_date: &'a str,
    update_date: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Media {
    media_type: u8,
    origin_url: String,
}

impl<'a> ProductData<'a> {
    pub(super) fn of(page: &'a Page<'a>) -> Self {
        let sort_date = page.product.map_or("", |product| &product.sort_date);
        Self {
            product_seq: page.product.map(|product| product.id),
            store_seq: page.product.map(|product| product.id % 1_000_003),
            nick_name: page.seller(),
            product_title: Cow::Borrowed(page.title()),
            product_description: Cow::Borrowed(page.description()),
            qty: u8::from(page.product.is_some()),
            product_status: page.product.map(|product| product.status.into()),
            category_name: page
                .product
                .map_or_else(String::new, |product| product.category.join(",")),
            product_price: page.product.map(|product| product.price),
            parcel_fee_yn: 1,
            product_trade_type: 5,
            labels: ["직거래", "배송비 포함"],
            media: [Media {
                media_type: 0,
                origin_url: format!("/media/original/{}.jpg", page.id),
            }],
            sort_date,
            update_date: sort_date,
        }
    }

    pub(super) fn json(&self) -> String {
        serde_json::to_string(self).expect("a struct of texts and numbers is always JSON")
    }
}
