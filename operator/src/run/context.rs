//! What all the work is done with.

use std::{sync::Arc, time::Duration};

use kube::{
    Config,
    runtime::events::{Recorder, Reporter},
};
use snafu::ResultExt;

use super::{ClientSnafu, Error, HttpSnafu};
use crate::{
    client, connect, controller::Context, kafka, leader::Fence, metrics::Metrics, registry::Registries,
    settings::Settings,
};

/// Does no I/O.
pub(super) fn build(
    settings: Settings,
    config: Config,
    fence: Fence,
    metrics: Arc<Metrics>,
) -> Result<Context, Error> {
    let client = client::fenced(config, &metrics.api, fence.clone()).context(ClientSnafu)?;
    let external = || metrics.external.clone();
    let http = http().context(HttpSnafu)?;
    let reporter = Reporter {
        controller: "naru-operator".to_owned(),
        instance: None,
    };
    Ok(Context {
        recorder: Recorder::new(client.clone(), reporter),
        client,
        kafka: Arc::new(
            kafka::Clusters::default()
                .counted(external())
                .behind(fence.clone()),
        ),
        registries: Arc::new(Registries::new(http.clone()).counted(external())),
        connects: Arc::new(connect::Clusters::new(http).counted(external()).behind(fence)),
        failures: Arc::default(),
        restarts: Arc::default(),
        metrics,
        settings: Arc::new(settings),
    })
}

fn http() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .user_agent(concat!("naru-operator/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(2))
        .timeout(Duration::from_secs(10))
        .build()
}
