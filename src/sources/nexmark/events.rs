//! The events of Nexmark: which numbers of the mix a stream has, and what is in each field of an event.
//!
//! A field of event `n` is made of one number, [`Random::at`]`(n)` of a stream of its own, so it costs nothing where it
//! is not wanted and is the same wherever it is made. The rules are those of the generator of Apache Beam
//! (`sdks/java/testing/nexmark`, `AuctionGenerator`, `BidGenerator`, `PersonGenerator`).

use super::{Nexmark, Stream};
use crate::schema::Kind;
use crate::stats::elementary::exp;
use crate::stats::random::Random;
use crate::time::EventTime;
use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::buffer::{Buffer, OffsetBuffer};
use std::f64::consts::LN_10;
use std::io::Write;
use std::sync::Arc;

const FIRST_AUCTION: u64 = 1_000;
const FIRST_PERSON: u64 = 1_000;
const FIRST_CATEGORY: u64 = 10;
const CATEGORIES: u64 = 5;
/// One in so many people and auctions may be hot.
const HOT: u64 = 100;
/// How many ids that do not exist yet may be named.
const LEAD: u64 = 10;
const CHANNELS: u64 = 10_000;
const HOT_CHANNELS: [&str; 4] = ["Google", "Facebook", "Baidu", "Apple"];
const FIRST_NAMES: [&str; 11] =
    ["Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter"];
const LAST_NAMES: [&str; 9] = ["Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris"];
const STATES: [&str; 6] = ["AZ", "CA", "ID", "OR", "WA", "WY"];
const CITIES: [&str; 10] =
    ["Phoenix", "Los Angeles", "San Francisco", "Boise", "Portland", "Bend", "Redmond", "Seattle", "Kent", "Cheyenne"];

impl Nexmark {
    /// How many events of the stream are in a round, and how many of others are before them in it.
    fn place(&self) -> (u64, u64) {
        let proportions = self.proportions;
        match self.stream {
            Stream::Person => (proportions.person, 0),
            Stream::Auction => (proportions.auction, proportions.person),
            Stream::Bid => (proportions.bid, proportions.person + proportions.auction),
        }
    }

    /// How many events are in a round.
    fn round(&self) -> u64 {
        self.proportions.person + self.proportions.auction + self.proportions.bid
    }

    /// How many of the first `events` events are of the stream.
    pub(super) fn records_before(&self, events: u64) -> u64 {
        let (size, before) = self.place();
        events / self.round() * size + (events % self.round()).saturating_sub(before).min(size)
    }

    /// The number of the newest auction when a bid is made.
    fn newest_auction(&self, event: &Event) -> u64 {
        (event.round + 1) * self.proportions.auction - 1
    }

    /// The number of the newest person when an auction opens or a bid is made.
    fn newest_person(&self, event: &Event) -> u64 {
        (event.round + 1) * self.proportions.person - 1
    }

    /// The number of an event among those of the stream.
    fn index(&self, event: &Event) -> u64 {
        let (size, before) = self.place();
        event.round * size + (event.number - event.round * self.round() - before)
    }

    /// Which auction a bid is for.
    fn auction(&self, event: &Event, mut draw: Draw) -> u64 {
        let newest = self.newest_auction(event);
        let oldest = newest.saturating_sub(self.in_flight_auctions);
        let hot = draw.pick(self.hot_auction_ratio) > 0;
        FIRST_AUCTION + if hot { newest / HOT * HOT } else { oldest + draw.pick(newest - oldest + 1 + LEAD) }
    }

    /// Who bids or sells: the hot one is number `which` of its hundred.
    fn person(&self, event: &Event, mut draw: Draw, ratio: u64, which: u64) -> u64 {
        let people = self.newest_person(event) + 1;
        let active = people.min(self.active_people);
        let hot = draw.pick(ratio) > 0;
        FIRST_PERSON + if hot { (people - 1) / HOT * HOT + which } else { people - active + draw.pick(active + LEAD) }
    }

    /// When an auction ends: on average when as many more have begun as are in flight.
    fn expires(&self, mut draw: Draw, time: EventTime) -> EventTime {
        let events = self.in_flight_auctions * self.round() / self.proportions.auction;
        let horizon = events * 1_000 / self.rate;
        time + 1_000 * (1 + draw.pick((2 * horizon).max(1)) as i64)
    }

    /// The page of a channel: nine in ten name it.
    fn write_url(&self, channel: u64, text: &mut Vec<u8>) {
        let mut random = Column::Url.random(self.seed).split(channel);
        text.extend_from_slice(b"https://www.nexmark.com/");
        for _ in 0..3 {
            let length = 3 + random.pick(2);
            write_letters(&mut random, length, text);
            text.push(b'/');
        }
        text.extend_from_slice(b"item.htm?query=1");
        if channel < CHANNELS && random.pick(10) > 0 {
            write_text(text, format_args!("&channel_id={}", ((channel as u32).reverse_bits() as i32).unsigned_abs()));
        }
    }
}

