//! Reading text eight bytes at a time: where digits and strings end, and what plain numbers are.
//!
//! These are for the fast ways of the decoders. None of them is a judge: what they take, serde_json takes, with the
//! same value to the last bit; what they do not take (`None`) may still be right, and a general decoder has to look.
//!
//! Bytes are read as little-endian words, and reading past the end gives zeros, which are neither digits nor text. A
//! word is searched without branches, by arithmetic on all of its bytes at once (H. S. Warren, *Hacker's Delight*, 2nd
//! edition, 6-1). Carries run only to bytes behind the first hit, which alone is used.

use crate::formats::table::Found;

const ONES: u64 = u64::from_le_bytes([1; 8]);
const HIGHS: u64 = u64::from_le_bytes([0x80; 8]);

/// Powers of ten that a float holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// So many digits fit 64 bits whatever they are.
const DIGITS_MAX: usize = 18;

/// Whole numbers up to here are exact as floats.
const EXACT_MAX: u64 = 1 << 53;

/// A byte, or 0 past the end.
#[inline(always)]
pub(crate) fn byte(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).copied().unwrap_or(0)
}

/// Eight bytes; those past the end are 0.
#[inline(always)]
fn word(bytes: &[u8], at: usize) -> u64 {
    match bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        Some(chunk) => u64::from_le_bytes(*chunk),
        None => last_words(bytes, at) as u64,
    }
}

/// Sixteen bytes; those past the end are 0.
#[inline(always)]
pub(crate) fn words(bytes: &[u8], at: usize) -> u128 {
    match bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        Some(chunk) => u128::from_le_bytes(*chunk),
        None => last_words(bytes, at),
    }
}

#[cold]
#[inline(never)]
fn last_words(bytes: &[u8], at: usize) -> u128 {
    let rest = bytes.get(at..).unwrap_or_default();
    let rest = &rest[..rest.len().min(16)];
    let mut chunk = [0; 16];
    chunk[..rest.len()].copy_from_slice(rest);
    u128::from_le_bytes(chunk)
}

/// The high bit of every byte that is `wanted`; beyond the first, others may be set.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn equal(word: u64, wanted: u8) -> u64 {
    let differs = word ^ (ONES * u64::from(wanted));
    differs.wrapping_sub(ONES) & !differs & HIGHS
}

/// The high bit of every byte below `bound`, which is at most 128; beyond the first, others may be set.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn below(word: u64, bound: u8) -> u64 {
    word.wrapping_sub(ONES * u64::from(bound)) & !word & HIGHS
}

/// How many bytes of a word come before the first hit.
#[inline(always)]
fn before(hits: u64) -> usize {
    (hits.trailing_zeros() / 8) as usize
}

/// Where the first quote, backslash or control character is, from `at` on, and whether all before it is ASCII; the end
/// counts as a control character.
#[inline(always)]
pub(crate) fn text_end(bytes: &[u8], at: usize) -> (usize, bool) {
    text_until(bytes, at, [b'"', b'\\', 0x1f])
}

/// The first byte that is one of two or not above the third.
#[inline(always)]
pub(crate) fn text_until(bytes: &[u8], mut at: usize, stops: [u8; 3]) -> (usize, bool) {
    let mut beyond = 0;
    loop {
        let (hits, high) = classify(words(bytes, at), stops);
        if hits != 0 {
            // Only what comes before the first hit counts.
            beyond |= high & (hits - 1) & !hits;
            return (at + hits.trailing_zeros() as usize, beyond == 0);
        }
        beyond |= high;
        at += 16;
    }
}

/// A bit for each of sixteen bytes that stops a text, and one for each that is not ASCII.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
#[allow(unsafe_code, reason = "searching texts by SSE2 takes a tenth off the time of a line of W1: benches/decoder.rs")]
fn classify(words: u128, stops: [u8; 3]) -> (u32, u32) {
    use std::arch::x86_64::{
        _mm_cmpeq_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x, _mm_set1_epi8,
    };
    #[inline]
    #[target_feature(enable = "sse2")]
    fn classify(words: u128, [one, other, least]: [u8; 3]) -> (u32, u32) {
        let bytes = _mm_set_epi64x((words >> 64) as i64, words as i64);
        let one = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(one as i8));
        let other = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(other as i8));
        let low = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(least as i8)), bytes);
        let stops = _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(one, other), low));
        (stops as u32, _mm_movemask_epi8(bytes) as u32)
    }
    // SAFETY: it reads no memory, and every x86-64 has SSE2.
    unsafe { classify(words, stops) }
}

/// A bit for the first of sixteen bytes that stops a text, and one for each that is not ASCII.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn classify(words: u128, [one, other, least]: [u8; 3]) -> (u32, u32) {
    let hits = |word| equal(word, one) | equal(word, other) | below(word, least + 1);
    let half = |word| {
        let (hits, mut high) = (hits(word), 0);
        (0..8).for_each(|byte| high |= u32::from(word >> (8 * byte + 7) & 1 == 1) << byte);
        (if hits == 0 { 0 } else { 1 << before(hits) }, high)
    };
    let (low, high) = (half(words as u64), half((words >> 64) as u64));
    (low.0 | high.0 << 8, low.1 | high.1 << 8)
}

