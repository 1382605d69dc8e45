//! `select` chooses the fields of a stream, renames them, and computes new ones.
//!
//! ```toml
//! [step.rates]
//! kind   = "select"
//! input  = "requests"
//! keep   = ["host", "errors"]
//! rename = { total = "requests" }
//! derive = { ratio = "cast(errors as double) / requests" }
//! ```
//!
//! - `keep` (default all): the fields that stay
//! - `drop` (default none): the fields that go, where all others stay; give `keep` or `drop`, not both
//! - `rename` (default none): new name = old name; a field that is renamed stays, whether `keep` names it or not
//! - `derive` (default none): name = SQL expression
//!
//! All four speak of the fields as they come in: an expression sees the old names, also of fields that are dropped,
//! and no other derived field. To compute one field of another, take two steps.
//!
//! **Order of the fields.** Those of `keep` in its order (without `keep`, those of the input in theirs), each under
//! its new name; then renamed ones that `keep` does not name, by their new names; then the derived ones, by name. A
//! derived field that has the name of one that stays takes its place.
//!
//! **Outputs.** `out` as above. Records keep their event time, origin and place. A record for which an expression
//! cannot be computed (a division by zero, text that is not a number) goes to `rejected` with the reasons; a
//! derived field that nobody takes is not computed. Nothing goes to `late`.

use crate::batch::Batch;
use crate::expression::{Evaluated, Expression};
use crate::fault::Fault;
use crate::operator::{Arrival, Instance, Operator, Outputs, Planned, Planning};
use crate::schema::{Field, Kind, SYSTEM_NAMES, Schema};
use arrow::array::{ArrayRef, BooleanArray};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The configuration of a select.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Select {
    /// The fields that stay; all by default.
    keep: Option<Vec<String>>,
    /// The fields that go.
    drop: Option<Vec<String>>,
    /// New names of fields: new = "old".
    #[serde(default)]
    rename: BTreeMap<String, String>,
    /// New fields: name = "SQL expression".
    #[serde(default)]
    derive: BTreeMap<String, String>,
}

/// Where a field of the output comes from.
#[derive(Clone, Debug)]
enum Made {
    Carried(usize),
    Derived(Expression),
}

impl Operator for Select {
    const NAME: &'static str = "select";
    const MANUAL: &'static str = include_str!("select.rs");

    fn plan(&self, planning: &mut Planning<'_>) -> Option<Planned> {
        let before = planning.faults();
        self.check_names(planning);
        let kept = self.kept(planning.input());
        self.check_clashes(&kept, planning);
        let mut fields = Vec::new();
        let mut columns = Vec::new();
        let mut uses = BTreeSet::new();
        for (name, old) in self.output(kept) {
            if !planning.wants(&name) {
                continue;
            }
            let Some((kind, made)) = self.column(&name, old.as_deref(), planning) else { continue };
            match &made {
                Made::Derived(expression) => uses.extend(expression.fields().iter().cloned()),
                Made::Carried(_) => uses.extend(old.filter(|old| *old != name)),
            }
            fields.push(Field::new(name, kind));
            columns.push(made);
        }
        if planning.faults() > before {
            return None;
        }
        let (output, columns): (_, Arc<[Made]>) = (Schema::new(fields), columns.into());
        Some(Planned {
            output: output.clone(),
            uses,
            passes: true,
            keeps_origin: true,
            keyed: false,
            arrival: Arrival::AsTheyCome,
            make: Arc::new(move || Box::new(Selecting { output: output.clone(), columns: columns.clone() })),
        })
    }
}

impl Select {
    /// Reports fields that do not come in, names that are the system's, and settings that contradict each other. A
    /// field that nobody takes may have been left out of the input by now, and is not looked for.
    fn check_names(&self, planning: &mut Planning<'_>) {
        if self.keep.is_some() && self.drop.is_some() {
            planning.fault(Fault::at("drop", "`keep` and `drop` are both given").help("one of them says it all"));
        }
        for (setting, names) in [("keep", &self.keep), ("drop", &self.drop)] {
            for (i, name) in names.iter().flatten().enumerate() {
                let at = format!("{setting}.{i}");
                if names.iter().flatten().take(i).any(|earlier| earlier == name) {
                    planning.fault(Fault::at(&at, format!("`{name}` is named twice")));
                } else if planning.wants(self.new_name(name)) && !self.makes(setting, name) {
                    planning.field(name, &Kind::ALL, &at);
                }
            }
        }
        let mut renamed = BTreeSet::new();
        for (new, old) in &self.rename {
            let at = format!("rename.{new}");
            if !renamed.insert(old) {
                planning.fault(Fault::at(&at, format!("`{old}` is renamed twice")).help("derive the second from it"));
            } else if self.drop.iter().flatten().any(|dropped| dropped == old) {
                planning.fault(Fault::at(&at, format!("`{old}` is renamed and dropped")));
            }
        }
    }

