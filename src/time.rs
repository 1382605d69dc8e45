//! Event time and intervals.
//!
//! Event time is an `i64` of microseconds since 1970-01-01 UTC, everywhere. It never comes from a clock here:
//! it is data. Intervals are written in job files as `"250ms"`, `"10s"`, `"5m"`, `"1h"`, `"2d"`.

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;

/// Microseconds since 1970-01-01 UTC, of the event and not of its arrival.
pub type EventTime = i64;

/// Before every event: the watermark of a partition that has not spoken yet.
pub const BEFORE_ALL: EventTime = i64::MIN;

/// After every event: the watermark of a partition that has ended.
pub const AFTER_ALL: EventTime = i64::MAX;

/// A length of time in microseconds; never negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interval(i64);

const UNITS: [(&str, i64); 7] = [
    ("us", 1),
    ("ms", 1_000),
    ("s", 1_000_000),
    ("m", 60_000_000),
    ("h", 3_600_000_000),
    ("d", 86_400_000_000),
    ("w", 604_800_000_000),
];

impl Interval {
    /// Nothing.
    pub const ZERO: Interval = Interval(0);

    /// An interval of so many microseconds.
    pub const fn from_micros(micros: i64) -> Interval {
        assert!(micros >= 0, "an interval is not negative");
        Interval(micros)
    }

    /// An interval of so many milliseconds.
    pub const fn from_millis(millis: i64) -> Interval {
        Interval::from_micros(millis * 1_000)
    }

    /// An interval of so many seconds.
    pub const fn from_secs(seconds: i64) -> Interval {
        Interval::from_micros(seconds * 1_000_000)
    }

    /// Its length in microseconds.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Whether it has no length.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The same length for the standard library, which waits by it.
    pub const fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_micros(self.0 as u64)
    }

    /// Reads `"250ms"`, `"1.5s"`, `"2m30s"`; the error says what would be right.
    ///
    /// ```
    /// use eagre::time::Interval;
    /// assert_eq!(Interval::parse("2m30s"), Ok(Interval::from_secs(150)));
    /// assert!(Interval::parse("10 parsecs").is_err());
    /// ```
    pub fn parse(text: &str) -> Result<Interval, String> {
        let wrong =
            || format!("`{text}` is not an interval; write for example \"250ms\", \"10s\", \"5m\", \"1h\" or \"2d\"");
        let mut rest = text.trim();
        if rest == "0" {
            return Ok(Interval::ZERO);
        }
        if rest.is_empty() {
            return Err(wrong());
        }
        let mut micros = 0f64;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
            let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
            let unit = rest[digits..].find(|c: char| !c.is_ascii_alphabetic()).map_or(rest.len(), |n| digits + n);
            let (_, scale) = UNITS.iter().find(|(name, _)| *name == &rest[digits..unit]).ok_or_else(wrong)?;
            micros += number * *scale as f64;
            rest = rest[unit..].trim_start();
        }
        if micros > 9e15 {
            return Err(format!("`{text}` is longer than 285 years"));
        }
        Ok(Interval(micros.round() as i64))
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.0;
        for (name, scale) in UNITS.iter().rev().filter(|(name, _)| *name != "w") {
            if rest >= *scale {
                write!(f, "{}{name}", rest / scale)?;
                rest %= scale;
            }
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Interval {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Interval;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an interval such as \"10s\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Interval, E> {
                Interval::parse(text).map_err(E::custom)
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Interval, E> {
                Err(E::custom(format!("{number} has no unit; write for example \"{number}s\" or \"{number}ms\"")))
            }
        }
        from.deserialize_any(Text)
    }
}

impl Serialize for Interval {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl JsonSchema for Interval {
    fn schema_name() -> Cow<'static, str> {
        "Interval".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "description": "A length of time: 250ms, 10s, 5m, 1h, 2d.",
            "pattern": "^([0-9.]+(us|ms|s|m|h|d|w) ?)+$|^0$", "examples": ["10s", "250ms", "1h"] })
    }
}

/// A point in time, written in job files as RFC 3339 text.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct Start(pub EventTime);

impl TryFrom<String> for Start {
    type Error = String;

    fn try_from(text: String) -> Result<Start, String> {
        parse(&text).map(Start)
    }
}

/// The greatest point of the grid `offset + k * step` that is not after `time`.
pub fn floor_to(time: EventTime, step: i64, offset: i64) -> EventTime {
    time.saturating_sub((time.wrapping_sub(offset)).rem_euclid(step))
}

