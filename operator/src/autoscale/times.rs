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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_time_that_there_cannot_be_is_named_by_its_field() {
        let problem = |list: &str, cron: &str, time_zone: &str| {
            let good = json!({ "cron": "0 8 * * MON-FRI", "duration": "1h", "minReplicas": 2 });
            let said = json!({ "cron": cron, "timeZone": time_zone, "duration": "1h", "maxReplicas": 2 });
            let scaling = json!({ "schedules": [good.clone()], "freezes": [good] });
            let mut scaling: serde_json::Value = scaling;
            scaling[list].as_array_mut().unwrap().push(said);
            let scaling: Scaling = serde_json::from_value(scaling).unwrap();
            check(&scaling).err().map(|error| error.to_string())
        };
        assert_eq!(problem("schedules", "*/5 0 1 1 *", "Asia/Seoul"), None);
        for (list, cron, time_zone, expected) in [
            ("schedules", "0 25 * * *", "UTC", "scaling.schedules[1].cron: "),
            ("freezes", "0 8 * * SON", "UTC", "scaling.freezes[1].cron: "),
            (
                "freezes",
                "0 8 * * *",
                "Asia/Seul",
                "scaling.freezes[1].timeZone: there is no time zone \"Asia/Seul\"",
            ),
        ] {
            let problem = problem(list, cron, time_zone).unwrap();
            assert!(problem.contains(expected), "{problem}");
        }
    }
}
