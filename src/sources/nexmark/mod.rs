//! The auction house of Nexmark, the benchmark of streaming engines: people who come, auctions that open, bids.
//!
//! ```toml
//! [source.bids]
//! kind = "nexmark"
//! stream = "bid"                      # or "auction" or "person"
//! events = 1000000                    # of the whole mix, whichever stream is read; without it, without end
//! rate = 10000                        # events of the whole mix to a second of event time
//! live = false                        # true: gives each event when it is due, by the clock
//! seed = 1
//! partitions = 2                      # record i of the stream belongs to partition i % partitions
//! start = "2026-01-01T00:00:00Z"      # event time of the first event
//! proportions = { person = 1, auction = 3, bid = 46 }
//! hot_auction_ratio = 2               # 1 - 1/2 of all bids are for the hot auction,
//! hot_bidder_ratio = 4                # 1 - 1/4 by the hot bidder;
//! hot_seller_ratio = 4                # 1 - 1/4 of all auctions are the hot seller's
//! in_flight_auctions = 100            # the other bids are for one of the newest so many auctions,
//! active_people = 1000                # by one of the newest so many people
//! ```
//!
//! Events come in rounds: with the proportions above 1 person, then 3 auctions, then 46 bids. Event `n` happens
//! `n / rate` seconds after the start. A source gives one of the three streams; two sources with the same settings
//! and other streams fit together, in their times and in whom they name.
//!
//! | stream | fields |
//! | --- | --- |
//! | `bid` | `auction`, `bidder`, `price`, `channel`, `url`, `extra` |
//! | `auction` | `id`, `item_name`, `description`, `initial_bid`, `reserve`, `expires`, `seller`, `category`, `extra` |
//! | `person` | `id`, `name`, `email_address`, `credit_card`, `city`, `state`, `extra` |
//!
//! `expires` is a time, names and the like are text, all others are integers. When an event happened is its event
//! time; there is no field `date_time`.
//!
//! # After the field's generator
//!
//! It follows that of Apache Beam and `nexmark/nexmark` (Flink): proportions, ids from 1000 up, hot keys (the first
//! auction and seller and the second person of the newest hundred), up to 10 ids that do not exist yet, prices
//! `100 * 10^(6u)` in cents with `u` uniform, channels, expiries, and the sizes of records (bids 100 bytes, people 200,
//! auctions 500 on average). It differs in that times are microseconds, not whole milliseconds, that texts are plain
//! letters, and that events are never out of order.
//!
//! # What it guarantees
//!
//! Event `n` depends on the settings and `n` alone, to the bit: not on the machine, `events`, `live`, `partitions`,
//! the fields in use, the number of workers, or how reads are cut. Within a partition records come in order of event
//! time and have the sequences 0, 1, 2, ...
//!
//! # What it costs
//!
//! Only the fields that the job uses are made, each of its own random number, and any record is found without making
//! those before it. Numbers cost a few nanoseconds each, texts (`url` and `extra`) some tens.

mod events;

use crate::fault::{Failure, Fault};
use crate::formats::{MakeDecoder, Rows};
use crate::schema::{Field, Schema};
use crate::source::{Feed, Position, Read, Reader, Source, Wake};
use crate::time::{EventTime, Start};
use events::{Column, Walk};
use schemars::JsonSchema;
use serde::Deserialize;
use std::time::{Duration, Instant};

/// The settings of a Nexmark source.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Nexmark {
    /// Which of the three streams it gives.
    pub stream: Stream,
    /// How many events there are in all three streams together.
    pub events: Option<u64>,
    /// How many events of all three streams there are in a second of event time.
    pub rate: u64,
    /// Whether each event is given when it is due by the clock, and not as fast as possible.
    pub live: bool,
    /// Another seed gives other events.
    pub seed: u64,
    /// How many partitions; record i of the stream belongs to partition i % partitions.
    pub partitions: u64,
    /// The event time of the first event.
    pub start: Start,
    /// How many events of each stream there are in a round.
    pub proportions: Proportions,
    /// All bids but one in so many are for the hot auction.
    pub hot_auction_ratio: u64,
    /// All bids but one in so many are by the hot bidder.
    pub hot_bidder_ratio: u64,
    /// All auctions but one in so many are the hot seller's.
    pub hot_seller_ratio: u64,
    /// How many of the newest auctions are bid for.
    pub in_flight_auctions: u64,
    /// How many of the newest people bid and sell.
    pub active_people: u64,
}