/// Writes a time as RFC 3339 in UTC, with as many decimals as it has (none, 3 or 6).
///
/// ```
/// assert_eq!(eagre::time::format(1_767_225_600_407_000), "2026-01-01T00:00:00.407Z");
/// ```
pub fn format(time: EventTime) -> String {
    let mut text = String::with_capacity(27);
    write_to(&mut text, time);
    text
}

/// Appends what [`format()`] gives; times outside the years 1 to 9999 are written as `MIN` or `MAX`.
pub fn write_to(text: &mut String, time: EventTime) {
    let micros = time.rem_euclid(1_000_000);
    let seconds = time.div_euclid(1_000_000);
    if !(-62_135_596_800..=253_402_300_799).contains(&seconds) {
        text.push_str(if time < 0 { "MIN" } else { "MAX" });
        return;
    }
    let (year, month, day) = civil(seconds.div_euclid(86_400));
    let second = seconds.rem_euclid(86_400);
    // Digit by digit: this is written for every row of every sink, and `write!` goes through the formatting machinery.
    let mut written = *b"0000-00-00T00:00:00";
    write_digits(&mut written[0..4], year);
    write_digits(&mut written[5..7], month);
    write_digits(&mut written[8..10], day);
    write_digits(&mut written[11..13], second / 3_600);
    write_digits(&mut written[14..16], second / 60 % 60);
    write_digits(&mut written[17..19], second % 60);
    text.push_str(std::str::from_utf8(&written).expect("digits are ASCII"));
    write_fraction(text, micros);
}

/// Appends the decimals of a second, as many as it has, and the `Z`.
fn write_fraction(text: &mut String, micros: i64) {
    let mut written = *b".000000Z";
    write_digits(&mut written[1..7], micros);
    let written = match (micros, micros % 1_000) {
        (0, _) => "Z",
        (_, 0) => {
            written[4] = b'Z';
            std::str::from_utf8(&written[..5]).expect("digits are ASCII")
        }
        _ => std::str::from_utf8(&written).expect("digits are ASCII"),
    };
    text.push_str(written);
}

/// The text of the last time that was written: the next is often the same, or of the same second.
#[derive(Clone, Debug, Default)]
pub struct TimeText {
    time: EventTime,
    text: String,
}

/// How long the text of a time is before the decimals of its second.
const WHOLE_SECONDS: usize = 19;

impl TimeText {
    /// What [`format()`] gives.
    pub fn of(&mut self, time: EventTime) -> &str {
        let known = self.text.len() > WHOLE_SECONDS;
        if known && time.div_euclid(1_000_000) == self.time.div_euclid(1_000_000) {
            if time != self.time {
                self.text.truncate(WHOLE_SECONDS);
                write_fraction(&mut self.text, time.rem_euclid(1_000_000));
            }
        } else {
            self.text.clear();
            write_to(&mut self.text, time);
        }
        self.time = time;
        &self.text
    }
}

/// Fills a place with a number, zeros in front.
fn write_digits(place: &mut [u8], mut number: i64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Reads RFC 3339 text (`2026-01-01T00:00:00.5Z`, an offset, or a space for the `T`); without an offset it is UTC.
pub fn parse(text: &str) -> Result<EventTime, String> {
    match plain(text.as_bytes()) {
        Some(time) => Ok(time),
        None => parse_any(text),
    }
}

/// What most texts are: `2026-01-01T00:00:00`, with up to nine decimals and `Z` or an offset behind it. Anything else
/// may be a time, too.
fn plain(text: &[u8]) -> Option<EventTime> {
    let (day, clock) = (text.get(..10)?, text.get(11..19)?);
    let marks = [day[4], day[7], clock[2], clock[5]];
    if marks != *b"--::" || !matches!(text[10], b'T' | b' ') {
        return None;
    }
    let (year, month, day) = (digits(&day[..4])?, digits(&day[5..7])?, digits(&day[8..])?);
    let (hour, minute, second) = (digits(&clock[..2])?, digits(&clock[3..5])?, digits(&clock[6..])?);
    // At the ends of what jiff takes, it decides.
    if !(1..=9998).contains(&year) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days(year, month, day)?;
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second;
    let (micros, zone) = decimals(&text[19..])?;
    let offset = match zone {
        [] | [b'Z'] => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (digits(&[*h1, *h2])?, digits(&[*m1, *m2])?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            (hours * 3_600 + minutes * 60) * if *sign == b'-' { -1 } else { 1 }
        }
        _ => return None,
    };
    // Nanoseconds before 1970 are cut the other way.
    let exact = text.len() - 19 - zone.len() <= ".000000".len();
    (exact || seconds >= 2 * 86_400).then_some((seconds - offset) * 1_000_000 + micros)
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0')))
}

/// Microseconds, and what is behind them.
fn decimals(text: &[u8]) -> Option<(i64, &[u8])> {
    let [b'.', text @ ..] = text else { return Some((0, text)) };
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=9).contains(&count) {
        return None;
    }
    let micros = digits(&text[..count.min(6)])? * 10i64.pow(6 - count.min(6) as u32);
    Some((micros, &text[count..]))
}

