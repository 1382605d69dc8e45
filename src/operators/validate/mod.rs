//! `validate` lets good records through, and names every rule that a bad one breaks.
//!
//! ```toml
//! [step.valid]
//! kind  = "validate"
//! input = "readings"
//! key   = "sensor"
//! rules = [
//!     { field = "value", required = true, min = -40, max = 120 },
//!     { field = "status", one_of = [200, 204] },
//!     { field = "sensor", matches = "^s-[0-9]+$", says = "sensors are called s-1, s-2, ..." },
//!     { where = "value < limit" },
//!     { unique = ["sensor", "event_time"], within = "10m" },
//!     { field = "value", z_beyond = 6, last = 100, warmup = 3 },
//! ]
//! ```
//!
//! `rules` is the only setting. A rule is about a `field` and may test several things of it, or it is a `where`, or a
//! `unique`. It is broken, with
//!
//! - `required = true`: when the field is null
//! - `type = "float"`: when a text does not read as a `bool`, `int`, `float` or `time`; a float is no whole number
//!   (`int`) or not finite (`float`)
//! - `min`, `max`: when the number is below, above, or NaN; both ends are allowed values
//! - `one_of = [..]`: when the value is none of these
//! - `matches = "regex"`: when the text has no match; `^` and `$` tie the expression to its ends
//! - `where = "SQL"`: when the condition is false, or cannot be computed
//! - `unique = [..]`, `within = "10m"`: when a record of the same key and the same values (fields or SQL expressions,
//!   `event_time` among them) was let through less than `within` before
//! - `z_beyond = 6`: when the number lies more than so many standard deviations from the mean of the key's last valid
//!   values
//!
//! A rule may also have
//!
//! - `says`: what the rejection says instead
//! - `last` (default `100`): how many values `z_beyond` compares with; it judges nothing while they are all equal
//! - `warmup` (default `30`): how many values `z_beyond` must have before it judges; with a `last` of fewer, that
//!   many
//! - `relearn` (default as `last`): after so many values in a row beyond, the level has changed: the next record is
//!   judged by nothing and learnt, as at the beginning; 0: never
//!
//! **Null** breaks `required` and no other rule, a `where` included that is null (as a CHECK does in SQL).
//!
//! **Order and keys.** `unique` and `z_beyond` remember, for each `key` of the step; without a `key` the whole
//! stream is one, on one worker. With such a rule records are taken in canonical order, and late ones go to `late`;
//! without one they go through as they come, on every worker, and a late record is as good as another. The two
//! remember only records that broke no rule at all. What `unique` remembers is bounded by `within`; what `z_beyond`
//! does, by the step's `ttl`: a key of which no record has come for longer is learnt anew.
//!
//! **Outputs.** `out` has the records that broke no rule; they keep their fields, event time, origin and place. A
//! bad one goes to `rejected` once, and its reason names every broken rule, in the order of the rules (`unique` and
//! `z_beyond` last), with `; ` between them.

mod checks;
mod memory;

use self::checks::{Check, Checks, Named, Test, Validating};
use self::memory::{Beyond, Remembering, Unique};
use crate::fault::{Fault, list};
use crate::operator::{Arrival, Operator, Planned, Planning};
use crate::schema::Kind;
use crate::time::Interval;
use crate::value::Value;
use regex::Regex;
use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::sync::Arc;

const LAST_DEFAULT: usize = 100;
const WARMUP_DEFAULT: u64 = 30;

/// The configuration of a validation.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Validate {
    /// What every record must keep to.
    rules: Vec<Rule>,
}