impl Default for Nexmark {
    fn default() -> Nexmark {
        Nexmark {
            stream: Stream::Bid,
            events: None,
            rate: 10_000,
            live: false,
            seed: 1,
            partitions: 2,
            start: Start(1_767_225_600_000_000),
            proportions: Proportions::default(),
            hot_auction_ratio: 2,
            hot_bidder_ratio: 4,
            hot_seller_ratio: 4,
            in_flight_auctions: 100,
            active_people: 1_000,
        }
    }
}

/// One of the three streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// People who come.
    Person,
    /// Auctions that open.
    Auction,
    /// Bids.
    Bid,
}

/// How many events of each stream there are in a round.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Proportions {
    /// People.
    pub person: u64,
    /// Auctions.
    pub auction: u64,
    /// Bids.
    pub bid: u64,
}

impl Default for Proportions {
    fn default() -> Proportions {
        Proportions { person: 1, auction: 3, bid: 46 }
    }
}

/// The most events there are: their times fit, and those who make 10 million a second make them for a day.
const EVENTS_MAX: u64 = 1_000_000_000_000;
/// The most that a setting which counts things may be.
const COUNT_MAX: u64 = 1_000_000;
const RATE_MAX: u64 = 1_000_000_000;
const PARTITIONS_MAX: u64 = 65_536;

impl Source for Nexmark {
    const NAME: &'static str = "nexmark";

    fn plan(&self, faults: &mut Vec<Fault>) -> Option<Schema> {
        let before = faults.len();
        let counts = [
            ("rate", self.rate, RATE_MAX),
            ("partitions", self.partitions, PARTITIONS_MAX),
            ("proportions.person", self.proportions.person, COUNT_MAX),
            ("proportions.auction", self.proportions.auction, COUNT_MAX),
            ("proportions.bid", self.proportions.bid, COUNT_MAX),
            ("hot_auction_ratio", self.hot_auction_ratio, COUNT_MAX),
            ("hot_bidder_ratio", self.hot_bidder_ratio, COUNT_MAX),
            ("hot_seller_ratio", self.hot_seller_ratio, COUNT_MAX),
            ("in_flight_auctions", self.in_flight_auctions, COUNT_MAX),
            ("active_people", self.active_people, COUNT_MAX),
            ("events", self.events.unwrap_or(EVENTS_MAX), EVENTS_MAX),
        ];
        for (path, count, most) in counts {
            if !(1..=most).contains(&count) {
                faults.push(Fault::at(path, format!("`{count}` is not a number from 1 to {most}")));
            }
        }
        let fields = Column::ALL.into_iter().filter(|(stream, ..)| *stream == self.stream);
        let schema = Schema::new(fields.map(|(_, name, kind, _)| Field::new(name, kind)));
        (faults.len() == before).then_some(schema)
    }

    fn open(&self, name: &str, wanted: &Schema) -> Result<Box<dyn Feed>, Failure> {
        let columns = wanted.names().filter_map(|field| Column::of(self.stream, field)).collect();
        Ok(Box::new(House { settings: self.clone(), name: name.to_owned(), columns }))
    }
}

impl Nexmark {
    /// How many records the stream has.
    fn records(&self) -> u64 {
        self.records_before(self.events.unwrap_or(EVENTS_MAX))
    }

    /// When event number `number` happens.
    fn time_of(&self, number: u64) -> EventTime {
        self.start.0 + (number * 1_000_000 / self.rate) as i64
    }
}

/// A source that is open.
struct House {
    settings: Nexmark,
    name: String,
    columns: Vec<Column>,
}

impl Feed for House {
    fn partitions(&self) -> Result<Vec<String>, Failure> {
        Ok((0..self.settings.partitions).map(|p| format!("{}[{p}]", self.name)).collect())
    }

