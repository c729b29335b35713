//! Time intervals in Alertmanager's words: times of day, weekdays, days, months, years, location.

use chrono::{DateTime, Datelike as _, Days, Months, NaiveDate, Timelike as _, Utc};
use chrono_tz::Tz;

use crate::units::Time;

const WEEKDAYS: [&str; 7] = [
    "sunday",
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
];
const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// From the first to the last number, both within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    first: i32,
    last: i32,
}

/// A stretch of the day in minutes from midnight; the last minute is not within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayTime {
    from: u32,
    until: u32,
}

/// One stretch of time: all parts that are given must hold, and of each part one of its ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interval {
    /// Times of day.
    pub times: Vec<DayTime>,
    /// Sunday is 0.
    pub weekdays: Vec<Range>,
    /// From 1; negative ones count from the month's end, -1 is its last day.
    pub days_of_month: Vec<Range>,
    /// January is 1.
    pub months: Vec<Range>,
    /// As people count them.
    pub years: Vec<Range>,
    /// Whose clocks are meant.
    pub location: Tz,
}

/// A named set of intervals; a moment is within it when it is within one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeInterval {
    /// What routes call it.
    pub name: Box<str>,
    /// The stretches.
    pub intervals: Vec<Interval>,
}

impl Default for Interval {
    /// All of time, by UTC.
    fn default() -> Self {
        Self {
            times: Vec::new(),
            weekdays: Vec::new(),
            days_of_month: Vec::new(),
            months: Vec::new(),
            years: Vec::new(),
            location: Tz::UTC,
        }
    }
}

impl TimeInterval {
    /// Whether a moment is within it.
    pub fn contains(&self, time: Time) -> bool {
        self.intervals
            .iter()
            .any(|interval| interval.contains(time))
    }
}

impl Interval {
    /// Whether a moment is within it.
    pub fn contains(&self, time: Time) -> bool {
        let Some(utc) = DateTime::<Utc>::from_timestamp_micros(time.micros()) else {
            return false;
        };
        let local = utc.with_timezone(&self.location);
        let minute = local.hour() * 60 + local.minute();
        let any = |ranges: &[Range], value: i32| {
            ranges.is_empty() || ranges.iter().any(|range| range.contains(value))
        };
        let is_time = self.times.is_empty()
            || self
                .times
                .iter()
                .any(|times| times.from <= minute && minute < times.until);
        is_time
            && any(
                &self.weekdays,
                local.weekday().num_days_from_sunday() as i32,
            )
            && self.is_day(local.date_naive())
            && any(&self.months, local.month() as i32)
            && any(&self.years, local.year())
    }

    fn is_day(&self, date: NaiveDate) -> bool {
        if self.days_of_month.is_empty() {
            return true;
        }
        let last = date
            .with_day(1)
            .and_then(|first| first.checked_add_months(Months::new(1)))
            .and_then(|next| next.checked_sub_days(Days::new(1)))
            .map_or(31, |last| last.day() as i32);
        let from_start = |day: i32| if day < 0 { last + day + 1 } else { day };
        self.days_of_month.iter().any(|range| {
            let (from, until) = (from_start(range.first), from_start(range.last));
            from <= last && from <= date.day() as i32 && date.day() as i32 <= until
        })
    }
}

impl Range {
    const fn contains(self, value: i32) -> bool {
        self.first <= value && value <= self.last
    }

    fn parse(text: &str, read: impl Fn(&str) -> Result<i32, String>) -> Result<Self, String> {
        let text = text.trim();
        let (first, last) = text.split_once(':').unwrap_or((text, text));
        let (first, last) = (read(first.trim())?, read(last.trim())?);
        Ok(Self { first, last })
    }

    fn in_order(self, text: &str) -> Result<Self, String> {
        if self.first > self.last {
            return Err(format!("`{text}` ends before it begins; write two ranges"));
        }
        Ok(self)
    }

    /// `monday`, `monday:friday`.
    ///
    /// # Errors
    /// Says what is wrong and how it is written.
    pub fn weekdays(text: &str) -> Result<Self, String> {
        let read = |name: &str| named(name, &WEEKDAYS, 0, "weekday", "monday:friday");
        Self::parse(text, read)?.in_order(text)
    }

    /// `may`, `1:3`, `january:march`.
    ///
    /// # Errors
    /// Says what is wrong and how it is written.
    pub fn months(text: &str) -> Result<Self, String> {
        let read = |name: &str| match name.parse() {
            Ok(number @ 1..=12) => Ok(number),
            _ => named(name, &MONTHS, 1, "month", "january:march or 1:3"),
        };
        Self::parse(text, read)?.in_order(text)
    }

    /// `1`, `1:5`, `-3:-1`.
    ///
    /// # Errors
    /// Says what is wrong and how it is written.
    pub fn days_of_month(text: &str) -> Result<Self, String> {
        let read = |number: &str| match number.parse() {
            Ok(day @ (-31..=-1 | 1..=31)) => Ok(day),
            _ => Err(format!(
                "`{number}` is no day of a month; write 1 to 31, or -1 to -31 from its end"
            )),
        };
        let range = Self::parse(text, read)?;
        if range.first < 0 && range.last > 0 {
            return Err(format!(
                "`{text}` begins at the month's end and ends at its start"
            ));
        }
        if range.first > 0 && range.last < 0 {
            return Ok(range);
        }
        range.in_order(text)
    }

    /// `2026`, `2026:2028`.
    ///
    /// # Errors
    /// Says what is wrong and how it is written.
    pub fn years(text: &str) -> Result<Self, String> {
        let read = |number: &str| match number.parse() {
            Ok(year @ 1..=9999) => Ok(year),
            _ => Err(format!(
                "`{number}` is no year; write it like 2026 or 2026:2028"
            )),
        };
        Self::parse(text, read)?.in_order(text)
    }
}

