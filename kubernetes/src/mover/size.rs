//! Sizes as the API writes them: `20Gi`, `1500M`, `1e9`.

/// How many bytes a quantity is, rounded up; `None` for what is none.
pub(crate) fn bytes(quantity: &str) -> Option<u128> {
    let text = quantity.trim();
    let end = text.find(|it: char| !it.is_ascii_digit() && it != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (multiplier, divisor) = scale(suffix)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    let below = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?.checked_mul(divisor)?;
    Some(digits.checked_mul(multiplier)?.div_ceil(below))
}

/// What a suffix multiplies and divides by.
fn scale(suffix: &str) -> Option<(u128, u128)> {
    let power = |base: u128, exponent| base.checked_pow(exponent).map(|it| (it, 1));
    match suffix {
        "" => Some((1, 1)),
        "n" => Some((1, 1_000_000_000)),
        "u" => Some((1, 1_000_000)),
        "m" => Some((1, 1_000)),
        "k" => power(1000, 1),
        "M" => power(1000, 2),
        "G" => power(1000, 3),
        "T" => power(1000, 4),
        "P" => power(1000, 5),
        "E" => power(1000, 6),
        "Ki" => power(1024, 1),
        "Mi" => power(1024, 2),
        "Gi" => power(1024, 3),
        "Ti" => power(1024, 4),
        "Pi" => power(1024, 5),
        "Ei" => power(1024, 6),
        exponent => {
            let exponent = exponent.strip_prefix(['e', 'E'])?;
            match exponent.strip_prefix('-') {
                Some(exponent) => Some((1, 10_u128.checked_pow(exponent.parse().ok()?)?)),
                None => power(10, exponent.strip_prefix('+').unwrap_or(exponent).parse().ok()?),
            }
        }
    }
}

/// The largest of some quantities, as it was written.
pub(crate) fn largest<'a>(quantities: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    quantities.into_iter().filter(|it| bytes(it).is_some_and(|bytes| bytes > 0)).max_by_key(|it| bytes(it))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_the_api_writes_them() {
        let cases: [(&str, u128); 9] = [
            ("0", 0),
            ("1024", 1024),
            ("20Gi", 20 << 30),
            ("1.5Gi", 3 << 29),
            ("1500M", 1_500_000_000),
            ("1500m", 2),
            ("1e9", 1_000_000_000),
            ("2E", 2_000_000_000_000_000_000),
            ("1E+3", 1000),
        ];
        for (text, expected) in cases {
            assert_eq!(bytes(text), Some(expected), "{text}");
        }
        for text in ["", "Gi", "ten", "1Xi", "1e", "."] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }

    #[test]
    fn the_larger_size_wins_and_one_that_says_nothing_does_not_count() {
        assert_eq!(largest(["1Gi", "1G"]), Some("1Gi"));
        assert_eq!(largest(["0", "300Mi"]), Some("300Mi"));
        assert_eq!(largest(["0", "?"]), None);
    }
}