/// An event of the mix.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    /// Its number in the whole mix.
    pub(super) number: u64,
    /// Its round.
    round: u64,
}

/// Goes through the records of a stream in steps of one length, without dividing.
pub(super) struct Walk {
    event: Event,
    /// How far into its round's share of the stream it is, and how long that share is.
    offset: u64,
    size: u64,
    /// A step, in rounds and records.
    rounds: u64,
    records: u64,
    /// How many events are in a round.
    round: u64,
}

impl Walk {
    /// Stands at record number `index` of the stream and goes `step` records at a time.
    pub(super) fn new(nexmark: &Nexmark, index: u64, step: u64) -> Walk {
        let ((size, before), round) = (nexmark.place(), nexmark.round());
        let (rounds, offset) = (index / size, index % size);
        let event = Event { number: rounds * round + before + offset, round: rounds };
        Walk { event, offset, size, rounds: step / size, records: step % size, round }
    }

    /// Where it stands.
    pub(super) fn event(&self) -> Event {
        self.event
    }

    /// Goes on to the next record.
    pub(super) fn advance(&mut self) {
        let (mut rounds, mut offset) = (self.rounds, self.offset + self.records);
        if offset >= self.size {
            (rounds, offset) = (rounds + 1, offset - self.size);
        }
        self.event.round += rounds;
        self.event.number = self.event.number + rounds * self.round + offset - self.offset;
        self.offset = offset;
    }
}

/// The fields there are. What a seed gives hangs on their order: append, never insert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Auction,
    Bidder,
    Price,
    Channel,
    Url,
    BidExtra,
    AuctionId,
    ItemName,
    Description,
    InitialBid,
    Reserve,
    Expires,
    Seller,
    Category,
    AuctionExtra,
    PersonId,
    Name,
    EmailAddress,
    CreditCard,
    City,
    State,
    PersonExtra,
}

impl Column {
    pub(super) const ALL: [(Stream, &'static str, Kind, Column); 22] = [
        (Stream::Bid, "auction", Kind::Int, Column::Auction),
        (Stream::Bid, "bidder", Kind::Int, Column::Bidder),
        (Stream::Bid, "price", Kind::Int, Column::Price),
        (Stream::Bid, "channel", Kind::Text, Column::Channel),
        (Stream::Bid, "url", Kind::Text, Column::Url),
        (Stream::Bid, "extra", Kind::Text, Column::BidExtra),
        (Stream::Auction, "id", Kind::Int, Column::AuctionId),
        (Stream::Auction, "item_name", Kind::Text, Column::ItemName),
        (Stream::Auction, "description", Kind::Text, Column::Description),
        (Stream::Auction, "initial_bid", Kind::Int, Column::InitialBid),
        (Stream::Auction, "reserve", Kind::Int, Column::Reserve),
        (Stream::Auction, "expires", Kind::Time, Column::Expires),
        (Stream::Auction, "seller", Kind::Int, Column::Seller),
        (Stream::Auction, "category", Kind::Int, Column::Category),
        (Stream::Auction, "extra", Kind::Text, Column::AuctionExtra),
        (Stream::Person, "id", Kind::Int, Column::PersonId),
        (Stream::Person, "name", Kind::Text, Column::Name),
        (Stream::Person, "email_address", Kind::Text, Column::EmailAddress),
        (Stream::Person, "credit_card", Kind::Text, Column::CreditCard),
        (Stream::Person, "city", Kind::Text, Column::City),
        (Stream::Person, "state", Kind::Text, Column::State),
        (Stream::Person, "extra", Kind::Text, Column::PersonExtra),
    ];

    /// The field of that name.
    pub(super) fn of(stream: Stream, name: &str) -> Option<Column> {
        Column::ALL.into_iter().find(|(s, n, ..)| (*s, *n) == (stream, name)).map(|(.., column)| column)
    }

    /// The chance that decides it.
    fn random(self, seed: u64) -> Random {
        Random::new(seed).split(self as u64)
    }

    /// The column of this field of some events, whose times are `times`.
    pub(super) fn build(self, nexmark: &Nexmark, events: &[Event], times: &[EventTime]) -> ArrayRef {
        let random = self.random(nexmark.seed);
        let draw = |event: &Event| Draw(random.at(event.number));
        match self {
            Column::Auction => ints(events, |event| nexmark.auction(event, draw(event))),
            Column::Bidder => ints(events, |event| nexmark.person(event, draw(event), nexmark.hot_bidder_ratio, 1)),
            Column::Seller => ints(events, |event| nexmark.person(event, draw(event), nexmark.hot_seller_ratio, 0)),
            Column::Price | Column::InitialBid => ints(events, |event| draw(event).price()),
            Column::Reserve => {
                let initial = Column::InitialBid.random(nexmark.seed);
                ints(events, |event| Draw(initial.at(event.number)).price() + draw(event).price())
            }
            Column::AuctionId => ints(events, |event| FIRST_AUCTION + nexmark.index(event)),
            Column::PersonId => ints(events, |event| FIRST_PERSON + nexmark.index(event)),
            Column::Category => ints(events, |event| FIRST_CATEGORY + draw(event).pick(CATEGORIES)),
            Column::Expires => {
                let expires = events.iter().zip(times).map(|(event, time)| nexmark.expires(draw(event), *time));
                Arc::new(TimestampMicrosecondArray::from_iter_values(expires).with_timezone("UTC"))
            }
            text => texts(events, |event, to| text.write(nexmark, event, draw(event), to)),
        }
    }

    /// Writes the text of an event.
    fn write(self, nexmark: &Nexmark, event: &Event, mut draw: Draw, text: &mut Vec<u8>) {
        match self {
            Column::Channel => match draw.channel() {
                channel if channel < CHANNELS => write_text(text, format_args!("channel-{channel}")),
                hot => text.extend_from_slice(HOT_CHANNELS[(hot - CHANNELS) as usize].as_bytes()),
            },
            Column::Url => {
                let channels = Column::Channel.random(nexmark.seed);
                nexmark.write_url(Draw(channels.at(event.number)).channel(), text);
            }
            Column::ItemName => draw.write_letters(3, 17, text),
            Column::Description => draw.write_letters(3, 97, text),
            Column::Name => {
                text.extend_from_slice(draw.one_of(&FIRST_NAMES).as_bytes());
                text.push(b' ');
                text.extend_from_slice(draw.one_of(&LAST_NAMES).as_bytes());
            }
            Column::EmailAddress => {
                draw.write_letters(3, 4, text);
                text.push(b'@');
                draw.write_letters(3, 2, text);
                text.extend_from_slice(b".com");
            }
            Column::CreditCard => {
                let [a, b, c, d] = std::array::from_fn(|_| draw.pick(10_000));
                write_text(text, format_args!("{a:04} {b:04} {c:04} {d:04}"));
            }
            Column::City => text.extend_from_slice(draw.one_of(&CITIES).as_bytes()),
            Column::State => text.extend_from_slice(draw.one_of(&STATES).as_bytes()),
            // What a record lacks of its average size, give or take a fifth.
            Column::BidExtra => draw.write_letters(54, 28, text),
            Column::AuctionExtra => draw.write_letters(313, 156, text),
            Column::PersonExtra => draw.write_letters(110, 56, text),
            numbers => unreachable!("{numbers:?} is no text"),
        }
    }
}

/// A draw of 64 bits, of which choices are made one after the other. A choice among n is even to `n / 2^64` times the
/// choices before it, which no one will ever see.
struct Draw(u64);

impl Draw {
    /// A choice of `0..n`: the whole part of a fraction times `n`; the rest is the fraction for the next choice.
    #[inline]
    fn pick(&mut self, n: u64) -> u64 {
        let wide = u128::from(self.0) * u128::from(n);
        self.0 = wide as u64;
        (wide >> 64) as u64
    }