/// Whether text that may not be ASCII is UTF-8.
#[inline(always)]
pub(crate) fn is_utf8(text: &[u8], ascii: bool) -> bool {
    ascii || std::str::from_utf8(text).is_ok()
}

/// How many digits a word begins with.
#[inline(always)]
fn digits_of(word: u64) -> usize {
    let digits = word ^ (ONES * u64::from(b'0'));
    before((digits.wrapping_add(ONES * 0x76) | digits) & HIGHS)
}

/// The number that eight digits are (Daniel Lemire, *Quickly parsing eight digits*, 2018).
#[inline(always)]
fn eight(word: u64) -> u64 {
    let pairs = (word & 0x0f0f_0f0f_0f0f_0f0f).wrapping_mul(2561) >> 8;
    let fours = (pairs & 0x00ff_00ff_00ff_00ff).wrapping_mul(6_553_601) >> 16;
    (fours & 0x0000_ffff_0000_ffff).wrapping_mul(42_949_672_960_001) >> 32
}

/// Reads digits behind those that `value` is made of: the value, which wraps, and where they end. Stops when there
/// are more than fit.
#[inline(always)]
fn digits(bytes: &[u8], from: usize, mut value: u64) -> (u64, usize) {
    const TENS: [u64; 8] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000];
    let mut at = from;
    loop {
        let next = word(bytes, at);
        let count = digits_of(next);
        if count == 8 {
            value = value.wrapping_mul(100_000_000).wrapping_add(eight(next));
            at += 8;
            if at - from > DIGITS_MAX {
                return (value, at);
            }
        } else {
            // Eight digits that begin with zeros; shifting by 64 is no shift, so in two steps.
            let aligned = (next << 8) << (56 - 8 * count);
            return (value.wrapping_mul(TENS[count]).wrapping_add(eight(aligned)), at + count);
        }
    }
}

/// A JSON number, and where it ends. Reading goes on as far as it can: what follows decides whether that was all.
#[inline(always)]
pub(crate) fn number(bytes: &[u8], from: usize) -> Option<(Found<'static>, usize)> {
    let negative = byte(bytes, from) == b'-';
    let first = from + usize::from(negative);
    let (whole, point) = digits(bytes, first, 0);
    let count = point - first;
    if count == 0 || (count > 1 && bytes[first] == b'0') {
        return None;
    }
    let next = byte(bytes, point);
    if next != b'.' {
        if count > DIGITS_MAX || next | 0x20 == b'e' {
            return long_number(bytes, from);
        }
        return Some((integer(whole, negative), point));
    }
    let (mantissa, end) = digits(bytes, point + 1, whole);
    let decimals = end - point - 1;
    if decimals == 0 {
        return None;
    }
    if count + decimals > DIGITS_MAX || mantissa > EXACT_MAX || byte(bytes, end) | 0x20 == b'e' {
        return long_number(bytes, from);
    }
    // Both are exact, so the one division rounds correctly (W. D. Clinger, *How to read floating point numbers
    // accurately*, 1990).
    let value = mantissa as f64 / POWERS[decimals];
    Some((Found::Float(if negative { -value } else { value }), end))
}

/// Up to 18 digits; a negative zero is a float, as in serde_json.
#[inline(always)]
fn integer(digits: u64, negative: bool) -> Found<'static> {
    match (negative, digits) {
        (false, _) => Found::Int(digits as i64),
        (true, 0) => Found::Float(-0.0),
        (true, _) => Found::Int(-(digits as i64)),
    }
}

/// A number with many digits or an exponent, read by the standard library, which rounds correctly.
#[inline(never)]
fn long_number(bytes: &[u8], from: usize) -> Option<(Found<'static>, usize)> {
    let end = number_end(bytes, from)?;
    let digits = std::str::from_utf8(&bytes[from..end]).ok()?;
    // It reads integers of 64 bits only, and `-0` never comes here.
    if let Ok(whole) = digits.parse() {
        return Some((Found::Int(whole), end));
    }
    let value: f64 = digits.parse().ok()?;
    value.is_finite().then_some((Found::Float(value), end))
}

/// Where a JSON number ends.
#[inline(always)]
pub(crate) fn number_end(bytes: &[u8], from: usize) -> Option<usize> {
    let first = from + usize::from(byte(bytes, from) == b'-');
    let mut end = digits_end(bytes, first)?;
    if bytes[first] == b'0' && end > first + 1 {
        return None;
    }
    if byte(bytes, end) == b'.' {
        end = digits_end(bytes, end + 1)?;
    }
    if byte(bytes, end) | 0x20 == b'e' {
        let sign = matches!(byte(bytes, end + 1), b'+' | b'-');
        end = digits_end(bytes, end + 1 + usize::from(sign))?;
    }
    Some(end)
}

