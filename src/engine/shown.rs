//! Tells sources how far they were read at the newest checkpoint that is there for good, for them to show elsewhere (in
//! a consumer group of Kafka). Each process tells of the partitions that it reads. Nothing that comes of it reaches a
//! result.

use super::ledger::Interval;
use crate::origin::Origin;
use crate::source::{Feed, Position};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// What sources are told of checkpoints.
#[derive(Default)]
pub struct Shown(Mutex<State>);

#[derive(Default)]
struct State {
    /// The partitions that were opened in this process: of which source, and what it calls them.
    opened: BTreeMap<Origin, (usize, Arc<dyn Feed>, String)>,
    /// Where they stood at the end of the intervals that have no checkpoint yet.
    said: BTreeMap<Interval, Vec<(Origin, Position)>>,
}

/// A source, and where its partitions stand.
type Told = (Arc<dyn Feed>, Vec<(String, Position)>);

impl Shown {
    /// Hears that a partition is read here.
    pub fn open(&self, origin: Origin, source: usize, feed: Arc<dyn Feed>, name: &str) {
        self.with(|state| state.opened.insert(origin, (source, feed, name.to_owned())));
    }

    /// Hears where partitions stood at the end of an interval.
    pub fn note(&self, interval: Interval, positions: impl Iterator<Item = (Origin, Position)>) {
        self.with(|state| state.said.entry(interval).or_default().extend(positions));
    }

    /// Tells the sources where their partitions stand in the checkpoint of an interval, the first time that it is
    /// called for it.
    pub fn tell(&self, job: &str, committed: Interval) {
        self.take(committed).iter().for_each(|(feed, positions)| feed.kept(job, positions));
    }

    fn take(&self, committed: Interval) -> Vec<Told> {
        self.with(|state| {
            let later = state.said.split_off(&(committed + 1));
            let said = std::mem::replace(&mut state.said, later);
            let newest: BTreeMap<Origin, Position> = said.into_values().flatten().collect();
            let mut told: BTreeMap<usize, Told> = BTreeMap::new();
            for (origin, position) in newest {
                let Some((source, feed, name)) = state.opened.get(&origin) else { continue };
                let (_, positions) = told.entry(*source).or_insert_with(|| (feed.clone(), Vec::new()));
                positions.push((name.clone(), position));
            }
            told.into_values().collect()
        })
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().expect("nobody panics while noting where a partition stands"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Failure;
    use crate::formats::MakeDecoder;
    use crate::source::{Reader, Wake};

    /// A source that notes what it is told.
    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);

    impl Feed for Heard {
        fn partitions(&self) -> Result<Vec<String>, Failure> {
            Ok(Vec::new())
        }

        fn open(&self, _: &str, _: Option<Position>, _: Wake) -> Result<Box<dyn Reader>, Failure> {
            Err(Failure::new("there is nothing to read"))
        }

        fn decoder(&self) -> Option<MakeDecoder> {
            None
        }

        fn kept(&self, job: &str, positions: &[(String, Position)]) {
            let positions: Vec<String> = positions.iter().map(|(name, at)| format!("{name}={at}")).collect();
            self.0.lock().expect("a lock").push(format!("{job}: {}", positions.join(" ")));
        }
    }

    #[test]
    fn sources_hear_of_what_is_in_a_checkpoint_once() {
        let (shown, feeds) = (Shown::default(), [Arc::new(Heard::default()), Arc::default()]);
        for (origin, source, name) in [(0, 0, "a[0]"), (1, 1, "b[0]"), (2, 0, "a[1]")] {
            shown.open(origin, source, feeds[source].clone(), name);
        }
        // Two workers of this process; partition 7 is not read here.
        shown.note(3, [(0, 10), (1, 5)].into_iter());
        shown.note(3, [(2, 7), (7, 1)].into_iter());
        shown.note(4, [(0, 12)].into_iter());
        shown.note(5, [(0, 99)].into_iter());
        let heard = || feeds.each_ref().map(|feed| std::mem::take(&mut *feed.0.lock().expect("a lock")));
        shown.tell("job", 2);
        assert_eq!(heard(), [vec![], Vec::<String>::new()], "there is nothing of interval 2");
        shown.tell("job", 4);
        assert_eq!(heard(), [vec!["job: a[0]=12 a[1]=7".to_owned()], vec!["job: b[0]=5".to_owned()]]);
        shown.tell("job", 4);
        assert_eq!(heard(), [vec![], Vec::<String>::new()], "another worker hears of it, too");
        shown.tell("job", 5);
        assert_eq!(heard(), [vec!["job: a[0]=99".to_owned()], vec![]]);
    }
}
