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

    /// Six keys, out of order, late at times, with nulls, NaN, repeats, gaps and a spike.
    fn script(seed: u64) -> String {
        let mut random = Random::new(seed);
        let mut script = String::new();
        let mut now: i64 = 1_000;
        for n in 0..300 {
            now += random.pick(20) as i64 + if n % 100 == 99 { 2_000 } else { 0 };
            let time = now - random.pick(40) as i64;
            let stamp = if time < now - 30 { format!("^{}", now - 30) } else { String::new() };
            let value = match random.pick(40) {
                0 => "null".into(),
                1 => "NaN".into(),
                2 => "1e12".into(),
                _ => format!("{:.1}", random.normal()),
            };
            let sensor = random.pick(6);
            writeln!(script, "{time} sensor=s{sensor} value={value} code={n} @{}:{n} {stamp}", n % 2)
                .expect("a string");
            if n % 7 == 6 {
                writeln!(script, "-- {}", now - 30).expect("a string");
            }
        }
        script + "-- end"
    }

    #[test]
    fn however_a_stream_is_cut_the_answers_are_the_same() {
        let mut lines = 0;
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
            lines += agree(&registry(), config, "sensor:text value:float code:int", &script(1)).lines().count();
        }
        assert!(lines > 1_750, "{lines} lines of output");
    }
}