    /// Whether the output has a field of that name that is not the input's, so that the input may lack it.
    fn makes(&self, setting: &str, name: &str) -> bool {
        self.derive.contains_key(self.new_name(name)) || (setting == "drop" && self.rename.contains_key(name))
    }

    fn new_name<'a>(&'a self, old: &'a str) -> &'a str {
        self.rename.iter().find(|(_, o)| *o == old).map_or(old, |(new, _)| new)
    }

    /// Reports new names that the output would have twice, or that no field may have.
    fn check_clashes(&self, kept: &[(String, String)], planning: &mut Planning<'_>) {
        for (setting, name) in
            self.rename.keys().map(|n| ("rename", n)).chain(self.derive.keys().map(|n| ("derive", n)))
        {
            let at = format!("{setting}.{name}");
            if SYSTEM_NAMES.contains(&name.as_str()) {
                let says = format!("`{name}` is the name of a system column, which every record has");
                planning.fault(Fault::at(&at, says).help("take another name"));
            }
            let elsewhere = |(new, old): &&(String, String)| new == name && self.rename.get(name) != Some(old);
            if setting == "rename" && kept.iter().any(|field| elsewhere(&field)) {
                planning.fault(
                    Fault::at(&at, format!("there is a field `{name}` already")).help("drop it, or rename it as well"),
                );
            }
            if setting == "derive" && self.rename.contains_key(name) {
                planning.fault(Fault::at(&at, format!("`{name}` is made twice, by `rename` and by `derive`")));
            }
        }
    }

    /// The fields that stay: their new names and their old ones, in order.
    fn kept(&self, input: &Schema) -> Vec<(String, String)> {
        let mut old: Vec<String> = match &self.keep {
            Some(keep) => keep.clone(),
            None => input.names().filter(|n| self.drop.iter().flatten().all(|d| d != n)).map(str::to_owned).collect(),
        };
        old.extend(self.rename.values().filter(|renamed| !old.contains(renamed)).cloned().collect::<Vec<_>>());
        old.into_iter().map(|old| (self.new_name(&old).to_owned(), old)).collect()
    }

    /// All fields of the output with their old names, in order; a derived one has none.
    fn output(&self, kept: Vec<(String, String)>) -> Vec<(String, Option<String>)> {
        let of_input =
            |(new, old): (String, String)| if self.derive.contains_key(&new) { (new, None) } else { (new, Some(old)) };
        let mut output: Vec<_> = kept.into_iter().map(of_input).collect();
        let behind: Vec<_> = self.derive.keys().filter(|name| output.iter().all(|(n, _)| n != *name)).collect();
        output.extend(behind.into_iter().map(|name| (name.clone(), None)));
        output
    }

    fn column(&self, name: &str, old: Option<&str>, planning: &mut Planning<'_>) -> Option<(Kind, Made)> {
        let Some(old) = old else {
            let expression = planning.expression(&self.derive[name], &format!("derive.{name}"))?;
            return Some((expression.kind(), Made::Derived(expression)));
        };
        if name != old || self.rename.contains_key(name) {
            let index = planning.field(old, &Kind::ALL, &format!("rename.{name}"))?;
            return Some((planning.input().fields()[index].kind, Made::Carried(index)));
        }
        let index = planning.input().index_of(old)?;
        Some((planning.input().fields()[index].kind, Made::Carried(index)))
    }
}

struct Selecting {
    output: Schema,
    columns: Arc<[Made]>,
}

