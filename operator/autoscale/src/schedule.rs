//! Times that come again.

use std::time::Duration;

use cronexpr::{Crontab, FallbackTimezoneOption, ParseOptions, parse_crontab_with};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use snafu::Snafu;

/// Why a time cannot come again.
#[derive(Debug, Snafu)]
pub enum Error {
    #[snafu(display(
        "{cron:?} is no cron expression of five fields (minute, hour, day of month, month, day of week): {cause}"
    ))]
    Cron { cron: String, cause: String },

    #[snafu(display(
        "there is no time zone {timezone:?}; expected a name such as \"UTC\" or \"Asia/Seoul\""
    ))]
    Timezone { timezone: String },
}

/// Other bounds at times that come again.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    pub when: Recurring,
    /// None: as at other times.
    pub min_replicas: Option<i32>,
    /// None: as at other times.
    pub max_replicas: Option<i32>,
}

/// A stretch of time that comes again: it begins whenever a cron expression says, and lasts for a while.
#[derive(Clone, Debug)]
pub struct Recurring {
    text: String,
    begins: Crontab,
    lasts: Duration,
}

impl PartialEq for Recurring {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.lasts == other.lasts
    }
}

impl Recurring {
    /// `cron` has five fields: minute, hour, day of month, month, day of week; they are read in this time zone.
    pub fn new(cron: &str, timezone: &str, lasts: Duration) -> Result<Self, Error> {
        if TimeZone::get(timezone).is_err() {
            return TimezoneSnafu { timezone }.fail();
        }
        let failed = |cause: String| Error::Cron {
            cron: cron.to_owned(),
            cause,
        };
        let fields = cron.split_ascii_whitespace().count();
        if fields != 5 {
            return Err(failed(format!("it has {fields}")));
        }
        let text = format!("{cron} {timezone}");
        let mut options = ParseOptions::default();
        options.fallback_timezone_option = FallbackTimezoneOption::None;
        let begins = parse_crontab_with(&text, options).map_err(|error| {
            // The first lines draw where it is.
            let cause = error.to_string();
            failed(
                cause
                    .lines()
                    .last()
                    .unwrap_or(&cause)
                    .trim()
                    .trim_start_matches('^')
                    .trim()
                    .to_owned(),
            )
        })?;
        Ok(Self { text, begins, lasts })
    }

    /// Does this time lie in such a stretch? It begins at the time that the expression names, and ends before the one
    /// that lies its length later.
    pub fn holds(&self, wall: Timestamp) -> bool {
        let Ok(lasts) = SignedDuration::try_from(self.lasts) else {
            return true;
        };
        let begun = wall
            .checked_sub(lasts)
            .ok()
            .and_then(|after| self.begins.find_next(after).ok());
        begun.is_some_and(|begun| begun.timestamp() <= wall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_begins_when_the_expression_says_and_lasts_for_its_length() {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        let weekdays = Recurring::new("0 9 * * MON-FRI", "Asia/Seoul", minutes(8 * 60)).unwrap();
        let spring = Recurring::new("30 2 * * *", "Europe/Berlin", minutes(30)).unwrap();
        let cases = [
            // Seoul is nine hours ahead; 2026-03-02 is a Monday.
            ("before", &weekdays, "2026-03-01T23:59:59Z", false),
            ("its first moment", &weekdays, "2026-03-02T00:00:00Z", true),
            ("its last", &weekdays, "2026-03-02T07:59:59Z", true),
            ("after", &weekdays, "2026-03-02T08:00:00Z", false),
            ("on a Saturday", &weekdays, "2026-03-07T03:00:00Z", false),
            ("in winter", &spring, "2026-03-28T01:45:00Z", true),
            ("in summer", &spring, "2026-03-30T00:45:00Z", true),
            ("an hour later in summer", &spring, "2026-03-30T01:45:00Z", false),
        ];
        for (case, recurring, wall, expected) in cases {
            assert_eq!(recurring.holds(wall.parse().unwrap()), expected, "{case}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_in_words() {
        let refused = |cron, timezone| {
            Recurring::new(cron, timezone, Duration::from_secs(60))
                .unwrap_err()
                .to_string()
        };
        let missing = refused("0 9 * *", "UTC");
        assert!(
            missing.starts_with("\"0 9 * *\" is no cron expression") && missing.ends_with("it has 4"),
            "{missing}"
        );
        let hour = refused("0 25 * * *", "UTC");
        assert!(hour.contains("25 * * *\" is no cron"), "{hour}");
        assert!(refused("0 9 * * *", "Mars/Olympus").contains("no time zone \"Mars/Olympus\""));
    }
}
