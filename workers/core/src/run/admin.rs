//! `/livez`, `/readyz` and `/metrics`.

use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tracing::error;

use super::Context;

pub(super) async fn serve(listener: TcpListener, context: Context) {
    let stop = context.stop.clone();
    let routes = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(context);
    let server = axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(error) = server.await {
        error!(%error, "the admin server ended");
    }
}

async fn livez(State(context): State<Context>) -> Response {
    match context.health.stuck_for(Instant::now()) {
        None => "ok\n".into_response(),
        Some(silence) => {
            let message = format!("the worker's thread has been stuck for {} s\n", silence.as_secs());
            (StatusCode::SERVICE_UNAVAILABLE, message).into_response()
        }
    }
}

async fn readyz(State(context): State<Context>) -> Response {
    match context.health.what_is_missing() {
        None => match context.health.but() {
            None => "ok\n".into_response(),
            Some(but) => format!("ok, but {but}\n").into_response(),
        },
        Some(missing) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("waiting for: {missing}\n"),
        )
            .into_response(),
    }
}

async fn metrics(State(context): State<Context>) -> Response {
    match context.metrics.encode() {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
