//! What is known of a cluster while a job runs: the context of every client, which hears what the client has to say.
//!
//! A broker that is away is trouble until the client's statistics show it up again, or the cluster does without it. A
//! login that is refused, and a client that is broken, may become failures. Which partitions can be reached is told by
//! their leaders: it decides whether one that gives nothing is silent.

use super::{Security, TokenFrom, clock, now};
use crate::fault::Failure;
use crate::time::EventTime;
use rdkafka::ClientContext;
use rdkafka::TopicPartitionList;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::mem;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// Watches a client: which brokers are away, whether a login was refused, whether the client is broken for good.
pub struct Watch {
    token: Option<TokenFrom>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    away: BTreeMap<String, Away>,
    /// The partitions, by topic, whose leaders were up when the client last told, while a broker is away.
    led: BTreeMap<String, BTreeSet<i32>>,
    refused: Option<Refusal>,
    fatal: Option<String>,
    notes: BTreeMap<String, String>,
    /// Whether the last statistics named no broker at all.
    orphaned: bool,
    /// What came of the last commit to a group.
    commit: Option<Result<(), String>>,
}

impl State {
    fn refuse(&mut self, broker: Option<(&str, &str)>, what: &str, reason: &str) {
        let reason = match broker {
            Some((broker, rest)) => format!("broker {broker} {what}: {}", without_duration(rest)),
            None => format!("the login fails: {reason}"),
        };
        self.refused.get_or_insert_with(|| Refusal { since: now(), reason });
    }
}

struct Away {
    since: EventTime,
    reason: String,
}

struct Refusal {
    since: EventTime,
    reason: String,
}

impl Watch {
    /// A watch for a client with that login.
    pub fn new(security: Option<&Security>) -> Watch {
        Watch { token: security.and_then(Security::token), state: Mutex::default() }
    }

    /// What is wrong with the cluster just now.
    pub fn trouble(&self) -> Option<String> {
        let state = self.state();
        if let Some(refusal) = &state.refused {
            return Some(format!("{} (since {}), retrying", refusal.reason, clock(refusal.since)));
        }
        if let Some((broker, away)) = state.away.iter().next() {
            let more = match state.away.len() - 1 {
                0 => String::new(),
                more => format!(" (and {more} more)"),
            };
            return Some(format!(
                "broker {broker} is away since {}, retrying{more}: {}",
                clock(away.since),
                away.reason
            ));
        }
        state.notes.iter().next().map(|(what, note)| format!("{what}: {note}"))
    }

    /// Whether the leader of a partition can be reached. Where it is not known, it cannot.
    pub fn reaches(&self, topic: &str, partition: i32) -> bool {
        let state = self.state();
        let is_led = || state.led.get(topic).is_some_and(|led| led.contains(&partition));
        state.refused.is_none() && (state.away.is_empty() || is_led())
    }

    /// Whether brokers are away and others are not, which lead partitions.
    pub fn reaches_some(&self) -> bool {
        let state = self.state();
        state.refused.is_none() && !state.away.is_empty() && state.led.values().any(|led| !led.is_empty())
    }

    /// The failure that waiting does not mend, if there is one.
    pub fn failure(&self) -> Option<Failure> {
        self.state().fatal.as_ref().map(|reason| Failure::new(format!("Kafka's client is broken: {reason}")))
    }

    /// A login that has been refused for that long, as a failure.
    pub fn refusal(&self, for_at_least: Duration) -> Option<Failure> {
        let state = self.state();
        let refusal = state.refused.as_ref().filter(|r| now() - r.since >= for_at_least.as_micros() as i64)?;
        Some(
            Failure::new(refusal.reason.clone())
                .help("look at `security`: protocol, mechanism, username, password and certificates"),
        )
    }

    /// Why the last broker that is away could not be reached, in the client's words.
    pub fn reason(&self) -> Option<String> {
        self.state().away.values().next().map(|away| away.reason.clone())
    }

    /// Notes what is wrong with a thing, until [`Watch::mended`].
    pub fn note(&self, what: &str, note: String) {
        self.state().notes.insert(what.to_owned(), note);
    }

    /// The thing is well again.
    pub fn mended(&self, what: &str) {
        self.state().notes.remove(what);
    }

    /// A broker has answered a request that needs a login.
    pub fn answered(&self) {
        self.state().refused = None;
    }

