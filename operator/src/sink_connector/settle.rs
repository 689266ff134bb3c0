//! Makes what is registered with Connect what should be.

use std::time::{Duration, Instant};

use naru_api::condition::reason;

use super::{
    UNWELL,
    dereference::Referred,
    memory::{Changed, Memory},
    plan::{Plan, Wanted, has_failed, plan},
    restarts::Failure,
    seen::Seen,
};
use crate::{
    connect::{self, Config, ConnectorStatus},
    endpoint::Freshness,
    registry::Registry,
};

/// What should be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Aim<'a> {
    pub(super) connector: &'a str,
    pub(super) config: &'a Config,
    pub(super) suspend: bool,
    /// We have paused the connector.
    pub(super) paused_by_us: bool,
    /// The registry that the connector's converters read, if it is known.
    pub(super) registry: Option<&'a Registry>,
}

/// Plans and acts, and looks at how the connector is then.
pub(super) async fn settle(
    aim: Aim<'_>,
    Referred {
        connect,
        registered,
        secrets,
        ..
    }: &Referred,
    memory: &Memory,
    now: Instant,
) -> Result<Seen, connect::Error> {
    let (name, config) = (aim.connector, aim.config);
    let before = registered.as_ref().and_then(|found| found.status.clone());
    let wait = restart_after(aim, before.as_ref(), memory, now);
    let due = !aim.suspend && wait.is_some_and(|wait| wait.is_zero());
    let held = due && registry_is_silent(aim.registry, before.as_ref()).await;
    let wanted = Wanted {
        config,
        suspend: aim.suspend,
        paused_by_us: aim.paused_by_us,
        restart: due && !held,
    };
    let mut plan = plan(wanted, registered.as_ref());
    let lost = plan == Plan::Create && memory.knows(name);
    let mut changed = Changed::default();
    let mut next = match wait {
        // It is due all the time, and the registry is not asked all the time.
        Some(_) if held => Some(UNWELL),
        wait => wait.filter(|_| !aim.suspend),
    };
    if let (Plan::Update, Some(found)) = (plan, registered) {
        changed = memory.changed(name, config, &found.config);
        // Whoever keeps changing it must not have its tasks restarted with each repair.
        let delay = |times| Failure::Passing.delay(times);
        let pace = memory.repairs.wait(name, delay, now);
        if changed.here.is_empty() && !changed.there.is_empty() {
            if pace.is_zero() {
                memory.repairs.done(name, now);
            } else {
                (plan, next) = (Plan::Nothing, Some(pace));
            }
        }
    } else if plan != Plan::Create {
        memory.settled(name, config);
    }
    let after = match plan {
        Plan::Nothing => before,
        Plan::Create | Plan::Update => {
            if plan == Plan::Create && aim.suspend {
                connect.create_paused(name, config).await?;
            } else {
                connect.put_config(name, config).await?;
            }
            memory.settled(name, config);
            // Connect starts all tasks anew, and they may have no reason to fail any more.
            memory.restarts.forget(name);
            tracing::info!(connector = name, ?plan, ?changed, "registered a connector");
            connect.status(name).await?
        }
        Plan::Pause => {
            connect.pause(name).await?;
            tracing::info!(connector = name, "paused a connector");
            connect.status(name).await?
        }
        Plan::Resume => {
            connect.resume(name).await?;
            tracing::info!(connector = name, "resumed a connector");
            connect.status(name).await?
        }
        Plan::RestartFailed => {
            // Remembered first: a restart that is refused half-way may have happened as well.
            memory.restarts.done(name, now);
            connect.restart_failed(name).await?;
            tracing::info!(connector = name, "restarted the failed tasks of a connector");
            // What made it fail is what people want to know.
            before
        }
    };
    let (rotated, drifted) = match plan {
        Plan::Update => {
            let rotated = changed.here.iter().filter(|key| secrets.get(key).is_some());
            (rotated.cloned().collect(), changed.there)
        }
        _ => (Vec::new(), Vec::new()),
    };
    Ok(Seen {
        plan,
        status: after,
        suspend: aim.suspend,
        paused_by_us: aim.paused_by_us,
        held,
        next,
        drifted,
        lost,
        rotated,
    })
}

/// How long it is until what has failed is to be restarted. None: nothing has failed.
fn restart_after(
    aim: Aim<'_>,
    status: Option<&ConnectorStatus>,
    memory: &Memory,
    now: Instant,
) -> Option<Duration> {
    let status = status?;
    if !has_failed(status) {
        memory.restarts.well(aim.connector);
        return None;
    }
    let failure = Failure::of_all(status);
    let delay = |times| failure.delay(times);
    Some(memory.restarts.wait(aim.connector, delay, now))
}

/// Signs that a task failed between its records and their schemas.
const SCHEMAS: [&str; 4] = [
    "SerializationException",
    "RestClientException",
    "schemaregistry",
    "Avro",
];

/// Whether a restart would be in vain, since the task would not get its schemas.
async fn registry_is_silent(registry: Option<&Registry>, status: Option<&ConnectorStatus>) -> bool {
    let (Some(registry), Some(status)) = (registry, status) else {
        return false;
    };
    let about_schemas = |trace: &str| SCHEMAS.iter().any(|sign| trace.contains(sign));
    if !status.failures().flatten().any(about_schemas) {
        return false;
    }
    match registry.check(Freshness::Recent).await {
        // One that answers and refuses may refuse us alone: the task has credentials of its own.
        Err(error) if error.reason() == reason::REGISTRY_UNREACHABLE => {
            tracing::info!(
                error = error.sentence(),
                "a restart waits for the schema registry"
            );
            true
        }
        _ => false,
    }
}

/// Address of the registry that a connector's converters read: its own, or else the default one.
pub(super) fn registry_url<'a>(config: &'a Config, default: Option<&'a String>) -> Option<&'a str> {
    let own = [
        "value.converter.schema.registry.url",
        "key.converter.schema.registry.url",
    ]
    .into_iter()
    .find_map(|key| config.get(key));
    // A list is a list of equals. Credentials would show in an error.
    let first = own
        .and_then(|urls| urls.split(',').next())
        .or_else(|| default.map(String::as_str))?;
    (!first.contains('@')).then_some(first)
}
