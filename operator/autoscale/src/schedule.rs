//! Times that come again.

use std::time::Duration;

use cronexpr::{Crontab, FallbackTimezoneOption, ParseOptions, parse_crontab_with};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use snafu::Snafu;

/// Clocks are put forward and back by less.
const SHIFT: SignedDuration = SignedDuration::from_hours(3);

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
    /// By the clock on the wall: as if it were the one of UTC.
    begins: Crontab,
    timezone: TimeZone,
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
        let Ok(zone) = TimeZone::get(timezone) else {
            return TimezoneSnafu { timezone }.fail();
        };
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
        let begins = parse_crontab_with(&format!("{cron} UTC"), options).map_err(|error| {
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
        if begins.find_next(Timestamp::UNIX_EPOCH).is_err() {
            return Err(failed("there is no such day".to_owned()));
        }
        Ok(Self {
            text,
            begins,
            timezone: zone,
            lasts,
        })
    }

    /// Does this time lie in such a stretch? It begins at the time that the expression names, or when the clock has been put
    /// forward over it, and ends before the one that lies its length later.
    pub fn holds(&self, wall: Timestamp) -> bool {
        let Ok(lasts) = SignedDuration::try_from(self.lasts) else {
            return true;
        };
        let as_utc = |at: Timestamp| {
            let clock = at.to_zoned(self.timezone.clone()).datetime();
            clock.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
        };
        let from = wall
            .checked_sub(lasts)
            .ok()
            .and_then(|from| from.checked_sub(SHIFT).ok());
        let until = wall.checked_add(SHIFT).ok().and_then(as_utc);
        let (Some(mut from), Some(until)) = (from.and_then(as_utc), until) else {
            return false;
        };
        // At most as many as minutes in twice the shift, of which the last ones have not ended.
        while let Ok(begins) = self.begins.find_next(from) {
            if begins.timestamp() > until {
                return false;
            }
            let begun = begins.datetime().to_zoned(self.timezone.clone());
            let begun = begun.map(|begun| begun.timestamp());
            let holds = |begun: Timestamp| begun <= wall && wall.duration_since(begun) < lasts;
            if begun.is_ok_and(holds) {
                return true;
            }
            from = begins.timestamp();
        }
        false
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
        let always = Recurring::new("* * * * *", "UTC", minutes(168 * 60)).unwrap();
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
            // 2026-03-29 has no 02:30 there: after 01:59 comes 03:00. It begins half an hour later.
            (
                "before a time that is left out",
                &spring,
                "2026-03-29T01:15:00Z",
                false,
            ),
            (
                "after a time that is left out",
                &spring,
                "2026-03-29T01:45:00Z",
                true,
            ),
            ("its end", &spring, "2026-03-29T02:00:00Z", false),
            ("always", &always, "2026-03-29T02:00:00Z", true),
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
        assert!(refused("0 0 30 2 *", "UTC").ends_with("there is no such day"));
        let hour = refused("0 25 * * *", "UTC");
        assert!(hour.contains("25 * * *\" is no cron"), "{hour}");
        assert!(refused("0 9 * * *", "Mars/Olympus").contains("no time zone \"Mars/Olympus\""));
    }
}
