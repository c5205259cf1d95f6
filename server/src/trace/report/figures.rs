//! Numbers, times and other people's words, as a report writes them.
//!
//! INVARIANT: a chance is never written smaller than it is; what is no number is said to be unknown.

use jiff::{Timestamp, tz::TimeZone};

/// What is written for a figure that is not a number, or not a finite one.
const UNKNOWN: &str = "not known";
/// From here on a figure is written with an exponent, so that a broken one fills no page.
const TOO_LONG: f64 = 1e9;
/// Below this chances are not told apart: `f64` itself ends soon after.
const LEAST_CHANCE: f64 = 1e-300;

/// A figure with so many decimals.
pub(super) fn figure(x: f64, decimals: usize) -> String {
    if !x.is_finite() {
        UNKNOWN.to_owned()
    } else if x.abs() >= TOO_LONG {
        format!("{x:.2e}")
    } else {
        format!("{x:.decimals$}")
    }
}

/// A duration or a moment, seconds.
pub(super) fn seconds(s: f64) -> String {
    if s.is_finite() { format!("{} s", figure(s, 2)) } else { UNKNOWN.to_owned() }
}

/// Milliseconds as seconds.
pub(super) fn seconds_of_ms(ms: u64) -> String {
    format!("{}.{:03} s", count(ms / 1000), ms % 1000)
}

/// A chance such as `1.2e-40`: two digits, rounded up.
pub(super) fn chance(p: f64) -> String {
    if p.is_nan() || p < 0.0 {
        return UNKNOWN.to_owned();
    }
    if p >= 1.0 {
        return "1".to_owned();
    }
    if p < LEAST_CHANCE {
        return "below 1e-300".to_owned();
    }
    let near = format!("{p:.1e}");
    let told = if near.parse::<f64>().is_ok_and(|near| near < p) {
        next_above(&near).unwrap_or(near)
    } else {
        near
    };
    match told.replace(".0e", "e").as_str() {
        "1e0" => "1".to_owned(),
        told => told.to_owned(),
    }
}

/// The next number of two digits above one such as `1.2e-40`.
fn next_above(told: &str) -> Option<String> {
    let (digits, exponent) = told.split_once('e')?;
    let tenths: u32 = digits.replace('.', "").parse().ok()?;
    let exponent: i32 = exponent.parse().ok()?;
    Some(match tenths + 1 {
        100.. => format!("1.0e{}", exponent + 1),
        tenths => format!("{}.{}e{exponent}", tenths / 10, tenths % 10),
    })
}

/// The end of a sentence that says how likely something is at most.
pub(super) fn at_most(p: f64) -> String {
    let told = chance(p);
    if told == UNKNOWN || told.starts_with("below") { told } else { format!("at most {told}") }
}

/// A whole number, its thousands set apart.
pub(super) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut told = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            told.push(',');
        }
        told.push(digit);
    }
    told
}

/// So many of something.
pub(super) fn counted(n: u64, one: &str, more: &str) -> String {
    format!("{} {}", count(n), if n == 1 { one } else { more })
}

/// A length as the platform counts, for [`count`].
pub(super) fn wide(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// An instant, milliseconds since 1970, to the second.
pub(super) fn utc(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map_or_else(
        |_| "a time outside the calendar".to_owned(),
        |at| {
            let at = at.to_zoned(TimeZone::UTC);
            at.strftime("%-d %b %Y %H:%M:%S UTC").to_string()
        },
    )
}

/// Begins a piece whose direction does not reach beyond it.
pub(super) const ISOLATE: char = '\u{2068}';
/// Ends it.
pub(super) const END_ISOLATE: char = '\u{2069}';

/// Words that come from a person or another program: on one line, with nothing in them that turns the
/// text around them or is not seen; `not given` where there are none.
pub(super) fn given(text: &str) -> String {
    let cleaned: String = text
        .chars()
        .map(|c| match c {
            c if c.is_control() => ' ',
            // Marks of direction, joiners, line separators, tags: not seen, and they move what is.
            '\u{ad}'
            | '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}' => '\u{fffd}',
            c => c,
        })
        .collect();
    let cleaned = cleaned.split_whitespace().collect::<Vec<_>>().join(" ");
    if cleaned.is_empty() {
        "not given".to_owned()
    } else if cleaned.chars().any(|c| c >= '\u{590}') {
        // It may be written from right to left.
        format!("{ISOLATE}{cleaned}{END_ISOLATE}")
    } else {
        cleaned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chance_has_two_digits_and_is_rounded_up() {
        for (p, told) in [
            (1.2e-40, "1.2e-40"),
            (1.201e-40, "1.3e-40"),
            (9.99e-10, "1e-9"),
            (9.91e-10, "1e-9"),
            (1e-9, "1e-9"),
            (0.5, "5e-1"),
            (0.99, "9.9e-1"),
            (0.999, "1"),
            (1.0, "1"),
            (f64::INFINITY, "1"),
            (1e-300, "1e-300"),
            (9e-301, "below 1e-300"),
            (0.0, "below 1e-300"),
            (-1.0, "not known"),
            (f64::NAN, "not known"),
        ] {
            assert_eq!(chance(p), told, "{p}");
        }
        for k in 1..3000 {
            let p = 10f64.powf(-f64::from(k) * 0.0993);
            let told: f64 = chance(p).parse().unwrap();
            assert!(told >= p && told <= p * 1.11, "{p} told as {told}");
        }
    }

    #[test]
    fn figures_times_and_counts() {
        assert_eq!(figure(-2.505_1, 2), "-2.51");
        assert_eq!(figure(1e200, 2), "1.00e200");
        for x in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(figure(x, 2), "not known");
            assert_eq!(seconds(x), "not known");
        }
        assert_eq!(seconds_of_ms(61_007), "61.007 s");
        for (n, told) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(n), told);
        }
        assert_eq!(utc(1_763_838_112_000), "22 Nov 2025 19:01:52 UTC");
        assert_eq!(utc(i64::MAX), "a time outside the calendar");
    }

    #[test]
    fn words_are_cleaned_of_what_is_not_seen() {
        for (text, told) in [
            ("", "not given"),
            (" \r\n\t\0", "not given"),
            ("a\n\u{7}b", "a b"),
            ("<b> \u{e9}", "<b> \u{e9}"),
            ("x\u{202e}y", "\u{2068}x\u{fffd}y\u{2069}"),
            ("x\u{2069}y", "\u{2068}x\u{fffd}y\u{2069}"),
            ("\u{5e9}", "\u{2068}\u{5e9}\u{2069}"),
        ] {
            assert_eq!(given(text), told, "{text:?}");
        }
    }
}
