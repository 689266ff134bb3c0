//! Answers that go wrong.

use std::{io, time::Duration};

use axum::{
    body::{Body, Bytes, to_bytes},
    http::{HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use futures::{StreamExt, stream};

use super::{crawled, recorded::Served};
use crate::{
    faults::{FaultKind, Plan},
    state::Site,
};

const CAPTCHA: &str = "<!DOCTYPE html><html lang=\"ko\"><head><meta charset=\"utf-8\"/><title>확인</title></head>\
     <body><h1>자동화된 접근이 감지되었습니다</h1><form id=\"captcha\"><input name=\"answer\"/></form></body></html>";

/// The answer for an id that a plan has struck.
pub(super) async fn apply(plan: &Plan, site: &Site, id: u64) -> Response {
    match plan.kind {
        FaultKind::TooManyRequests => refusal(StatusCode::TOO_MANY_REQUESTS, plan),
        FaultKind::Unavailable => refusal(StatusCode::SERVICE_UNAVAILABLE, plan),
        FaultKind::Captcha => Html(CAPTCHA).into_response(),
        FaultKind::Redirect => {
            let location = format!("/my-account/seen/{id}");
            (StatusCode::FOUND, [(header::LOCATION, location)]).into_response()
        }
        FaultKind::Slow => {
            tokio::time::sleep(Duration::from_millis(plan.delay_millis)).await;
            crawled::entry(site, id)
        }
        FaultKind::CutOff => cut_off(crawled::entry(site, id)).await,
    }
}

fn refusal(status: StatusCode, plan: &Plan) -> Response {
    let mut response = (status, "지금은 답할 수 없습니다.").into_response();
    if let Some(seconds) = plan.retry_after_seconds {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Promises the whole body and sends half of it.
async fn cut_off(whole: Response) -> Response {
    let (mut head, body) = whole.into_parts();
    head.extensions.remove::<Served>();
    let bytes = to_bytes(body, usize::MAX).await.unwrap_or_default();
    head.headers
        .insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    let half = bytes.slice(..bytes.len() / 2);
    let sent = stream::once(async { Ok::<Bytes, io::Error>(half) });
    let end = stream::once(async {
        // The half page goes out while the body is not ready; an error at once would take it along.
        tokio::task::yield_now().await;
        Err(io::Error::other("cut off by plan"))
    });
    Response::from_parts(head, Body::from_stream(sent.chain(end)))
}
