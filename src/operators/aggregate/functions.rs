//! The aggregate functions by name, and the little parser of `p99(latency)`.

use crate::fault::Fault;

/// What an aggregate computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// Records, or values that are not null.
    Count,
    /// Their sum.
    Sum,
    /// Their mean.
    Mean,
    /// Population variance.
    Variance,
    /// Sample variance.
    SampleVariance,
    /// Population standard deviation.
    Stddev,
    /// Sample standard deviation.
    SampleStddev,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// The first in canonical order that is not null.
    First,
    /// The last in canonical order that is not null.
    Last,
    /// Count or sum by the second.
    Rate,
    /// How many different values, by HyperLogLog.
    Distinct,
    /// The most frequent values.
    TopK,
    /// A quantile to 0.05 %.
    Quantile,
    /// A quantile of all the values.
    ExactQuantile,
}

/// Whether a function takes something.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    Nothing,
    Maybe,
    Always,
}

/// Every function: its name, whether it takes a value, whether a number behind it.
const FUNCTIONS: [(&str, Function, Takes, Takes); 23] = {
    use Function::*;
    use Takes::*;
    [
        ("count", Count, Maybe, Nothing),
        ("sum", Sum, Always, Nothing),
        ("mean", Mean, Always, Nothing),
        ("avg", Mean, Always, Nothing),
        ("variance", Variance, Always, Nothing),
        ("var_pop", Variance, Always, Nothing),
        ("sample_variance", SampleVariance, Always, Nothing),
        ("var_samp", SampleVariance, Always, Nothing),
        ("stddev", Stddev, Always, Nothing),
        ("stddev_pop", Stddev, Always, Nothing),
        ("sample_stddev", SampleStddev, Always, Nothing),
        ("stddev_samp", SampleStddev, Always, Nothing),
        ("min", Min, Always, Nothing),
        ("max", Max, Always, Nothing),
        ("first", First, Always, Nothing),
        ("last", Last, Always, Nothing),
        ("rate", Rate, Maybe, Nothing),
        ("distinct", Distinct, Always, Maybe),
        ("top_k", TopK, Always, Always),
        ("quantile", Quantile, Always, Always),
        ("exact_quantile", ExactQuantile, Always, Always),
        ("exact_median", ExactQuantile, Always, Nothing),
        ("median", Quantile, Always, Nothing),
    ]
};

/// A function with what it is applied to, as it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// What to compute.
    pub function: Function,
    /// Of what: SQL over the record. None: of the records themselves.
    pub argument: Option<String>,
    /// The number behind it: the quantile, `k`, or the precision of `distinct`.
    pub parameter: Option<f64>,
}

/// Reads `quantile(a + b, 0.999)`. `at` is the setting that holds it.
pub fn parse(text: &str, at: &str) -> Result<Call, Fault> {
    let trimmed = text.trim();
    let opened = trimmed.find('(').filter(|_| trimmed.ends_with(')'));
    let (name, inner) = match opened {
        Some(open) => (trimmed[..open].trim(), &trimmed[open + 1..trimmed.len() - 1]),
        None => return Err(not_a_call(trimmed, at)),
    };
    let arguments = split(inner).ok_or_else(|| Fault::at(at, format!("the brackets of `{text}` do not match")))?;
    if let Some(quantile) = percentile(name) {
        let quantile = quantile.map_err(|help| Fault::at(at, format!("`{name}` is not a percentile")).help(help))?;
        return finish(Function::Quantile, (Takes::Always, Takes::Nothing), name, &arguments, at)
            .map(|call| Call { parameter: Some(quantile), ..call });
    }
    let lower = name.to_lowercase();
    let Some((_, function, value, number)) = FUNCTIONS.iter().find(|(known, ..)| *known == lower) else {
        let known = FUNCTIONS.iter().map(|(known, ..)| *known).chain(["p50", "p95", "p99"]);
        return Err(Fault::at(at, format!("no aggregate function `{name}`")).nearest(name, known));
    };
    let call = finish(*function, (*value, *number), name, &arguments, at)?;
    let parameter = if lower.ends_with("median") { Some(0.5) } else { call.parameter };
    check_range(Call { parameter, ..call }, name, at)
}

fn not_a_call(text: &str, at: &str) -> Fault {
    let fault = Fault::at(at, format!("`{text}` is not an aggregate"));
    let near = FUNCTIONS.iter().any(|(known, ..)| *known == text) || percentile(text).is_some();
    fault.help(if near {
        format!("write \"{text}(FIELD)\"")
    } else {
        "write for example \"count()\" or \"mean(value)\"".into()
    })
}

/// `p50`, `p99`, `p99.9` or `p999`: a quantile. None where the name is no percentile at all.
fn percentile(name: &str) -> Option<Result<f64, &'static str>> {
    let digits = name.strip_prefix('p').filter(|d| d.starts_with(|c: char| c.is_ascii_digit()))?;
    let number = || digits.parse::<f64>().ok().filter(|n| *n <= 100.0).map(|n| n / 100.0);
    Some(if digits.contains('.') || digits.len() <= 2 {
        number().ok_or("write for example \"p99(value)\" or \"p99.9(value)\"")
    } else if digits.starts_with('9') && digits.chars().all(|c| c.is_ascii_digit()) && digits.len() <= 9 {
        Ok(format!("0.{digits}").parse().expect("digits"))
    } else {
        Err("write \"quantile(value, 0.25)\", or \"max(value)\" for the greatest")
    })
}