/// A rule: about a field, a condition, or what is unique.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Rule {
    /// The field that the rule is about.
    field: Option<String>,
    /// Whether the field must have a value.
    #[serde(default)]
    required: bool,
    /// What a text must read as, or a float be.
    #[serde(rename = "type")]
    kind: Option<Kind>,
    /// The least number allowed.
    min: Option<f64>,
    /// The greatest number allowed.
    max: Option<f64>,
    /// The values allowed.
    one_of: Option<Vec<Choice>>,
    /// A regular expression that must match the text.
    matches: Option<String>,
    /// How many standard deviations from the mean of the key's last valid values are allowed.
    z_beyond: Option<f64>,
    /// How many values `z_beyond` compares with; 100 by default.
    last: Option<usize>,
    /// How many values `z_beyond` must have before it judges; 30 by default.
    warmup: Option<u64>,
    /// After how many values in a row beyond the level counts as changed; as `last` by default, 0 is never.
    relearn: Option<u64>,
    /// Fields or SQL expressions whose values must not come again together...
    unique: Option<Vec<String>>,
    /// ...within this time.
    within: Option<Interval>,
    /// An SQL condition that must not be false.
    #[serde(rename = "where")]
    condition: Option<String>,
    /// What the rejection says when the rule is broken.
    says: Option<String>,
}

/// A value of `one_of`.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(untagged)]
enum Choice {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
}

impl<'de> Deserialize<'de> for Choice {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Choice, D::Error> {
        match toml::Value::deserialize(from)? {
            toml::Value::Boolean(value) => Ok(Choice::Bool(value)),
            toml::Value::Integer(value) => Ok(Choice::Int(value)),
            toml::Value::Float(value) => Ok(Choice::Float(value)),
            toml::Value::String(value) => Ok(Choice::Text(value)),
            other => Err(D::Error::custom(format!("`{other}` is no bool, int, float or text"))),
        }
    }
}

impl Operator for Validate {
    const NAME: &'static str = "validate";
    const MANUAL: &'static str = include_str!("mod.rs");
    const FORGETS: bool = true;

    fn plan(&self, planning: &mut Planning<'_>) -> Option<Planned> {
        let before = planning.faults();
        let mut checks = Checks { ttl: planning.ttl(), ..Checks::default() };
        for (i, rule) in self.rules.iter().enumerate() {
            rule.plan(&format!("rules.{i}"), planning, &mut checks);
        }
        if planning.faults() > before {
            return None;
        }
        let checks = Arc::new(checks);
        let keyed = !checks.unique.is_empty() || !checks.beyond.is_empty();
        Some(Planned {
            output: planning.input().clone(),
            uses: checks.uses.clone(),
            passes: true,
            keeps_origin: true,
            keyed,
            arrival: if keyed { Arrival::InOrder } else { Arrival::AsTheyCome },
            make: Arc::new(move || {
                let checks = checks.clone();
                if keyed { Box::new(Remembering::new(checks)) } else { Box::new(Validating { checks }) }
            }),
        })
    }
}

impl Rule {
    /// Adds what the rule tests to the checks, and reports what is wrong with it.
    fn plan(&self, at: &str, planning: &mut Planning<'_>, checks: &mut Checks) {
        let before = (planning.faults(), checks.len());
        self.plan_field(at, planning, checks);
        self.plan_condition(at, planning, checks);
        self.plan_unique(at, planning, checks);
        self.plan_beyond(at, planning, checks);
        if before == (planning.faults(), checks.len()) {
            planning.fault(Fault::at(at, "the rule tests nothing").help(
                "`required`, `type`, `min`, `max`, `one_of`, `matches` or `z_beyond` with a `field`; `where`; `unique`",
            ));
        }
    }

