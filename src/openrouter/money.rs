//! Reads amounts of USD exactly.

/// Reads a JSON number, or a JSON string that holds one, as USD: in nano-dollars (1e-9 USD), rounded half
/// away from zero. None where it is not a number, or more than fits (about nine billion dollars).
pub(super) fn nano_dollars(json: &str) -> Option<i64> {
    let text = json.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(json);
    match text.strip_prefix('-') {
        Some(text) => magnitude(text).map(|nanos| -nanos),
        None => magnitude(text),
    }
}

/// The same for a decimal without a sign.
fn magnitude(text: &str) -> Option<i64> {
    if let Some(nanos) = plain(text.as_bytes()) {
        return Some(nanos);
    }
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = || whole.bytes().chain(fraction.bytes()).map(|byte| u64::from(byte.wrapping_sub(b'0')));
    if whole.is_empty() || digits().any(|digit| digit > 9) {
        return None;
    }
    if digits().all(|digit| digit == 0) {
        return Some(0);
    }
    // So many digits stand before the point once it has moved to nano-dollars.
    let kept = i64::try_from(whole.len()).ok()? + i64::from(exponent) + 9;
    let mut nanos = 0_u64;
    for (at, digit) in (0_i64..).zip(digits()) {
        if at >= kept {
            // `kept` below zero means zeros between the point and the first digit: less than a half.
            let up = at == kept && digit >= 5;
            nanos += u64::from(up);
            break;
        }
        nanos = nanos.checked_mul(10)?.checked_add(digit)?;
    }
    let missing = kept - i64::try_from(whole.len() + fraction.len()).ok()?;
    if nanos > 0 && missing > 0 {
        nanos = nanos.checked_mul(10_u64.checked_pow(u32::try_from(missing).ok()?)?)?;
    }
    i64::try_from(nanos).ok()
}

/// The same for digits with a point among them at most, as nearly all are, which need neither rounding nor care.
fn plain(text: &[u8]) -> Option<i64> {
    let (mut nanos, mut places, mut is_fraction) = (0_i64, 0, false);
    if text.len() > 18 || !text.first()?.is_ascii_digit() {
        return None;
    }
    for byte in text {
        match byte {
            b'0'..=b'9' => {
                nanos = nanos * 10 + i64::from(byte - b'0');
                places += u32::from(is_fraction);
            }
            b'.' if !is_fraction => is_fraction = true,
            _ => return None,
        }
    }
    nanos.checked_mul(10_i64.pow(9_u32.checked_sub(places)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::nano_dollars;

    #[test]
    fn an_amount_is_exact_and_rounds_half_away_from_zero() {
        for (text, nanos) in [
            ("0", Some(0)),
            ("0.0", Some(0)),
            ("-0.0", Some(0)),
            ("1", Some(1_000_000_000)),
            ("0.0007", Some(700_000)),
            ("1.14e-4", Some(114_000)),
            ("1.14E-04", Some(114_000)),
            ("114e-6", Some(114_000)),
            ("1.5e+2", Some(150_000_000_000)),
            ("\"0.1\"", Some(100_000_000)),
            ("-0.1", Some(-100_000_000)),
            ("\"-0.1\"", Some(-100_000_000)),
            ("0.1234567894", Some(123_456_789)),
            ("0.1234567895", Some(123_456_790)),
            ("-0.1234567895", Some(-123_456_790)),
            ("0.9999999995", Some(1_000_000_000)),
            ("5e-10", Some(1)),
            ("4.999999e-10", Some(0)),
            ("9e-11", Some(0)),
            ("1e-400", Some(0)),
            ("0.00000000000000000000000000000000000000001", Some(0)),
            ("1000000.000000001", Some(1_000_000_000_000_001)),
            ("9223372036.854775807", Some(i64::MAX)),
            ("9223372036.854775808", None),
            ("1e30", None),
            ("1e2147483647", None),
            ("0e2147483647", Some(0)),
            ("99999999999999999999999999", None),
            ("--1", None),
            ("\"\"", None),
            ("\"", None),
            ("-", None),
            ("\"0.1.2\"", None),
            ("\"$1\"", None),
            ("null", None),
            ("true", None),
            ("{}", None),
        ] {
            assert_eq!(nano_dollars(text), nanos, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_amount_is_exact(nanos in 0_u64..=1_000_000_000_000_000, shift in 0_usize..30, below in 0_u8..10) {
            let plain = format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
            let nanos = i64::try_from(nanos).expect("fits");
            prop_assert_eq!(nano_dollars(&plain), Some(nanos));
            prop_assert_eq!(nano_dollars(&format!("-{plain}")), Some(-nanos));
            // The same number written with an exponent, however far the point is moved.
            let digits = format!("{nanos:0>30}");
            let (whole, fraction) = digits.split_at(29 - shift);
            let point = if fraction.is_empty() { "" } else { "." };
            let whole = if whole.is_empty() { "0" } else { whole };
            let moved = i64::try_from(fraction.len()).expect("fits") - 9;
            prop_assert_eq!(nano_dollars(&format!("{whole}{point}{fraction}e{moved}")), Some(nanos));
            // One more digit rounds half up.
            prop_assert_eq!(nano_dollars(&format!("{plain}{below}")), Some(nanos + i64::from(below >= 5)));
        }
    }
}