fn finish(function: Function, takes: (Takes, Takes), name: &str, arguments: &[&str], at: &str) -> Result<Call, Fault> {
    let wants = match takes {
        (Takes::Maybe, _) => "nothing or a value",
        (_, Takes::Nothing) => "a value",
        (_, Takes::Maybe) => "a value, and a precision if you like",
        _ if function == Function::TopK => "a value and how many",
        _ => "a value and a quantile",
    };
    let wrong = |found: String| Fault::at(at, format!("`{name}` takes {wants}, {found}"));
    let arguments = if arguments == ["*"] && function == Function::Count { &[] } else { arguments };
    let (value, number) = match (arguments, takes) {
        ([], (Takes::Maybe, _)) => (None, None),
        ([value], (_, Takes::Nothing | Takes::Maybe)) => (Some(*value), None),
        ([value, number], (_, Takes::Maybe | Takes::Always)) => (Some(*value), Some(*number)),
        ([], _) => return Err(wrong("and has none".into())),
        (some, _) => return Err(wrong(format!("and has {}", some.len()))),
    };
    let parameter = number.map(|n| n.parse::<f64>().map_err(|_| wrong(format!("and `{n}` is not a number"))));
    Ok(Call { function, argument: value.map(str::to_owned), parameter: parameter.transpose()? })
}

fn check_range(call: Call, name: &str, at: &str) -> Result<Call, Fault> {
    let (right, what) = match (call.function, call.parameter) {
        (_, None) => (true, ""),
        (Function::TopK, Some(k)) => {
            ((1.0..=1000.0).contains(&k) && k.fract() == 0.0, "k is a whole number from 1 to 1000")
        }
        (Function::Distinct, Some(p)) => {
            ((4.0..=18.0).contains(&p) && p.fract() == 0.0, "a precision is a whole number from 4 to 18")
        }
        (_, Some(q)) => ((0.0..=1.0).contains(&q), "a quantile is from 0 to 1"),
    };
    if right {
        return Ok(call);
    }
    let found = call.parameter.unwrap_or_default();
    Err(Fault::at(at, format!("`{found}` is no parameter of `{name}`")).help(what))
}

/// Splits at commas outside of brackets and quotes; None where those do not match.
fn split(text: &str) -> Option<Vec<&str>> {
    let (mut parts, mut from, mut depth, mut quote) = (Vec::new(), 0, 0i32, None);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), _) => quote = if c == open { None } else { quote },
            (None, '\'' | '"') => quote = Some(c),
            (None, '(' | '[') => depth += 1,
            (None, ')' | ']') => depth -= 1,
            (None, ',') if depth == 0 => {
                parts.push(text[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
        if depth < 0 {
            return None;
        }
    }
    let last = text[from..].trim();
    if !last.is_empty() || !parts.is_empty() {
        parts.push(last);
    }
    (depth == 0 && quote.is_none()).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read() {
        let check = |text: &str, function, argument: Option<&str>, parameter| {
            let call = Call { function, argument: argument.map(str::to_owned), parameter };
            assert_eq!(parse(text, "n"), Ok(call), "{text}");
        };
        check("count()", Function::Count, None, None);
        check("count(*)", Function::Count, None, None);
        check(" SUM( a + b ) ", Function::Sum, Some("a + b"), None);
        check("quantile(coalesce(a, b), 0.999)", Function::Quantile, Some("coalesce(a, b)"), Some(0.999));
        check("mean(case when x = ',)' then 1 end)", Function::Mean, Some("case when x = ',)' then 1 end"), None);
        check("p99(v)", Function::Quantile, Some("v"), Some(0.99));
        check("p5(v)", Function::Quantile, Some("v"), Some(0.05));
        check("p99.9(v)", Function::Quantile, Some("v"), Some(99.9 / 100.0));
        check("p999(v)", Function::Quantile, Some("v"), Some(0.999));
        check("median(v)", Function::Quantile, Some("v"), Some(0.5));
        check("distinct(user)", Function::Distinct, Some("user"), None);
        check("distinct(user, 14)", Function::Distinct, Some("user"), Some(14.0));
        check("top_k(path, 5)", Function::TopK, Some("path"), Some(5.0));
        check("rate()", Function::Rate, None, None);
    }

    #[test]
    fn mistakes_are_named() {
        for (text, says) in [
            ("meen(value)", "n: no aggregate function `meen` (did you mean `mean`?)"),
            ("mean", "write \"mean(FIELD)\""),
            ("value + 1", "`value + 1` is not an aggregate"),
            ("mean()", "`mean` takes a value, and has none"),
            ("max(a, b)", "`max` takes a value, and has 2"),
            ("quantile(v)", "`quantile` takes a value and a quantile, and has 1"),
            ("quantile(v, 99)", "`99` is no parameter of `quantile` (a quantile is from 0 to 1)"),
            ("quantile(v, high)", "`high` is not a number"),
            ("top_k(v, 0)", "k is a whole number from 1 to 1000"),
            ("distinct(v, 40)", "a precision is a whole number from 4 to 18"),
            ("p100(v)", "`p100` is not a percentile"),
            ("sum((a)", "the brackets of `sum((a)` do not match"),
        ] {
            let said = parse(text, "n").expect_err(text).to_string();
            assert!(said.contains(says), "{text}: {said}");
        }
    }
}