    /// The tests of a field that remember nothing.
    fn plan_field(&self, at: &str, planning: &mut Planning<'_>, checks: &mut Checks) {
        let mut test = |setting: &str, kinds: &[Kind], planning: &mut Planning<'_>, test: Option<Test>| {
            let Some(column) = self.column(&format!("{at}.{setting}"), at, kinds, planning) else { return };
            checks.uses.extend(self.field.clone());
            checks.plain.extend(test.map(|test| Check { column, test, says: self.says.clone() }));
        };
        const NUMBERS: &[Kind] = &[Kind::Int, Kind::Float];
        if self.required {
            test("required", &Kind::ALL, planning, Some(Test::Required));
        }
        if let Some(kind) = self.kind {
            test("type", &may_be(kind), planning, Some(Test::Type(kind)));
        }
        if self.min.is_some() || self.max.is_some() {
            let setting = if self.min.is_some() { "min" } else { "max" };
            if let (Some(min), Some(max)) = (self.min, self.max)
                && min > max
            {
                planning.fault(Fault::at(&format!("{at}.max"), format!("no number lies between {min} and {max}")));
            }
            test(setting, NUMBERS, planning, Some(Test::Range(self.min, self.max)));
        }
        if let Some(choices) = &self.one_of {
            let values = self.choices(&format!("{at}.one_of"), choices, planning);
            test("one_of", &[Kind::Bool, Kind::Int, Kind::Float, Kind::Text], planning, Some(Test::OneOf(values)));
        }
        if let Some(pattern) = &self.matches {
            let regex = Regex::new(pattern).map_err(|error| {
                let line =
                    error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
                planning.fault(Fault::at(
                    &format!("{at}.matches"),
                    format!("`{pattern}` is no regular expression: {line}"),
                ));
            });
            test("matches", &[Kind::Text], planning, regex.ok().map(Test::Matches));
        }
    }

    /// The field of the rule, for a test that needs one of these kinds.
    fn column(&self, setting: &str, at: &str, kinds: &[Kind], planning: &mut Planning<'_>) -> Option<Named> {
        let Some(name) = &self.field else {
            planning.fault(Fault::at(setting, "the rule does not say of what").help("field = \"...\""));
            return None;
        };
        let at = if planning.input().field(name).is_some() { setting } else { &format!("{at}.field") };
        planning.field(name, kinds, at).map(|index| Named { name: name.clone(), index })
    }

    /// The values of `one_of`, of the field's kind.
    fn choices(&self, at: &str, choices: &[Choice], planning: &mut Planning<'_>) -> Vec<Value> {
        let field = self.field.as_ref().and_then(|name| planning.input().field(name));
        let Some(kind) = field.map(|field| field.kind) else { return Vec::new() };
        if choices.is_empty() {
            planning.fault(Fault::at(at, "no value is allowed").help("one_of = [200, 404]"));
        }
        let mut values = Vec::new();
        for (i, choice) in choices.iter().enumerate() {
            match (kind, choice) {
                (Kind::Bool, Choice::Bool(value)) => values.push(Value::Bool(*value)),
                (Kind::Int, Choice::Int(value)) => values.push(Value::Int(*value)),
                (Kind::Float, Choice::Int(value)) => values.push(Value::Float(*value as f64)),
                (Kind::Float, Choice::Float(value)) => values.push(Value::Float(*value)),
                (Kind::Text, Choice::Text(value)) => values.push(Value::Text(value.clone())),
                (Kind::Time, _) => {}
                _ => planning
                    .fault(Fault::at(&format!("{at}.{i}"), format!("{choice} is no {kind}, which the field is"))),
            }
        }
        values
    }

    fn plan_condition(&self, at: &str, planning: &mut Planning<'_>, checks: &mut Checks) {
        let Some(condition) = &self.condition else { return };
        if self.field.is_some() {
            let says = "`where` names its fields itself";
            planning.fault(Fault::at(&format!("{at}.field"), says).help("take `field` out, or make two rules"));
        }
        if let Some(expression) = planning.condition(condition, &format!("{at}.where")) {
            checks.uses.extend(expression.fields().iter().cloned());
            let column = Named { name: condition.clone(), index: 0 };
            checks.plain.push(Check { column, test: Test::Where(expression), says: self.says.clone() });
        }
    }

    fn plan_unique(&self, at: &str, planning: &mut Planning<'_>, checks: &mut Checks) {
        let (names, within) = match (&self.unique, self.within) {
            (None, None) => return,
            (Some(names), Some(within)) if !names.is_empty() && !within.is_zero() => (names, within),
            _ => {
                let says = "unique values need the time within which they are";
                planning.fault(Fault::at(at, says).help("unique = [\"sensor\", \"event_time\"], within = \"10m\""));
                return;
            }
        };
        if self.field.is_some() {
            planning.fault(
                Fault::at(&format!("{at}.field"), "`unique` names its fields itself")
                    .help("take `field` out, or make two rules"),
            );
        }
        let mut values = Vec::new();
        for (i, name) in names.iter().enumerate() {
            let text = if planning.input().field(name).is_some() {
                format!("\"{}\"", name.replace('"', "\"\""))
            } else {
                name.clone()
            };
            let Some(expression) = planning.expression(&text, &format!("{at}.unique.{i}")) else { continue };
            checks.uses.extend(expression.fields().iter().cloned());
            values.push(expression);
        }
        let names = list(&names.iter().map(String::as_str).collect::<Vec<_>>());
        checks.unique.push(Unique { names, values, within, says: self.says.clone() });
    }

    fn plan_beyond(&self, at: &str, planning: &mut Planning<'_>, checks: &mut Checks) {
        let last = self.last.unwrap_or(LAST_DEFAULT);
        let Some(beyond) = self.z_beyond else {
            for (setting, given) in
                [("last", self.last.is_some()), ("warmup", self.warmup.is_some()), ("relearn", self.relearn.is_some())]
            {
                if given {
                    planning.fault(Fault::at(
                        &format!("{at}.{setting}"),
                        format!("`{setting}` is for `z_beyond`, which is not there"),
                    ));
                }
            }
            return;
        };
        let warmup = self.warmup.unwrap_or(WARMUP_DEFAULT.min(last as u64));
        if !(beyond > 0.0 && beyond.is_finite()) {
            planning.fault(
                Fault::at(&format!("{at}.z_beyond"), format!("{beyond} is no threshold")).help("a number above 0"),
            );
        }
        if !(2..=last as u64).contains(&warmup) {
            let says = format!("of the last {last} values there are never {warmup}, or they have no deviation");
            let setting = if self.warmup.is_some() { "warmup" } else { "last" };
            planning.fault(Fault::at(&format!("{at}.{setting}"), says).help("`warmup` lies between 2 and `last`"));
        }
        let setting = format!("{at}.z_beyond");
        let Some(column) = self.column(&setting, at, &[Kind::Int, Kind::Float], planning) else { return };
        checks.uses.extend(self.field.clone());
        let relearn = self.relearn.unwrap_or(last as u64);
        checks.beyond.push(Beyond { column, beyond, last, warmup, relearn, says: self.says.clone() });
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Choice::Bool(value) => write!(f, "{value}"),
            Choice::Int(value) => write!(f, "{value}"),
            Choice::Float(value) => write!(f, "{value}"),
            Choice::Text(value) => write!(f, "{value:?}"),
        }
    }
}

