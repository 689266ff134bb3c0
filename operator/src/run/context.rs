//! What all the work is done with.

use std::{sync::Arc, time::Duration};

use kube::Config;
use snafu::ResultExt;

use super::{ClientSnafu, Error, HttpSnafu};
use crate::{client, connect, controller::Context, leader::Fence, metrics::Metrics, settings::Settings};

/// Does no I/O.
pub(super) fn build(
    settings: Settings,
    config: Config,
    fence: Fence,
    metrics: Arc<Metrics>,
) -> Result<Context, Error> {
    let client = client::fenced(config, &metrics.api, fence.clone()).context(ClientSnafu)?;
    let http = http().context(HttpSnafu)?;
    Ok(Context::new(client, http, fence, metrics, settings))
}

fn http() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .user_agent(concat!("naru-operator/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(connect::CONNECT_DEADLINE)
        .timeout(Duration::from_secs(10))
        .build()
}
