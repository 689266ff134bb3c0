//! Times at which other bounds hold or nothing is changed, read from a spec. Pure.

use naru_api::{Duration, Scaling};
use naru_autoscale::{Recurring, Schedule, schedule};

use crate::controller::Error;

/// Other bounds at certain times.
pub fn schedules(scaling: &Scaling) -> Result<Vec<Schedule>, Error> {
    let each = scaling.schedules.iter().zip(0..);
    each.map(|(said, number)| {
        let when = recurring(&said.cron, &said.time_zone, &said.duration);
        Ok(Schedule {
            when: when.map_err(|error| invalid("schedules", number, &error))?,
            min_replicas: said.min_replicas,
            max_replicas: said.max_replicas,
        })
    })
    .collect()
}

/// Times at which nothing is changed.
pub fn freezes(scaling: &Scaling) -> Result<Vec<Recurring>, Error> {
    let each = scaling.freezes.iter().zip(0..);
    each.map(|(said, number)| {
        let when = recurring(&said.cron, &said.time_zone, &said.duration);
        when.map_err(|error| invalid("freezes", number, &error))
    })
    .collect()
}

/// Whether all of them can be read.
pub fn check(scaling: &Scaling) -> Result<(), Error> {
    schedules(scaling)?;
    freezes(scaling).map(drop)
}

fn recurring(cron: &str, time_zone: &str, lasts: &Duration) -> Result<Recurring, schedule::Error> {
    Recurring::new(
        cron,
        time_zone,
        std::time::Duration::from_millis(lasts.as_millis()),
    )
}

fn invalid(list: &str, number: usize, error: &schedule::Error) -> Error {
    let field = match error {
        schedule::Error::Cron { .. } => "cron",
        schedule::Error::Timezone { .. } => "timeZone",
    };
    Error::invalid(format!("scaling.{list}[{number}].{field}: {error}"))
}
