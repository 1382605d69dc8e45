//! The operators that come with Eagre, one file each: manual at its head, configuration, state, code, tests.

pub mod aggregate;
pub mod filter;
pub mod novelty;
pub mod refractory;
pub mod select;
pub mod union;
pub mod validate;
pub mod zscore;

use crate::registry::Registry;

/// Adds all of them to a registry.
pub fn standard(registry: Registry) -> Registry {
    registry
        .operator::<aggregate::Aggregate>()
        .operator::<filter::Filter>()
        .operator::<novelty::Novelty>()
        .operator::<refractory::Refractory>()
        .operator::<select::Select>()
        .operator::<union::Union>()
        .operator::<validate::Validate>()
        .operator::<zscore::Zscore>()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::check::agree;
    use crate::stats::random::Random;
    use std::fmt::Write;

    /// The example at the head of a part's manual, as `check` takes a configuration.
    pub fn example(manual: &str) -> String {
        let lines = manual.lines().map(|line| line.trim_start_matches("//!").trim());
        let lines = lines.skip_while(|line| *line != "```toml").skip(1).take_while(|line| *line != "```");
        let config = lines.filter(|line| !line.starts_with("[step.") && !line.starts_with("input "));
        config.collect::<Vec<_>>().join("\n")
    }

    pub fn registry() -> Registry {
        standard(Registry::default())
    }

    /// Six keys, out of order, late at times, with nulls, NaN, repeats, gaps and a spike. Time goes by units of so many
    /// microseconds; `more` are fields behind `value` and `code`.
    fn script(seed: u64, unit: i64, more: impl Fn(i64) -> String) -> String {
        let mut random = Random::new(seed);
        let mut script = String::new();
        let mut now: i64 = 1_000;
        for n in 0..300 {
            now += random.pick(20) as i64 + if n % 100 == 99 { 2_000 } else { 0 };
            let time = now - random.pick(40) as i64;
            let stamp = if time < now - 30 { format!("^{}", (now - 30) * unit) } else { String::new() };
            let (time, more) = (time * unit, more(n));
            let value = match random.pick(40) {
                0 => "null".into(),
                1 => "NaN".into(),
                2 => "1e12".into(),
                _ => format!("{:.1}", random.normal()),
            };
            let sensor = random.pick(6);
            writeln!(script, "{time} sensor=s-{sensor} value={value} code={n} {more} @{}:{n} {stamp}", n % 2)
                .expect("a string");
            if n % 7 == 6 {
                writeln!(script, "-- {}", (now - 30) * unit).expect("a string");
            }
        }
        script + "-- end"
    }

    /// The fields that the examples of the manuals read. An operator whose example reads others adds them here, and
    /// values in `conformance`.
    const FIELDS: &str = "sensor:text value:float code:int status:int region:text host:text errors:int requests:int \
                          limit:float z:float";

    /// The step at the head of a part's manual, as `check` takes a configuration.
    fn step(manual: &str) -> Option<toml::Table> {
        let lines = manual.lines().skip_while(|line| *line != "```toml").skip(1).take_while(|line| *line != "```");
        let job: toml::Table = lines.collect::<Vec<_>>().join("\n").parse().ok()?;
        job.get("step")?.as_table()?.values().next()?.as_table().cloned()
    }

    /// Runs an operator over the example of its manual in all ways, and once more with a `ttl` where it may have one.
    /// Gives how many lines came out.
    fn conformance(registry: &Registry, name: &str) -> usize {
        let part = registry.operators().iter().find(|part| part.name == name).expect("it is in the list");
        let mut step = step(&part.manual).filter(|step| step["kind"].as_str() == Some(name)).unwrap_or_else(|| {
            panic!("the manual of `{name}` has no example: ```toml with [step.NAME] and kind = \"{name}\"")
        });
        let fields = |n: i64| {
            let (status, region) = ([200, 204, 500][n as usize % 3], ["eu", "us"][n as usize / 5 % 2]);
            let z = if n % 11 == 0 { "null".into() } else { format!("{:.1}", (n * 7 % 60) as f64 - 30.0) };
            let (requests, limit) = (n % 6, if n % 4 == 0 { 0.5 } else { 9.0 });
            format!(
                "status={status} region={region} host=h{} errors={} requests={requests} limit={limit} z={z}",
                n % 3,
                n % 5
            )
        };
        let script = script(2, 1_000_000, fields);
        let mut lines = agree(registry, &step.to_string(), FIELDS, &script).lines().count();
        if (part.parse)(toml::Value::Table(own(&step))).is_ok_and(|operator| operator.forgets()) {
            step.insert("ttl".into(), "20s".into());
            lines += agree(registry, &step.to_string(), FIELDS, &script).lines().count();
        }
        lines
    }

    /// The settings of a step that are not the engine's.
    fn own(step: &toml::Table) -> toml::Table {
        let engines = ["kind", "input", "key"];
        step.iter().filter(|(name, _)| !engines.contains(&name.as_str())).map(|(n, v)| (n.clone(), v.clone())).collect()
    }

    #[test]
    fn every_operator_in_the_list_gives_the_same_however_its_stream_is_cut() {
        let registry = registry();
        for part in registry.operators() {
            let lines = conformance(&registry, part.name);
            assert!(lines >= 20, "the example of `{}` gives {lines} lines, which show little", part.name);
        }
    }

    #[test]
    fn however_a_stream_is_cut_the_answers_are_the_same() {
        let mut lines = 0;
        let stream = script(1, 1, |_| String::new());
        for config in [
            "kind = 'filter'\nwhere = '100 / (code % 5) > 20'",
            "kind = 'select'\ndrop = ['sensor']\nderive = { half = 'code / (code % 5)' }",
            "kind = 'zscore'\nkey = 'sensor'\nfield = 'value'\nwindow = 9\nemit = 'all'\nnan = 'skip'",
            "kind = 'zscore'\nkey = 'sensor'\nfield = 'value'\nwindow = '300us'\nwarmup = 2\nemit = 'all'",
            "kind = 'zscore'\nkey = 'sensor'\nfield = 'value'\newma = { alpha = 0.1 }\nthreshold = 1",
            "kind = 'zscore'\nkey = 'sensor'\nfield = 'value'\newma = { half_life = '200us' }\nthreshold = 1",
            "kind = 'zscore'\nkey = 'sensor'\nfield = 'value'\nrobust = { window = '300us' }\nemit = 'all'",
            "kind = 'novelty'\nkey = 'sensor'\nfield = 'value'\nwarmup = 1\nemit = 'all'",
            "kind = 'novelty'\nkey = 'sensor'\nfield = 'value'\nlast = 7\nemit = 'all'",
            "kind = 'novelty'\nkey = 'sensor'\nfield = 'value'\nlast = '300us'\nwarmup = 1",
            "kind = 'refractory'\nkey = 'sensor'\nevery = '150us'\nseverity = 'value'\nsummary = true",
            "kind = 'refractory'\nkey = 'sensor'\nevery = '150us'",
            "kind = 'validate'\nrules = [{ field = 'value', required = true, max = 2 }]",
            "kind = 'validate'\nkey = 'sensor'\nrules = [{ unique = ['value'], within = '200us' }, { field = 'value', z_beyond = 2, last = 20, warmup = 5, relearn = 2 }]",
        ] {
            lines += agree(&registry(), config, "sensor:text value:float code:int", &stream).lines().count();
        }
        assert!(lines > 1_750, "{lines} lines of output");
    }
}
