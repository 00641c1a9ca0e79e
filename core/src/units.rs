//! Durations as people write them: `500ms`, `10s`, `1h 30m`.

use std::time::Duration;

use jiff::SignedDuration;

use crate::{Error, Result};

/// Reads a duration such as `500ms`, `10s`, `1h30m` or `6h`.
///
/// # Errors
/// [`crate::ErrorKind::Input`] when it is not one, or is negative.
pub fn parse_duration(text: &str) -> Result<Duration> {
    let wrong = || {
        Error::input(format!("`{text}` is not a duration"))
            .remedy("Write a number and a unit, such as 500ms, 10s, 5m or 1h30m.")
    };
    let parsed: SignedDuration = text.trim().parse().map_err(|cause| wrong().because(cause))?;
    Duration::try_from(parsed).map_err(|cause| wrong().because(cause))
}

/// Whole milliseconds of a duration.
pub fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A duration for people: `1.2 s`, `35 ms`.
pub fn show_duration(duration: Duration) -> String {
    match milliseconds(duration) {
        below if below < 1_000 => format!("{below} ms"),
        below if below < 60_000 => format!("{:.1} s", duration.as_secs_f64()),
        below if below < 3_600_000 => with_rest(below / 60_000, "min", below / 1_000 % 60, "s"),
        more => with_rest(more / 3_600_000, "h", more / 60_000 % 60, "min"),
    }
}

fn with_rest(whole: u64, unit: &str, rest: u64, unit_of_rest: &str) -> String {
    if rest == 0 { format!("{whole} {unit}") } else { format!("{whole} {unit} {rest} {unit_of_rest}") }
}

/// A number of bytes for people: `1.5 GiB`.
#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
pub fn show_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        assert_eq!(parse_duration("10s").unwrap(), Duration::from_secs(10));
        assert_eq!(parse_duration("500ms").unwrap(), Duration::from_millis(500));
        assert_eq!(parse_duration("1h30m").unwrap(), Duration::from_mins(90));
        assert!(parse_duration("-3s").is_err());
        assert!(parse_duration("ten").is_err());
    }

    #[test]
    fn sizes_and_durations_are_shown_for_people() {
        assert_eq!(show_bytes(1536), "1.5 KiB");
        assert_eq!(show_bytes(12), "12 B");
        assert_eq!(show_duration(Duration::from_millis(1234)), "1.2 s");
        assert_eq!(show_duration(Duration::from_secs(125)), "2 min 5 s");
        assert_eq!(show_duration(Duration::from_hours(6)), "6 h");
    }
}