    fn one_of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.pick(words.len() as u64) as usize]
    }

    /// Cents, from 1 to 1,000,000 dollars, their logarithm uniform.
    fn price(&self) -> u64 {
        let exponent = (self.0 >> 11) as f64 * (6.0 * LN_10 / (1u64 << 53) as f64);
        (exp(exponent) * 100.0 + 0.5) as u64
    }

    /// A channel; half of the time a hot one, whose numbers lie behind those of the others.
    fn channel(&mut self) -> u64 {
        if self.pick(2) > 0 { CHANNELS + self.pick(HOT_CHANNELS.len() as u64) } else { self.pick(CHANNELS) }
    }

    /// Writes from `least` letters to `more` less one above it.
    fn write_letters(&mut self, least: u64, more: u64, text: &mut Vec<u8>) {
        let length = least + self.pick(more);
        write_letters(&mut Random::new(self.0), length, text);
    }
}

/// Writes letters, eight for every number drawn: each is so frequent to one in ten.
fn write_letters(random: &mut Random, count: u64, text: &mut Vec<u8>) {
    let end = text.len() + count as usize;
    while text.len() < end {
        text.extend_from_slice(&random.next_u64().to_le_bytes().map(|byte| b'a' + ((u16::from(byte) * 26) >> 8) as u8));
    }
    text.truncate(end);
}

fn write_text(text: &mut Vec<u8>, written: std::fmt::Arguments<'_>) {
    text.write_fmt(written).expect("writing to a Vec does not fail");
}

fn ints(events: &[Event], number: impl Fn(&Event) -> u64) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(events.iter().map(|event| number(event) as i64)))
}

fn texts(events: &[Event], write: impl Fn(&Event, &mut Vec<u8>)) -> ArrayRef {
    let mut text = Vec::new();
    let lengths = events.iter().map(|event| {
        let before = text.len();
        write(event, &mut text);
        text.len() - before
    });
    let offsets = OffsetBuffer::from_lengths(lengths);
    Arc::new(StringArray::new(offsets, Buffer::from_vec(text), None))
}
