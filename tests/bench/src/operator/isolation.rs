//! What a Connect cluster that never answers does to the connectors of one that does.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    cluster::{Cluster, eventually},
    connect::{Connect, Silence},
    error::Error,
    figures::{Isolation, Report, percentile, round},
    resources::{self, Resources},
};

const GOOD: usize = 200;
/// More than passes over resources of one kind run at once.
const SILENT: usize = 20;
const SAMPLES: usize = 400;
/// An edit of a connector on the silent cluster comes with each so many of the others.
const EVERY: usize = 5;
const PAUSE: Duration = Duration::from_millis(25);
const SOON: Duration = Duration::from_secs(120);

pub(crate) async fn measure(cluster: &Cluster, report: &mut Report) -> Result<(), Error> {
    let mut connect = Connect::start().await?;
    let sinks = Resources::connectors(cluster);
    let since = Instant::now();
    sinks
        .create(0..GOOD, &resources::connector(cluster, &connect.url))
        .await?;
    eventually("200 connectors are registered", SOON, async || {
        match connect.count() {
            GOOD => Ok(()),
            fewer => Err(Error::new(format!("{fewer} are"))),
        }
    })
    .await?;
    sinks.observed().await?;
    crate::found("200 connectors registered", since);

    let mut edits = Edits {
        cluster,
        sinks: &sinks,
        number: 0,
    };
    let since = Instant::now();
    let without = edits.sample(&mut connect, None).await?;
    crate::found(&format!("p99 without {} ms", percentile(&without, 99)), since);

    let silence = Silence::start().await?;
    sinks
        .create(GOOD..GOOD + SILENT, &resources::connector(cluster, &silence.url))
        .await?;
    eventually(
        "the operator has called the silent cluster",
        SOON,
        async || match silence.connections() {
            0 => Err(Error::new("it has not")),
            _ => Ok(()),
        },
    )
    .await?;
    let since = Instant::now();
    let with = edits.sample(&mut connect, Some(GOOD)).await?;
    crate::found(
        &format!(
            "p99 with {} ms, {} connections to the silent cluster",
            percentile(&with, 99),
            silence.connections()
        ),
        since,
    );
    let (without_p99, with_p99) = (percentile(&without, 99), percentile(&with, 99));
    report.isolation = Some(Isolation {
        isolation_ratio: round(with_p99 / without_p99),
        without_p50: percentile(&without, 50),
        without_p99,
        with_p50: percentile(&with, 50),
        with_p99,
    });
    sinks.orphan_all().await
}

struct Edits<'a> {
    cluster: &'a Cluster,
    sinks: &'a Resources,
    /// Each edit says another one.
    number: usize,
}

impl Edits<'_> {
    /// The time until each edit has arrived at Connect. With `silent`, the first number of them, connectors of the
    /// silent cluster are edited as well, or the operator would soon ask for them once in a minute only.
    async fn sample(&mut self, connect: &mut Connect, silent: Option<usize>) -> Result<Vec<Duration>, Error> {
        let mut samples = Vec::new();
        for sample in 0..SAMPLES {
            self.number += 1;
            let change = resources::number(self.number);
            if let Some(silent) = silent.filter(|_| sample % EVERY == 0) {
                self.sinks.edit(silent + sample / EVERY % SILENT, &change).await?;
            }
            let resource = sample % GOOD;
            let connector = format!("{}.{}", self.cluster.namespace, self.sinks.name(resource));
            let start = Instant::now();
            self.sinks.edit(resource, &change).await?;
            samples.push(connect.has(&connector, self.number).await?.duration_since(start));
            tokio::time::sleep(PAUSE).await;
        }
        Ok(samples)
    }
}