/// Days from 1970-01-01 to a day that there is (Howard Hinnant's `days_from_civil`).
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=length).contains(&day) {
        return None;
    }
    let year = year - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

fn parse_any(text: &str) -> Result<EventTime, String> {
    let text = text.trim();
    text.parse::<Timestamp>()
        .or_else(|_| format!("{text}Z").parse())
        .or_else(|_| format!("{text}T00:00:00Z").parse())
        .map(|t| t.as_microsecond())
        .map_err(|_| format!("`{text}` is not a time; write it as 2026-01-31T12:00:00Z"))
}

/// Days since 1970-01-01 to year, month, day (Howard Hinnant's `civil_from_days`).
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_read_and_write() {
        for (text, micros) in
            [("250ms", 250_000), ("1.5s", 1_500_000), ("2m30s", 150_000_000), ("0", 0), ("1d", 86_400_000_000)]
        {
            assert_eq!(Interval::parse(text).map(Interval::micros), Ok(micros), "{text}");
        }
        for text in ["", "10", "s", "10x", "1..2s", "-5s", "999999d"] {
            assert!(Interval::parse(text).is_err(), "{text}");
        }
        for micros in [0, 1, 1_000, 61_000_000, 90_061_001_001] {
            let interval = Interval(micros);
            assert_eq!(Interval::parse(&interval.to_string()), Ok(interval));
        }
    }

    /// What is plain, jiff reads as well.
    fn check_plain(text: &str) {
        if let Some(time) = plain(text.as_bytes()) {
            assert_eq!(parse_any(text), Ok(time), "{text}");
        }
    }

    #[test]
    fn times_agree_with_jiff() {
        for seconds in (-62_000_000_000i64..250_000_000_000).step_by(7_777_777_777) {
            for micros in [0, 500_000, 1] {
                let time = seconds * 1_000_000 + micros;
                assert_eq!(parse(&format(time)), Ok(time), "{}", format(time));
            }
        }
        for year in ["0000", "0001", "1900", "1969", "1970", "2000", "2023", "2024", "9998", "9999", "20x4"] {
            for day in
                ["01-01", "01-31", "02-28", "02-29", "02-30", "04-31", "06-30", "12-31", "13-01", "00-01", "03-00"]
            {
                for clock in ["00:00:00", "23:59:59", "23:59:60", "24:00:00", "12:60:00", "12.30.00"] {
                    check_plain(&format!("{year}-{day}T{clock}"));
                    check_plain(&format!("{year}-{day} {clock}.999999999+01:00"));
                }
            }
        }
        for end in [
            "",
            "Z",
            "z",
            ".5Z",
            ".123456Z",
            ".1234567",
            ".123456789-23:59",
            ".1234567891Z",
            ".Z",
            "+24:00",
            "-00:00",
            "+01",
            "+0100",
            "+01:60",
            "+1x:00",
            " Z",
            "[UTC]",
            "Z[UTC]",
            ",5Z",
        ] {
            for day in ["2026-01-31T12:30:59", "1969-12-31T23:59:59", "1970-01-01t00:00:00", "1970-01-02T00:00:00"] {
                check_plain(&format!("{day}{end}"));
            }
        }
        assert_eq!(parse("2026-01-01 00:00:00"), parse("2026-01-01"));
        assert_eq!(format(AFTER_ALL), "MAX");
        assert!(parse("yesterday").is_err());
    }

    #[test]
    fn the_text_of_the_last_time_is_never_another_times() {
        let mut text = TimeText::default();
        let second = 1_767_225_600_000_000;
        for time in [second, second + 1, second + 1, second + 407_000, second, AFTER_ALL, AFTER_ALL, -1, 0, second] {
            assert_eq!(text.of(time), format(time));
        }
    }

    #[test]
    fn grids_hold_before_1970_too() {
        assert_eq!(floor_to(-1, 10, 0), -10);
        assert_eq!(floor_to(25, 10, 3), 23);
        assert_eq!(floor_to(30, 10, 0), 30);
    }
}