    fn open(&self, partition: &str, from: Option<Position>, _wake: Wake) -> Result<Box<dyn Reader>, Failure> {
        let settings = &self.settings;
        let number = self.partitions()?.iter().position(|name| name == partition);
        let number =
            number.ok_or_else(|| Failure::new(format!("source `{}` has no partition `{partition}`", self.name)))?;
        let (position, first) = (from.unwrap_or(0), number as u64);
        let records = (settings.records() + settings.partitions - 1 - first) / settings.partitions;
        let walk = Walk::new(settings, first + position as u64 * settings.partitions, settings.partitions);
        let opened = settings.live.then(|| (now(), settings.time_of(walk.event().number)));
        let (settings, columns) = (settings.clone(), self.columns.clone());
        Ok(Box::new(Bidding { settings, columns, walk, position, end: records as i64, opened }))
    }

    fn decoder(&self) -> Option<MakeDecoder> {
        None
    }

    fn invents_time(&self) -> bool {
        true
    }

    fn total(&self) -> Option<u64> {
        self.settings.events.map(|_| self.settings.records())
    }
}

/// A partition that is being read.
struct Bidding {
    settings: Nexmark,
    columns: Vec<Column>,
    walk: Walk,
    position: Position,
    end: Position,
    /// For a live one when it was opened, and the time of the event that was due then.
    opened: Option<(Instant, EventTime)>,
}

impl Bidding {
    /// The event time that the clock has reached.
    fn due(&self) -> EventTime {
        self.opened.map_or(EventTime::MAX, |(opened, first)| {
            first.saturating_add(now().duration_since(opened).as_micros() as i64)
        })
    }
}

#[allow(clippy::disallowed_methods, reason = "the clock decides when a record is given, never what is in it")]
fn now() -> Instant {
    Instant::now()
}

impl Reader for Bidding {
    fn read(&mut self, limit: usize) -> Result<Read, Failure> {
        let room = limit.clamp(1, 1 << 16).min((self.end - self.position).max(0) as usize);
        if room == 0 {
            return Ok(Read::End);
        }
        let due = self.due();
        let (mut events, mut times) = (Vec::with_capacity(room), Vec::with_capacity(room));
        while events.len() < room {
            let event = self.walk.event();
            let time = self.settings.time_of(event.number);
            if time > due {
                break;
            }
            events.push(event);
            times.push(time);
            self.walk.advance();
        }
        if events.is_empty() {
            let wait = self.settings.time_of(self.walk.event().number) - due;
            return Ok(Read::Idle(Duration::from_micros(wait as u64).max(Duration::from_millis(1))));
        }
        let first = self.position;
        self.position += events.len() as i64;
        Ok(Read::Rows(Rows {
            columns: self.columns.iter().map(|column| column.build(&self.settings, &events, &times)).collect(),
            times,
            sequences: (first..self.position).collect(),
            bad: Vec::new(),
        }))
    }

    fn position(&self) -> Position {
        self.position
    }

    fn progress(&self) -> u64 {
        self.position as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, AsArray, RecordBatch};
    use arrow::compute::concat_batches;
    use arrow::datatypes::{ArrowPrimitiveType, Field as ArrowField, Int64Type, Schema as ArrowSchema};
    use std::sync::Arc;

    fn settings(text: &str) -> Nexmark {
        toml::from_str(text).expect("settings")
    }

