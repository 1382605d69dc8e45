//! Why does my window not fire? Says which source, partition and offset the oldest watermark stands at, and since when.

use super::show;
use crate::engine::{Standing, Status};
use crate::job::Plan;
use crate::time::{AFTER_ALL, BEFORE_ALL};

/// The partition that holds everything back, of those that have not ended.
pub fn slowest(status: &Status) -> Option<&Standing> {
    let open = status.partitions.iter().map(|(_, standing)| standing).filter(|s| !s.ended);
    open.min_by_key(|s| (s.watermark, s.records))
}

/// One sentence about it.
pub fn sentence(status: &Status) -> String {
    let Some(slowest) = slowest(status) else {
        let open = status.steps.iter().any(|step| step.watermark != AFTER_ALL);
        let windows = if open { "windows may still be open" } else { "all windows have fired" };
        return format!("every partition has ended; {windows}");
    };
    let since = show::duration(slowest.advanced.elapsed());
    let idle = if slowest.idle { " (silent, so nobody waits for it)" } else { "" };
    if slowest.watermark == BEFORE_ALL {
        return format!("no window can fire yet: {} has given no record for {since}{idle}", slowest.name);
    }
    let at = show::watermark(slowest.watermark);
    format!(
        "the oldest open window waits for {} @{}: its watermark has stood at {at} for {since}{idle}",
        slowest.name, slowest.sequence
    )
}

/// All partitions of all sources, the slowest first, with advice.
pub fn report(plan: &Plan, status: &Status) -> String {
    let mut text = format!("doctor: {}\n", sentence(status));
    let mut standings: Vec<&Standing> = status.partitions.iter().map(|(_, standing)| standing).collect();
    standings.sort_by_key(|s| (s.watermark, &s.name));
    for standing in standings.iter().take(8) {
        let policy = &plan.sources[standing.source].time;
        text.push_str(&format!(
            "  {:<28} watermark {:<20} for {:>9}, at offset {}, {} records{}{}\n",
            standing.name,
            show::watermark(standing.watermark),
            show::duration(standing.advanced.elapsed()),
            standing.sequence,
            show::grouped(standing.records),
            standing.behind.filter(|n| *n > 0).map_or(String::new(), |n| format!(", {} behind", show::grouped(n))),
            advice(standing, policy.idle_after.map(|i| i.to_string())),
        ));
    }
    if standings.len() > 8 {
        text.push_str(&format!("  and {} more\n", standings.len() - 8));
    }
    text.trim_end().to_owned()
}

fn advice(standing: &Standing, idle_after: Option<String>) -> String {
    match (standing.ended, standing.idle, idle_after) {
        (true, _, _) => ", ended".into(),
        (_, true, _) => ", silent: nobody waits for it".into(),
        (_, _, None) => ", idle_after = \"never\": it is waited for".into(),
        (_, _, Some(after)) => format!(", waited for until it has been silent for {after}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Spent;
    use crate::engine::metrics::read_step;
    use crate::time::EventTime;
    use std::time::Duration;

    #[test]
    fn windows_have_fired_only_where_every_step_has_seen_the_end() {
        let check = |watermarks: &[EventTime], told: &str| {
            let step = |watermark: &EventTime| {
                let mut counts = read_step(&[]);
                counts.watermark = *watermark;
                counts
            };
            let status = Status {
                checkpoints: (0, None, None),
                stopped: false,
                elapsed: Duration::ZERO,
                sources: Vec::new(),
                steps: watermarks.iter().map(step).collect(),
                sinks: Vec::new(),
                partitions: Vec::new(),
                spent: Spent::default(),
            };
            assert_eq!(sentence(&status), format!("every partition has ended; {told}"));
        };
        check(&[AFTER_ALL, AFTER_ALL], "all windows have fired");
        check(&[AFTER_ALL, 573_000_000], "windows may still be open");
        check(&[BEFORE_ALL], "windows may still be open");
    }
}