/// Where at least one digit ends.
#[inline(always)]
fn digits_end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        let count = digits_of(word(bytes, at));
        at += count;
        if count < 8 {
            return (at > from).then_some(at);
        }
    }
}

/// Where a JSON string in UTF-8 ends, behind its closing quote; `from` is behind the opening one. Escapes are looked at
/// as serde_json looks at them in what it skips: `\u` wants four hexadecimal digits, and surrogates need no partner.
#[inline(always)]
pub(crate) fn string_end(bytes: &[u8], from: usize) -> Option<usize> {
    let (end, ascii) = text_end(bytes, from);
    if byte(bytes, end) == b'"' && ascii { Some(end + 1) } else { unusual_end(bytes, from, end) }
}

#[inline(never)]
fn unusual_end(bytes: &[u8], from: usize, mut at: usize) -> Option<usize> {
    loop {
        match byte(bytes, at) {
            b'"' => return is_utf8(&bytes[from..at], false).then_some(at + 1),
            b'\\' => match byte(bytes, at + 1) {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => at += 2,
                b'u' if bytes.get(at + 2..at + 6)?.iter().all(u8::is_ascii_hexdigit) => at += 6,
                _ => return None,
            },
            _ => return None,
        }
        at = text_end(bytes, at).0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever is behind it, and however near the end is.
    fn check(text: &str, expected: Option<Found<'_>>) {
        for behind in ["", ",", "}\n", " ", ",123456789012345678901234567890"] {
            let all = format!("[{text}{behind}");
            let found = number(all.as_bytes(), 1);
            assert_eq!(format!("{found:?}"), format!("{:?}", expected.map(|f| (f, 1 + text.len()))), "{all}");
            assert_eq!(number_end(all.as_bytes(), 1).filter(|_| expected.is_some()), found.map(|f| f.1), "{all}");
        }
    }

    #[test]
    fn numbers_are_what_serde_json_says() {
        let wholes = "0 -0 7 -7 42 12345678 123456789 1234567812345678 123456789012345678 1234567890123456789 \
            9007199254740992 9007199254740993 9223372036854775807 9223372036854775808 18446744073709551615 \
            18446744073709551616 -9223372036854775808 -9223372036854775809 99999999999999999999999999999999";
        let decimals = "0.0 -0.0 0.1 74.314404 -1.5 0.30000000000000004 9007199254740.993 9007199254740992.5 \
            123456789.123456789 0.0000000000000000000000000001 1234567890123456789.5 5e-324 2.5e-324 1e308 1e22 1e23 \
            1E5 1e+5 1e-5 1.5e3 0e999 -0e1 1e-999 8.41e21 2.2250738585072011e-308 1.7976931348623157e308 \
            0.8444218515250481 1.00000000000000011102230246251565404236316680908203125";
        for text in wholes.split_whitespace().chain(decimals.split_whitespace()) {
            let value: serde_json::Number = serde_json::from_str(text).expect("a number");
            let expected = match value.as_i64() {
                Some(whole) => Found::Int(whole),
                None => Found::Float(value.as_f64().expect("a finite number")),
            };
            check(text, Some(expected));
        }
        for text in ["", "-", "01", "-01", "00", "1.", ".5", "1e", "1e+", "1.e5", "+1", "1e999", "-1e400", "NaN"] {
            check(text, None);
        }
    }

    #[test]
    fn floats_are_right_to_the_last_bit() {
        let mut state = 1u64;
        for round in 0..20_000u32 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let float = f64::from_bits(state);
            let short = (state >> 11) as f64 / 10f64.powi((round % 20) as i32);
            for value in [float, short, (short * 1e6).round() / 1e6] {
                if value.is_finite() {
                    let text = format!("{value:?}");
                    let (Some((Found::Float(read), end)), bits) = (number(text.as_bytes(), 0), value.to_bits()) else {
                        panic!("{text} is a number")
                    };
                    assert_eq!((read.to_bits(), end), (bits, text.len()), "{text}");
                }
            }
        }
    }

    #[test]
    fn strings_end_where_they_end() {
        let check = |text: &str, expected: Option<usize>| {
            for front in 0..9 {
                let all = format!("{}{text}", "x".repeat(front));
                assert_eq!(string_end(all.as_bytes(), 0), expected.map(|e| e + front), "{all}");
            }
        };
        check("\"", Some(1));
        check("plain and é\" and more\"", Some(13));
        check(r#"\"\\\/\b\f\n\r\t\u00e9\uD800" "#, Some(29));
        for text in ["", "open", "a\nb\"", "\\x\"", "\\u12\"", "\\u12g4\"", "\\", "\\u", "\u{1f}\""] {
            check(text, None);
        }
        assert_eq!(string_end(b"\xff\"", 0), None);
        assert_eq!(text_end("\u{7f}\u{80}éÿ\"".as_bytes(), 0), (7, false));
        assert_eq!(text_end("plain\"é".as_bytes(), 0), (5, true));
        assert_eq!(text_end("sixteen is enough\u{1f}é".as_bytes(), 0), (17, true));
    }
}