impl Instance for Selecting {
    fn on_batch(&mut self, _input: usize, batch: &Batch, out: &mut Outputs) {
        let mut failed: BTreeMap<u32, Vec<String>> = BTreeMap::new();
        let mut column = |made: &Made| match made {
            Made::Carried(index) => batch.column(*index).clone(),
            Made::Derived(expression) => {
                let Evaluated { values, failed: rows } = expression.evaluate(batch);
                rows.into_iter().for_each(|(row, reason)| failed.entry(row).or_default().push(reason));
                values
            }
        };
        let columns: Vec<ArrayRef> = self.columns.iter().map(&mut column).collect();
        let selected = batch.with_columns(&self.output, columns);
        if failed.is_empty() {
            return out.push(selected);
        }
        for (row, reasons) in &failed {
            out.reject(batch, *row as usize, reasons.join("; "));
        }
        let good: BooleanArray = (0..batch.len() as u32).map(|row| Some(!failed.contains_key(&row))).collect();
        out.push(selected.filter(&good));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{example, registry};
    use super::*;
    use crate::check::{check, faults};

    const FIELDS: &str = "host:text errors:int requests:int region:text";

    #[track_caller]
    fn selects(config: &str, expected: &str) {
        let script = "7 host=a errors=1 requests=4 region=eu\n-- end";
        check(&registry(), &format!("kind = 'select'\n{config}"), FIELDS, script, expected);
    }

    #[test]
    fn the_example() {
        let config = example(Select::MANUAL);
        let script = "7 host=a errors=1 requests=4 region=eu\n-- end";
        check(&registry(), &config, FIELDS, script, "7 host=a errors=1 total=4 ratio=0.25");
    }

    #[test]
    fn fields_come_in_the_order_that_the_manual_says() {
        selects("", "7 host=a errors=1 requests=4 region=eu");
        selects("keep = ['region', 'host']", "7 region=eu host=a");
        selects("keep = ['host']\nrename = { b = 'requests', a = 'region' }", "7 host=a a=eu b=4");
        selects("drop = ['host']\nrename = { zone = 'region' }", "7 errors=1 requests=4 zone=eu");
        selects("drop = ['host']\nrename = { host = 'region' }", "7 errors=1 requests=4 host=eu");
        selects("rename = { errors = 'requests', requests = 'errors' }", "7 host=a requests=1 errors=4 region=eu");
        selects("derive = { host = 'upper(host)', a = '1' }", "7 host=A errors=1 requests=4 region=eu a=1");
        selects("keep = []\nderive = { late_by = 'errors + 1', at = 'event_time' }", "7 at=7 late_by=2");
        selects("keep = ['errors']\nrename = { n = 'errors' }\nderive = { errors = 'errors * 2' }", "7 n=1 errors=2");
    }

    #[test]
    fn a_record_that_cannot_be_computed_is_rejected_once() {
        let config = "kind = 'select'\nderive = { x = '1 / a', y = '2 / a' }";
        let expected = "2 a=2 x=0 y=1
            rejected: 1 reason=`1_/_a`_has_no_value_here:_Divide_by_zero_error;_`2_/_a`_has_no_value_here:_Divide_by_zero_error";
        check(&registry(), config, "a:int", "1 a=0\n2 a=2\n-- end", expected);
    }

    #[test]
    fn mistakes_are_named() {
        for (setting, says) in [
            ("keep = ['hots']", "keep.0: no field `hots` comes in (did you mean `host`?)"),
            ("keep = ['host', 'host']", "keep.1: `host` is named twice"),
            ("drop = ['hots']", "drop.0: no field `hots` comes in (did you mean `host`?)"),
            ("keep = ['host']\ndrop = ['region']", "drop: `keep` and `drop` are both given (one of them says it all)"),
            ("rename = { zone = 'regio' }", "rename.zone: no field `regio` comes in (did you mean `region`?)"),
            ("rename = { a = 'host', b = 'host' }", "rename.b: `host` is renamed twice (derive the second from it)"),
            ("rename = { a = 'host' }\ndrop = ['host']", "rename.a: `host` is renamed and dropped"),
            (
                "rename = { region = 'host' }",
                "rename.region: there is a field `region` already (drop it, or rename it as well)",
            ),
            (
                "rename = { a = 'host' }\nderive = { a = '1' }",
                "derive.a: `a` is made twice, by `rename` and by `derive`",
            ),
            (
                "derive = { stamp = '1' }",
                "derive.stamp: `stamp` is the name of a system column, which every record has (take another name)",
            ),
            ("derive = { x = 'requets' }", "derive.x: no field `requets` in `requets` (did you mean `requests`?)"),
        ] {
            assert_eq!(faults(&registry(), &format!("kind = 'select'\n{setting}"), FIELDS), says, "{setting}");
        }
    }

    #[test]
    fn only_what_is_wanted_is_asked_for() {
        let select: Select =
            toml::from_str("drop = ['x']\nrename = { a = 'b' }\nderive = { c = 'd + 1', e = 'f + 1' }").expect("toml");
        let field = |name| Field::new(name, Kind::Int);
        let wanted = BTreeSet::from(["a".to_owned(), "c".to_owned()]);
        for inputs in [[Schema::new(["b", "d", "f", "x", "y"].map(field))], [Schema::new(["b", "d"].map(field))]] {
            let mut planning = Planning::new("step", &inputs, &[], Some(&wanted));
            let planned = select.plan(&mut planning).expect("no faults");
            assert_eq!(planned.uses, BTreeSet::from(["b".to_owned(), "d".to_owned()]));
            assert_eq!(planned.output, Schema::new(["a", "c"].map(field)));
        }
    }
}
