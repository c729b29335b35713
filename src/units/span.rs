//! A length of time as people write it: `30s`, `5m`, `1h30m`, `7d`.

use std::{fmt, time::Duration};

/// A length of time in microseconds, never negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(i64);

/// Units, longest first, as Sigma's `timespan` and Prometheus spell them.
const UNITS: [(&str, i64); 6] = [
    ("w", 7 * 86_400_000_000),
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
];

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// From microseconds; a negative length becomes zero.
    pub const fn from_micros(micros: i64) -> Self {
        Self(if micros < 0 { 0 } else { micros })
    }

    /// From whole seconds.
    pub const fn from_secs(seconds: i64) -> Self {
        Self::from_micros(seconds.saturating_mul(1_000_000))
    }

    /// Microseconds.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Reads `90s`, `5m`, `1h30m`, `7d`, `500ms`. A number needs a unit.
    ///
    /// # Errors
    /// Says what is wrong and what may be written instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is not a length of time; write it like 30s, 5m, 1h30m or 7d");
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(wrong());
        }
        let mut total = 0i64;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
            let (number, tail) = rest.split_at(digits);
            let unit_end = tail
                .find(|c: char| c.is_ascii_digit())
                .unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(unit_end);
            let micros = UNITS
                .iter()
                .find(|(name, _)| *name == unit)
                .ok_or_else(wrong)?
                .1;
            let number: i64 = number.parse().map_err(|_| wrong())?;
            total = number
                .checked_mul(micros)
                .and_then(|micros| total.checked_add(micros))
                .ok_or_else(wrong)?;
            rest = tail;
        }
        Ok(Self(total))
    }

    /// The same length for the standard library and tokio.
    pub const fn to_std(self) -> Duration {
        Duration::from_micros(self.0 as u64)
    }
}

impl fmt::Display for Span {
    /// The shortest exact form from the units above; what is below a millisecond is left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 1_000 {
            return f.write_str("0s");
        }
        let mut rest = self.0;
        for (unit, micros) in UNITS {
            if rest >= micros && !(unit == "w" && rest % micros != 0) {
                write!(f, "{}{unit}", rest / micros)?;
                rest %= micros;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints() {
        for (text, seconds, printed) in [
            ("30s", 30, "30s"),
            ("5m", 300, "5m"),
            ("1h30m", 5_400, "1h30m"),
            ("90m", 5_400, "1h30m"),
            ("7d", 604_800, "1w"),
            ("8d", 691_200, "8d"),
        ] {
            let span = Span::parse(text).unwrap();
            assert_eq!(span, Span::from_secs(seconds), "{text}");
            assert_eq!(span.to_string(), printed, "{text}");
        }
        assert_eq!(Span::parse("500ms").unwrap().micros(), 500_000);
    }

    #[test]
    fn says_what_is_wrong() {
        for text in ["", "5", "m", "5 minutes", "-5m", "5x", "99999999999999999w"] {
            let error = Span::parse(text).unwrap_err();
            assert!(error.contains("write it like"), "{text}: {error}");
        }
    }
}