    /// The rest of a partition, read so many records at a time.
    fn read(nexmark: &Nexmark, fields: &[&str], partition: u64, from: i64, limit: usize) -> RecordBatch {
        let schema = nexmark.plan(&mut Vec::new()).expect("a plan").filtered(|name| fields.contains(&name));
        let feed = Source::open(nexmark, "n", &schema).expect("a feed");
        let mut reader = feed.open(&format!("n[{partition}]"), Some(from), Arc::new(|| ())).expect("a reader");
        let fields = schema.fields().iter().map(|f| ArrowField::new(&f.name, f.kind.arrow(), true));
        let own = ["time", "sequence"].map(|name| ArrowField::new(name, Int64Type::DATA_TYPE, false));
        let arrow = Arc::new(ArrowSchema::new(fields.chain(own).collect::<Vec<_>>()));
        let mut batches = Vec::new();
        loop {
            match reader.read(limit).expect("records") {
                Read::Rows(rows) => {
                    let own = [rows.times, rows.sequences];
                    let own = own.map(|numbers| Arc::new(arrow::array::Int64Array::from(numbers)) as ArrayRef);
                    let columns = rows.columns.into_iter().chain(own).collect();
                    batches.push(RecordBatch::try_new(arrow.clone(), columns).expect("columns as planned"));
                }
                Read::Idle(wait) => std::thread::sleep(wait),
                Read::End => return concat_batches(&arrow, &batches).expect("batches of one schema"),
                Read::Frames(_) | Read::Errand(_) => panic!("it gives rows"),
            }
        }
    }

    fn ints(batch: &RecordBatch, name: &str) -> Vec<i64> {
        batch.column_by_name(name).expect(name).as_primitive::<Int64Type>().values().to_vec()
    }

    fn all(stream: &str, more: &str) -> RecordBatch {
        let nexmark = settings(&format!("stream = '{stream}'\npartitions = 1\n{more}"));
        let schema = nexmark.plan(&mut Vec::new()).expect("a plan");
        read(&nexmark, &schema.names().collect::<Vec<_>>(), 0, 0, 1_000)
    }

    #[test]
    fn the_three_streams_make_one_mix() {
        let mut times: Vec<i64> = ["person", "auction", "bid"]
            .iter()
            .flat_map(|s| ints(&all(s, "events = 1003\nrate = 700"), "time"))
            .collect();
        times.sort_unstable();
        let expected: Vec<i64> = (0..1003).map(|n| 1_767_225_600_000_000 + n * 1_000_000 / 700).collect();
        assert_eq!(times, expected);
        let counts = ["person", "auction", "bid"].map(|s| all(s, "events = 1003").num_rows());
        assert_eq!(counts, [21, 62, 920]);
        assert_eq!(ints(&all("person", "events = 200"), "id"), [1000, 1001, 1002, 1003]);
        assert_eq!(ints(&all("auction", "events = 54"), "id"), [1000, 1001, 1002, 1003, 1004, 1005]);
    }

    #[test]
    fn events_do_not_depend_on_how_they_are_read() {
        for stream in ["person", "auction", "bid"] {
            let whole = all(stream, "events = 20000");
            let parted = settings(&format!("stream = '{stream}'\nevents = 30000\npartitions = 7"));
            let schema = parted.plan(&mut Vec::new()).expect("a plan");
            for name in schema.names() {
                let alone: Vec<RecordBatch> = (0..7).map(|p| read(&parted, &[name], p, 0, 13)).collect();
                let row = |k: usize| alone[k % 7].slice(k / 7, 1).column(0).to_data();
                let column = whole.column_by_name(name).expect(name);
                for k in (0..whole.num_rows()).step_by(11) {
                    assert_eq!(row(k), column.slice(k, 1).to_data(), "{stream}.{name} of record {k}");
                }
            }
            let names: Vec<&str> = schema.names().collect();
            let from = read(&parted, &names, 2, 20, 64);
            let begun = read(&parted, &names, 2, 0, 64);
            assert_eq!(from, begun.slice(20, begun.num_rows() - 20));
        }
    }

