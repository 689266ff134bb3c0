//! What a crawler sees.

use std::{io::Write, sync::Arc};

use axum::{
    extract::{FromRequestParts, Path, State},
    http::{StatusCode, header, request::Parts},
    response::{Html, IntoResponse, Response},
};
use flate2::{Compression, write::GzEncoder};

use super::{fault, recorded::Served};
use crate::{catalog::Entry, page::page, sitemap, state::Site};

pub(super) async fn product(State(site): State<Arc<Site>>, Path(id): Path<String>) -> Response {
    let Ok(id) = id.parse::<u64>() else {
        return missing();
    };
    let exists = site.ids().is_some_and(|ids| ids.contains(&id));
    let plan = if exists { site.faults().strike(id) } else { None };
    match plan {
        Some(plan) => fault::apply(&plan, &site, id).await,
        None => entry(&site, id),
    }
}

/// The answer when nothing goes wrong.
pub(super) fn entry(site: &Site, id: u64) -> Response {
    let seed = site.config.seed;
    match site.entry(id) {
        Entry::Product(product) => {
            let mut response = Html(page(seed, id, Some(&product))).into_response();
            response.extensions_mut().insert(Served(id));
            response
        }
        Entry::Empty => Html(page(seed, id, None)).into_response(),
        Entry::Missing => missing(),
    }
}

pub(super) async fn not_found() -> Response {
    missing()
}

fn missing() -> Response {
    const PAGE: &str = "<!DOCTYPE html><html lang=\"ko\"><head><meta charset=\"utf-8\"/><title>나루장터</title></head>\
         <body><p>찾으시는 것이 없습니다.</p></body></html>";
    (StatusCode::NOT_FOUND, Html(PAGE)).into_response()
}

pub(super) async fn robots(Host(host): Host) -> String {
    format!(
        "User-agent: *\nDisallow: /my-account\nAllow: /\n\n\
         Sitemap: http://{host}/sitemap-recent-product-index.xml.gz\n"
    )
}

pub(super) async fn sitemap_index(State(site): State<Arc<Site>>, Host(host): Host) -> Response {
    let children = match site.head() {
        Some(head) => sitemap::children(&sitemap::window(site.config.first_id, head)),
        None => Vec::new(),
    };
    gzip(&sitemap::index(&host, &children))
}

pub(super) async fn sitemap(
    State(site): State<Arc<Site>>,
    Path(name): Path<String>,
    Host(host): Host,
) -> Response {
    let ids = site
        .head()
        .and_then(|head| sitemap::child(&name, &sitemap::window(site.config.first_id, head)));
    let Some(ids) = ids else {
        return missing();
    };
    let xml = sitemap::pages(&host, ids.filter(|id| site.catalog.exists(*id)));
    if name.ends_with(".gz") {
        gzip(&xml)
    } else {
        ([(header::CONTENT_TYPE, "application/xml")], xml).into_response()
    }
}

/// The host that the client asked, with which the site's own URLs are built.
pub(super) struct Host(String);

impl<S: Sync> FromRequestParts<S> for Host {
    type Rejection = (StatusCode, &'static str);

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let host = parts
            .headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok());
        host.map(|host| Self(host.to_owned())).ok_or((
            StatusCode::BAD_REQUEST,
            "the `Host` header is missing or not text",
        ))
    }
}

/// A gzip file: the body itself is compressed, which no `Content-Encoding` says.
fn gzip(text: &str) -> Response {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let body = encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish());
    let body = body.expect("a vector takes every byte");
    ([(header::CONTENT_TYPE, "application/gzip")], body).into_response()
}