/// The kinds of field whose values may be of a kind: text may read as anything, a float may be a whole number.
fn may_be(kind: Kind) -> Vec<Kind> {
    match kind {
        Kind::Int => vec![Kind::Int, Kind::Float, Kind::Text],
        Kind::Float => vec![Kind::Int, Kind::Float, Kind::Text],
        Kind::Text => vec![Kind::Text],
        kind => vec![kind, Kind::Text],
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{example, registry};
    use super::*;
    use crate::check::{check, faults};

    #[track_caller]
    fn validates(rules: &str, fields: &str, script: &str, expected: &str) {
        let config = format!("kind = 'validate'\nrules = [{rules}]");
        check(&registry(), &config, fields, &format!("{script}\n-- end"), expected);
    }

    #[test]
    fn the_example() {
        let script = "1 sensor=s-1 value=20 status=200 limit=99
                      2 sensor=s-1 value=21 status=200 limit=99
                      2 sensor=s-1 value=21 status=200 limit=99
                      3 sensor=s-1 value=22 status=204
                      4 sensor=s-1 value=90 status=200
                      5 sensor=x9 value=130 status=500 limit=99
                      6 sensor=s-2 status=200
                      -- end";
        let expected = "1 sensor=s-1 value=20.0 status=200 limit=99.0
            2 sensor=s-1 value=21.0 status=200 limit=99.0
            3 sensor=s-1 value=22.0 status=204 limit=null
            rejected: 2 reason=`sensor`,_`event_time`_came_already_at_1970-01-01T00:00:00.000002Z,_less_than_10m_before
            rejected: 4 reason=`value`_is_90,_84.5_standard_deviations_from_21.000000,_the_mean_of_the_last_3
            rejected: 5 reason=`value`_is_130,_above_120;_`status`_is_500,_none_of_200,_204;_sensors_are_called_s-1,_s-2,_...;_`value_<_limit`_does_not_hold
            rejected: 6 reason=`value`_is_missing";
        check(
            &registry(),
            &example(Validate::MANUAL),
            "sensor:text value:float status:int limit:float",
            script,
            expected,
        );
    }

    #[test]
    fn each_test_knows_good_from_bad() {
        let bad = |kind: &str, rule: &str, values: &str, reasons: &[&str]| {
            let script: Vec<String> =
                values.split(' ').enumerate().map(|(i, value)| format!("{i} x={value}")).collect();
            let config = format!("kind = 'validate'\nrules = [{{ field = 'x', {rule} }}]");
            let output =
                crate::check::agree(&registry(), &config, &format!("x:{kind}"), &(script.join("\n") + "\n-- end"));
            let reason =
                |line: &'_ str| Some(line.strip_prefix("rejected: ")?.split_once("reason=`x`_is_")?.1.to_owned());
            let found: Vec<String> = output.lines().filter_map(reason).collect();
            assert_eq!(found, reasons, "{rule}: {output}");
        };
        bad("float", "required = true", "1 null NaN", &["missing"]);
        bad("float", "min = 0", "0 -1 NaN null inf", &["-1,_below_0", "NaN,_which_lies_nowhere"]);
        bad("int", "min = 0, max = 2", "0 2 3 -1 null", &["3,_above_2", "-1,_below_0"]);
        bad(
            "float",
            "type = 'int'",
            "1 1.5 1e19 NaN null",
            &["1.5,_which_is_no_int", "10000000000000000000,_which_is_no_int", "NaN,_which_is_no_int"],
        );
        bad("float", "type = 'float'", "1 NaN inf", &["NaN,_which_is_no_float", "inf,_which_is_no_float"]);
        bad("text", "type = 'float'", "1e3 x null", &["\"x\",_which_is_no_float"]);
        bad("text", "type = 'int'", "-7 7.0", &["\"7.0\",_which_is_no_int"]);
        bad("text", "type = 'bool'", "true yes", &["\"yes\",_which_is_no_bool"]);
        bad("text", "type = 'time'", "2026-01-01T00:00:00Z noon", &["\"noon\",_which_is_no_time"]);
        bad("text", "one_of = ['a', 'b']", "a c", &["\"c\",_none_of_\"a\",_\"b\""]);
        bad("float", "one_of = [1, 2.5]", "1 2.5 3", &["3,_none_of_1,_2.5"]);
        bad("bool", "one_of = [true]", "true false", &["false,_none_of_true"]);
        bad("text", "matches = '^s-[0-9]+$'", "s-1 as-1 null", &["\"as-1\",_which_does_not_match_^s-[0-9]+$"]);
    }

    #[test]
    fn a_condition_that_is_null_holds_and_one_that_fails_does_not() {
        let expected = "1 a=4 b=2
            3 a=null b=1
            rejected: 2 reason=`a_/_b_>_1`_has_no_value_here:_Divide_by_zero_error
            rejected: 4 reason=`a_/_b_>_1`_does_not_hold";
        validates("{ where = 'a / b > 1' }", "a:int b:int", "1 a=4 b=2\n2 a=4 b=0\n3 b=1\n4 a=1 b=1", expected);
        validates("{ where = 'a > 1', says = 'too few' }", "a:int", "1 a=1", "rejected: 1 reason=too_few");
    }

    #[test]
    fn rules_that_remember_nothing_let_late_records_through() {
        validates("{ field = 'a', min = 1 }", "a:int", "5 a=1\n2 a=3 ^4", "5 a=1\n2 a=3 ^4");
    }

    #[test]
    fn what_was_let_through_is_unique_for_a_while() {
        // At 10 the first has been gone for 10 us, and the second did not count, because it was not let through.
        let script = "0 a=x\n9 a=x\n10 a=x\n11 a=y\n12\n13\n-- 40\n50 a=y";
        let expected = "0 a=x\n10 a=x\n11 a=y\n12 a=null\n13 a=null
            rejected: 9 reason=`a`_came_already_at_1970-01-01T00:00:00Z,_less_than_10us_before
            50 a=y";
        validates("{ unique = ['a'], within = '10us' }", "a:text", script, expected);
    }

    #[test]
    fn a_new_level_is_learnt_after_a_while() {
        let rule = "{ field = 'x', z_beyond = 3, last = 4, warmup = 2, relearn = 2 }";
        let script = "1 x=1\n2 x=2\n3 x=50\n4 x=51\n5 x=52\n6 x=53\n7 x=1";
        let expected = "1 x=1.0\n2 x=2.0\n5 x=52.0\n6 x=53.0
            rejected: 3 reason=`x`_is_50,_97.0_standard_deviations_from_1.500000,_the_mean_of_the_last_2
            rejected: 4 reason=`x`_is_51,_99.0_standard_deviations_from_1.500000,_the_mean_of_the_last_2
            rejected: 7 reason=`x`_is_1,_103.0_standard_deviations_from_52.500000,_the_mean_of_the_last_2";
        validates(rule, "x:float", script, expected);
    }

    #[test]
    fn a_key_that_is_silent_for_longer_than_the_ttl_is_learnt_anew() {
        // Just so long after its last record the key is still known.
        let job = "kind = 'validate'\nkey = 'k'\nttl = '50us'
            rules = [{ field = 'x', z_beyond = 3, last = 4, warmup = 2, relearn = 0 }, { unique = ['x'], within = '200us' }]";
        let script = "1 k=a x=1
            2 k=a x=2
            2 k=b x=1
            3 k=b x=2
            -- 40
            52 k=a x=50
            54 k=b x=50
            -- 90
            103 k=a x=50
            104 k=a x=1
            -- end";
        let expected = "1 k=a x=1.0
            2 k=a x=2.0
            2 k=b x=1.0
            3 k=b x=2.0
            54 k=b x=50.0
            rejected: 52 reason=`x`_is_50,_97.0_standard_deviations_from_1.500000,_the_mean_of_the_last_2
            103 k=a x=50.0
            rejected: 104 reason=`x`_came_already_at_1970-01-01T00:00:00.000001Z,_less_than_200us_before";
        check(&registry(), job, "k:text x:float", script, expected);
    }

    #[test]
    fn mistakes_are_named() {
        for (rule, says) in [
            (
                "{ field = 'valeu', required = true }",
                "rules.0.field: no field `valeu` comes in (did you mean `value`?)",
            ),
            ("{ min = 1 }", "rules.0.min: the rule does not say of what (field = \"...\")"),
            ("{ field = 'name', min = 1 }", "rules.0.min: field `name` is text, this needs `int`, `float`"),
            ("{ field = 'value', min = 2, max = 1 }", "rules.0.max: no number lies between 2 and 1"),
            ("{ field = 'value', one_of = ['a'] }", "rules.0.one_of.0: \"a\" is no float, which the field is"),
            ("{ field = 'value', one_of = [[1]] }", "rules[0].one_of[0]: `[1]` is no bool, int, float or text"),
            ("{ field = 'value', one_of = [] }", "rules.0.one_of: no value is allowed (one_of = [200, 404])"),
            ("{ field = 'name', matches = '(' }", "rules.0.matches: `(` is no regular expression: unclosed group"),
            ("{ field = 'value', type = 'flaot' }", "rules[0].type: unknown variant `flaot`"),
            ("{ field = 'value', type = 'bool' }", "rules.0.type: field `value` is float, this needs `bool`, `text`"),
            ("{ unique = ['name'] }", "rules.0: unique values need the time within which they are"),
            (
                "{ unique = ['nmae'], within = '1s' }",
                "rules.0.unique.0: no field `nmae` in `nmae` (did you mean `name`?)",
            ),
            ("{ field = 'value', last = 5 }", "rules.0.last: `last` is for `z_beyond`, which is not there"),
            ("{ field = 'value', z_beyond = 6, last = 5, warmup = 9 }", "rules.0.warmup: of the last 5 values"),
            ("{ field = 'value', where = 'value > 1' }", "rules.0.field: `where` names its fields itself"),
            ("{ field = 'value' }", "rules.0: the rule tests nothing"),
            ("{ fields = 'value' }", "unknown field `fields`"),
        ] {
            let found = faults(&registry(), &format!("kind = 'validate'\nrules = [{rule}]"), "value:float name:text");
            assert!(found.contains(says) && found.lines().count() == 1, "{rule}: {found}");
        }
    }
}