fn named(name: &str, names: &[&str], first: i32, what: &str, like: &str) -> Result<i32, String> {
    let lower = name.to_lowercase();
    (first..)
        .zip(names)
        .find(|(_, own)| **own == lower)
        .map(|(number, _)| number)
        .ok_or_else(|| format!("`{name}` is no {what}; write it like {like}"))
}

impl DayTime {
    /// From and until, each `HH:MM`; `24:00` is the day's end.
    ///
    /// # Errors
    /// Says what is wrong and how it is written.
    pub fn parse(from: &str, until: &str) -> Result<Self, String> {
        let (start, end) = (minutes(from)?, minutes(until)?);
        if start >= end {
            return Err(format!(
                "{until} is not after {from}; over midnight, write one until 24:00 and one from 00:00"
            ));
        }
        Ok(Self {
            from: start,
            until: end,
        })
    }
}

fn minutes(text: &str) -> Result<u32, String> {
    let wrong =
        || format!("`{text}` is no time of day; write it like '09:30', 24:00 is the day's end");
    let (hours, minutes) = text.trim().split_once(':').ok_or_else(wrong)?;
    let number = |text: &str| {
        let is_plain = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u32>().ok().filter(|_| is_plain)
    };
    match (number(hours), number(minutes)) {
        (Some(24), Some(0)) => Ok(24 * 60),
        (Some(hours @ 0..=23), Some(minutes @ 0..=59)) => Ok(hours * 60 + minutes),
        _ => Err(wrong()),
    }
}

/// `Europe/Berlin`, as the IANA database has it.
///
/// # Errors
/// Says that there is no such place, and how places are written.
pub fn location(text: &str) -> Result<Tz, String> {
    if text == "Local" {
        return Err("`Local` depends on the machine; name the zone, like Europe/Berlin".to_owned());
    }
    text.parse()
        .map_err(|_| format!("`{text}` is no time zone; write it like Europe/Berlin or UTC"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Time {
        Time::parse(text).unwrap()
    }

    fn office() -> Interval {
        Interval {
            times: vec![DayTime::parse("09:00", "17:00").unwrap()],
            weekdays: vec![Range::weekdays("Monday:friday").unwrap()],
            location: location("Europe/Berlin").unwrap(),
            ..Interval::default()
        }
    }

    #[test]
    fn follows_the_clocks_of_its_place() {
        for (time, within) in [
            ("2026-11-23T07:59:59Z", false), // 08:59 on a Monday in winter
            ("2026-11-23T08:00:00Z", true),
            ("2026-11-23T15:59:59Z", true),
            ("2026-11-23T16:00:00Z", false),
            ("2026-07-20T07:00:00Z", true),  // summer time
            ("2026-11-22T10:00:00Z", false), // Sunday
            ("2026-11-21T10:00:00Z", false),
        ] {
            assert_eq!(office().contains(at(time)), within, "{time}");
        }
    }

    #[test]
    fn days_count_from_either_end_of_the_month() {
        let days = |text: &str| Interval {
            days_of_month: vec![Range::days_of_month(text).unwrap()],
            ..Interval::default()
        };
        for (range, time, within) in [
            ("-1", "2026-02-28T12:00:00Z", true),
            ("-1", "2028-02-28T12:00:00Z", false),
            ("-3:-1", "2026-11-28T00:00:00Z", true),
            ("1:-1", "2026-11-30T00:00:00Z", true),
            ("30:31", "2026-02-28T00:00:00Z", false),
            ("28:31", "2026-02-28T00:00:00Z", true),
            ("-31:-30", "2026-02-01T00:00:00Z", false),
        ] {
            assert_eq!(days(range).contains(at(time)), within, "{range} {time}");
        }
    }

    #[test]
    fn months_and_years_and_everything() {
        let interval = Interval {
            months: vec![
                Range::months("january:march").unwrap(),
                Range::months("11").unwrap(),
            ],
            years: vec![Range::years("2026:2027").unwrap()],
            ..Interval::default()
        };
        assert!(interval.contains(at("2026-11-23T00:00:00Z")));
        assert!(!interval.contains(at("2026-10-23T00:00:00Z")));
        assert!(!interval.contains(at("2028-01-23T00:00:00Z")));
        assert!(Interval::default().contains(at("2026-10-23T00:00:00Z")));
        assert!(!Interval::default().contains(Time::MIN));
    }

    #[test]
    fn says_what_is_wrong() {
        let told = |result: Result<Range, String>| result.unwrap_err();
        assert!(told(Range::weekdays("funday")).contains("no weekday"));
        assert!(told(Range::weekdays("friday:monday")).contains("ends before it begins"));
        assert!(told(Range::months("13")).contains("no month"));
        assert!(told(Range::days_of_month("0")).contains("1 to 31"));
        assert!(told(Range::days_of_month("-1:3")).contains("month's end"));
        assert!(told(Range::years("soon")).contains("no year"));
        assert!(
            DayTime::parse("17:00", "09:00")
                .unwrap_err()
                .contains("over midnight")
        );
        for wrong in ["9:00", "24:01", "12", "12:60", "+1:00"] {
            assert!(
                DayTime::parse(wrong, "24:00")
                    .unwrap_err()
                    .contains("no time of day"),
                "{wrong}"
            );
        }
        assert!(location("Berlin").unwrap_err().contains("Europe/Berlin"));
        assert!(
            location("Local")
                .unwrap_err()
                .contains("depends on the machine")
        );
    }
}