    #[test]
    fn hot_keys_are_as_hot_as_told() {
        let bids = all("bid", "events = 200000\nhot_bidder_ratio = 10");
        let share = |hot: &dyn Fn(i64, i64) -> bool, name: &str| {
            let values = ints(&bids, name);
            let hits = values.iter().enumerate().filter(|(k, value)| hot(*k as i64 / 46, **value)).count();
            hits as f64 / values.len() as f64
        };
        let auction = share(&|round, id| id == (round * 3 + 2) / 100 * 100 + 1000, "auction");
        let bidder = share(&|round, id| id == round / 100 * 100 + 1001, "bidder");
        assert!((auction - 0.5).abs() < 0.02 && (bidder - 0.9).abs() < 0.01, "{auction} {bidder}");
        let lead = share(&|round, id| (round * 3 - 98..=round * 3 + 12).contains(&(id - 1000)), "auction");
        assert!(lead > 0.7, "{lead}");
        let newest = ints(&bids, "auction").iter().zip(0..).map(|(id, k)| id - 1000 - (k / 46 * 3 + 2)).max();
        assert_eq!(newest, Some(10));
        let prices = ints(&bids, "price");
        for (below, expected) in [(1_000, 1.0 / 6.0), (10_000, 2.0 / 6.0), (1_000_000, 4.0 / 6.0)] {
            let found = prices.iter().filter(|price| **price < below).count() as f64 / prices.len() as f64;
            assert!((found - expected).abs() < 0.005, "{found} of the prices are below {below}");
        }
        assert!(prices.iter().all(|price| (100..=100_000_000).contains(price)));
        let auctions = all("auction", "events = 200000");
        let sellers = ints(&auctions, "seller");
        let hot = sellers.iter().zip(0..).filter(|(id, k)| **id == k / 3 / 100 * 100 + 1000).count();
        assert!((hot as f64 / sellers.len() as f64 - 0.75).abs() < 0.02, "{hot} of {}", sellers.len());
    }

    #[test]
    fn records_are_of_their_sizes() {
        for (stream, expected, numbers) in [("bid", 68.0, 0.0), ("auction", 500.0, 48.0), ("person", 200.0, 8.0)] {
            let records = all(stream, "events = 100000");
            let schema = records.schema();
            let counted = |i: &usize| stream != "bid" || schema.field(*i).name() == "extra";
            let columns = (0..schema.fields().len()).filter(counted).map(|i| records.column(i));
            let texts = columns.filter_map(|column| column.as_string_opt::<i32>());
            let bytes: usize = texts.map(|column| column.value_data().len()).sum();
            let mean = bytes as f64 / records.num_rows() as f64 + numbers;
            assert!((mean / expected - 1.0).abs() < 0.02, "{stream}: {mean} bytes");
        }
    }

    #[test]
    fn bits_are_pinned() {
        let text = |stream: &str| {
            let records = all(stream, "events = 54");
            let extra = records.schema().index_of("extra").expect("a field");
            let last = records.slice(records.num_rows() - 1, 1);
            let cut = last.project(&(0..extra).collect::<Vec<_>>()).expect("columns");
            arrow::util::pretty::pretty_format_batches(&[cut])
                .expect("text")
                .to_string()
                .lines()
                .nth(3)
                .map(str::to_owned)
        };
        let lines = ["bid", "auction", "person"].map(|stream| text(stream).expect("a row"));
        let expected = [
            "| 1000    | 1007   | 14359544 | Facebook | https://www.nexmark.com/jsp/yajw/bble/item.htm?query=1 |",
            "| 1005 | msdzktzeqfqotddhh | yrzc        | 7761292     | 8048271 | 2026-01-01T00:00:00.243300Z \
             | 1000   | 11       |",
            "| 1001 | Luke Noris | qho@gjnb.com  | 4667 5609 6855 3161 | Boise | WA    |",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn faults_name_the_setting() {
        let wrong = settings(
            "partitions = 0\nrate = 0\nevents = 2000000000000\nproportions = { bid = 0 }\nhot_auction_ratio = 0\n\
            active_people = 0",
        );
        let mut faults = Vec::new();
        assert!(wrong.plan(&mut faults).is_none());
        let paths: Vec<String> = faults.iter().map(|fault| fault.path.join(".")).collect();
        let expected = ["rate", "partitions", "proportions.bid", "hot_auction_ratio", "active_people", "events"];
        assert_eq!(paths, expected);
        for text in ["stream = \"bids\"", "start = \"soon\"", "rate = \"1000/s\"", "proportions = { bids = 3 }"] {
            assert!(toml::from_str::<Nexmark>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn live_events_come_when_they_are_due() {
        let opened = now();
        let live = all("bid", "events = 600\nrate = 10000\nlive = true");
        assert!(now().duration_since(opened) >= Duration::from_millis(59));
        assert_eq!(live, all("bid", "events = 600\nrate = 10000"));
    }
}