    /// Whether the client had no broker when it last told, which the caller now mends.
    pub fn take_orphaned(&self) -> bool {
        mem::take(&mut self.state().orphaned)
    }

    /// What came of the last commit to a group, once it is known: why not, if it was not committed.
    pub fn take_commit(&self) -> Option<Result<(), String>> {
        self.state().commit.take()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics while it holds the state of a client")
    }
}

impl ClientContext for Watch {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    /// A connection that the broker closes at once is told in the log only, with a hint at the wrong protocol.
    fn log(&self, _: RDKafkaLogLevel, facility: &str, text: &str) {
        let text = text.split_once("]: ").map_or(text, |(_, text)| text);
        if facility == "FAIL" && text.contains("security.protocol") {
            self.error(KafkaError::Global(RDKafkaErrorCode::BrokerTransportFailure), text);
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let mut state = self.state();
        let broker = broker_of(reason);
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::Fatal) => state.fatal = Some(reason.to_owned()),
            Some(RDKafkaErrorCode::Authentication) => state.refuse(broker, "refuses the login", reason),
            Some(RDKafkaErrorCode::SSL) => state.refuse(broker, "and this client do not agree on TLS", reason),
            Some(
                RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::OperationTimedOut,
            ) => {
                let Some((broker, reason)) = broker else { return };
                if !state.away.contains_key(broker) {
                    // Which partitions it leads is told by the next statistics.
                    state.led.clear();
                    state.away.insert(broker.to_owned(), Away { since: now(), reason: String::new() });
                }
                if let Some(away) = state.away.get_mut(broker) {
                    away.reason = without_duration(reason).to_owned();
                }
            }
            _ => {}
        }
    }

    fn stats_raw(&self, statistics: &[u8]) {
        let mut state = self.state();
        state.orphaned = !["learned", "configured"].iter().any(|source| names_broker(statistics, source));
        if state.away.is_empty() && state.refused.is_none() {
            return;
        }
        let Ok(Statistics { brokers, topics }) = serde_json::from_slice(statistics) else { return };
        let up: BTreeSet<i32> = brokers.values().filter(|b| b.state == "UP").map(|b| b.nodeid).collect();
        let led = |topic: TopicStatistics| {
            let led = topic.partitions.into_values().filter(|p| up.contains(&p.leader));
            led.map(|p| p.partition).collect()
        };
        state.led = topics.into_iter().map(|(name, topic)| (name, led(topic))).collect();
        if brokers.values().any(|broker| broker.state == "UP") {
            state.refused = None;
            state
                .away
                .retain(|name, _| brokers.values().any(|b| b.nodeid >= 0 && b.nodename == *name && b.state != "UP"));
        }
    }

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        self.token.as_ref().ok_or("no token is configured")?.fetch()
    }
}

impl ConsumerContext for Watch {
    fn commit_callback(&self, result: KafkaResult<()>, offsets: &TopicPartitionList) {
        let each = || offsets.elements().iter().try_for_each(|partition| partition.error());
        let reason = |error: KafkaError| error.rdkafka_error_code().map_or(error.to_string(), |code| code.to_string());
        self.state().commit = Some(result.and_then(|()| each()).map_err(reason));
    }
}

#[derive(Deserialize)]
struct Statistics {
    brokers: BTreeMap<String, BrokerStatistics>,
    #[serde(default)]
    topics: BTreeMap<String, TopicStatistics>,
}

#[derive(Deserialize)]
struct TopicStatistics {
    partitions: BTreeMap<String, PartitionStatistics>,
}

#[derive(Deserialize)]
struct PartitionStatistics {
    partition: i32,
    leader: i32,
}

#[derive(Deserialize)]
struct BrokerStatistics {
    nodeid: i32,
    nodename: String,
    state: String,
}

/// Whether statistics name a broker that is known from there. They may be long, so they are not read for this.
fn names_broker(statistics: &[u8], source: &str) -> bool {
    memchr::memmem::find(statistics, format!("\"source\":\"{source}\"").as_bytes()).is_some()
}

/// The broker that an error of the client is about, and the rest: `sasl_ssl://host:port/bootstrap: Connect failed`.
fn broker_of(reason: &str) -> Option<(&str, &str)> {
    let (name, rest) = reason.split_once(": ")?;
    let name = name.split_once("://").map_or(name, |(_, name)| name);
    name.rsplit_once('/').map(|(broker, _)| (broker, rest))
}

/// A reason without its `(after 3ms in state CONNECT)`.
fn without_duration(reason: &str) -> &str {
    reason.split_once(" (after ").map_or(reason, |(reason, _)| reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_reached_where_its_leader_is_up() {
        let watch = Watch::new(None);
        assert!(watch.reaches("readings", 0));
        let transport = || KafkaError::Global(RDKafkaErrorCode::BrokerTransportFailure);
        watch.error(transport(), "b:9092/2: Connect failed");
        assert!(!watch.reaches("readings", 0), "nobody has told yet whom the broker leads");
        assert!(!watch.reaches_some());
        let told = |state: &str| {
            format!(
                r#"{{"brokers":{{"a:9092/1":{{"nodeid":1,"nodename":"a:9092","state":"UP"}},
                    "b:9092/2":{{"nodeid":2,"nodename":"b:9092","state":"{state}"}}}},
                    "topics":{{"readings":{{"partitions":{{"0":{{"partition":0,"leader":1}},
                    "1":{{"partition":1,"leader":2}},"-1":{{"partition":-1,"leader":-1}}}}}}}}}}"#
            )
        };
        watch.stats_raw(told("DOWN").as_bytes());
        watch.error(transport(), "b:9092/2: Connect failed");
        assert_eq!([0, 1, 2].map(|number| watch.reaches("readings", number)), [true, false, false]);
        assert!(watch.reaches_some());
        watch.stats_raw(told("UP").as_bytes());
        assert!(watch.reaches("readings", 1));
    }

    #[test]
    fn a_client_without_brokers_is_noticed_once_each_time_it_tells() {
        let watch = Watch::new(None);
        let told =
            |brokers: &str| watch.stats_raw(format!(r#"{{"brokers":{{ {brokers} }}, "topics":{{}}}}"#).as_bytes());
        let broker = |source: &str| format!(r#""a:9092/1":{{"nodeid":1,"nodename":"a:9092","source":"{source}"}}"#);
        for (brokers, orphaned) in
            [("".into(), true), (broker("logical"), true), (broker("learned"), false), (broker("configured"), false)]
        {
            told(&brokers);
            assert_eq!((watch.take_orphaned(), watch.take_orphaned()), (orphaned, false), "{brokers}");
        }
    }

    #[test]
    fn trouble_comes_and_goes() {
        let watch = Watch::new(None);
        let transport = || KafkaError::Global(RDKafkaErrorCode::BrokerTransportFailure);
        watch.error(transport(), "sasl_ssl://10.0.0.1:9092/bootstrap: Connect failed (after 0ms in state CONNECT)");
        let trouble = watch.trouble().expect("trouble");
        assert!(
            trouble.starts_with("broker 10.0.0.1:9092 is away since ")
                && trouble.ends_with(" UTC, retrying: Connect failed"),
            "{trouble}"
        );
        watch.error(transport(), "10.0.0.2:9092/2: Connect failed");
        let statistics = |state: &str| {
            let broker = |id: i32, name: &str, state: &str| {
                format!(r#""{name}/{id}":{{"nodeid":{id},"nodename":"{name}","state":"{state}"}}"#)
            };
            format!(
                r#"{{"brokers":{{{},{}}}}}"#,
                broker(-1, "10.0.0.1:9092", "DOWN"),
                broker(2, "10.0.0.2:9092", state)
            )
        };
        watch.stats_raw(statistics("CONNECT").as_bytes());
        assert!(watch.trouble().expect("still away").contains(" (and 1 more): "));
        watch.stats_raw(statistics("UP").as_bytes());
        assert_eq!(watch.trouble(), None);
        watch.error(
            KafkaError::Global(RDKafkaErrorCode::Authentication),
            "a:1/bootstrap: SASL authentication error: wrong",
        );
        assert!(
            watch.refusal(Duration::ZERO).expect("refused").to_string().contains("broker a:1 refuses the login: SASL")
        );
        assert!(watch.refusal(Duration::from_secs(60)).is_none());
        watch.answered();
        assert_eq!(watch.trouble(), None);
        let hint = "[thrd:a:1/bootstrap]: a:1/bootstrap: Disconnected: might be caused by incorrect security.protocol (after 5ms in state X)";
        watch.log(RDKafkaLogLevel::Info, "FAIL", hint);
        assert!(
            watch
                .trouble()
                .expect("trouble")
                .ends_with(": Disconnected: might be caused by incorrect security.protocol")
        );
    }
}
