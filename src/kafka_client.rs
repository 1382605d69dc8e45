//! What Kafka's source and sink share: how a job file names a cluster, and what is known of it while a job runs.
//!
//! ```text
//! brokers, security, properties --check--> faults, when the job is planned
//!                               --config-> ClientConfig, when it starts
//! Watch (the client's context)  --trouble> "broker 10.0.0.1:9092 is away since 12:00:03 UTC, retrying: ..."
//! ```
//! No secret is ever part of a fault, a failure or a debug text. A broker that is away is trouble, not a failure: the
//! client tries again by itself, for ever. Names and passwords that a broker refuses, and topics that do not exist, are
//! failures, because waiting does not help.

mod orphan;
pub mod publisher;
mod watch;

pub use orphan::{add_brokers, readmit};
pub use watch::Watch;

use crate::fault::{self, Failure, Fault};
use crate::time::{self, EventTime};
use rdkafka::client::{Client, OAuthToken};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{ClientContext, types::RDKafkaRespErr};
use schemars::{JsonSchema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

/// One name or several: `"a:9092"`, `"a:9092,b:9092"` or `["a:9092", "b:9092"]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(pub Vec<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Names, D::Error> {
        let wrong = || D::Error::custom("expected a name or a list of names, each of them text");
        let names = match toml::Value::deserialize(from)? {
            toml::Value::String(text) => text.split(',').map(|name| name.trim().to_owned()).collect(),
            toml::Value::Array(names) => names
                .iter()
                .map(|name| name.as_str().map(|n| n.trim().to_owned()))
                .collect::<Option<_>>()
                .ok_or_else(wrong)?,
            _ => return Err(wrong()),
        };
        Ok(Names(names))
    }
}

impl JsonSchema for Names {
    fn schema_name() -> Cow<'static, str> {
        "Names".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> schemars::Schema {
        json_schema!({ "description": "One name or a list of names.",
            "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] })
    }
}

/// Settings of librdkafka by their own names; they win over what Eagre sets, except those that would break it.
#[derive(Clone, Debug, Default)]
pub struct Properties(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Properties {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Properties, D::Error> {
        let text = |(name, value): (String, toml::Value)| match value {
            toml::Value::String(text) => Ok((name, text)),
            toml::Value::Integer(_) | toml::Value::Boolean(_) | toml::Value::Float(_) => Ok((name, value.to_string())),
            toml::Value::Table(_) => {
                let help = format!("`{name}` is a table; write the whole name in quotes: \"{name}.…\" = …");
                Err(D::Error::custom(help))
            }
            _ => Err(D::Error::custom(format!("`{name}` must be text, a number, true or false"))),
        };
        BTreeMap::<String, toml::Value>::deserialize(from)?
            .into_iter()
            .map(text)
            .collect::<Result<_, _>>()
            .map(Properties)
    }
}

impl JsonSchema for Properties {
    fn schema_name() -> Cow<'static, str> {
        "Properties".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> schemars::Schema {
        json_schema!({ "type": "object", "additionalProperties": { "type": ["string", "number", "boolean"] },
            "description": "Settings of librdkafka by their own names, in quotes." })
    }
}

/// Text that is never shown.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// How a client proves who it is, and how it knows the broker. A password or token is given in one of several ways.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Security {
    /// PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL (default: SASL_SSL with a mechanism, else SSL).
    protocol: Option<Protocol>,
    /// PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER.
    mechanism: Option<Mechanism>,
    /// The user.
    username: Option<String>,
    /// The password itself; better one of the next two.
    password: Option<Secret>,
    /// A file that holds the password.
    password_file: Option<PathBuf>,
    /// The environment variable that holds the password.
    password_env: Option<String>,
    /// Certificates (PEM) of those who may sign the broker's (default: those of the system).
    ca_file: Option<PathBuf>,
    /// The client's own certificate (PEM).
    cert_file: Option<PathBuf>,
    /// The key of that certificate (PEM).
    key_file: Option<PathBuf>,
    /// The password of that key.
    key_password: Option<Secret>,
    /// A file that holds the OAUTHBEARER token; it is read again whenever a token expires.
    token_file: Option<PathBuf>,
    /// A program and its arguments that print the OAUTHBEARER token.
    token_command: Option<Vec<String>>,
}

/// What the connection is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Protocol {
    /// Neither secret nor authenticated.
    Plaintext,
    /// TLS.
    Ssl,
    /// A login without TLS.
    SaslPlaintext,
    /// A login over TLS.
    SaslSsl,
}

/// How a login is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Mechanism {
    /// The password as it is.
    #[serde(rename = "PLAIN")]
    Plain,
    /// A proof that the password is known.
    #[serde(rename = "SCRAM-SHA-256")]
    Scram256,
    /// The same with a longer hash.
    #[serde(rename = "SCRAM-SHA-512")]
    Scram512,
    /// A token.
    #[serde(rename = "OAUTHBEARER")]
    OauthBearer,
}

impl Security {
    /// Whether the login is made with a token.
    pub fn uses_tokens(&self) -> bool {
        self.mechanism == Some(Mechanism::OauthBearer)
    }

    fn protocol(&self) -> Protocol {
        self.protocol.unwrap_or(if self.mechanism.is_some() { Protocol::SaslSsl } else { Protocol::Ssl })
    }

    fn check(&self, faults: &mut Vec<Fault>) {
        let mut fault = |setting: &str, message: &str| faults.push(Fault::at(&format!("security.{setting}"), message));
        let sasl = matches!(self.protocol(), Protocol::SaslPlaintext | Protocol::SaslSsl);
        let tls = matches!(self.protocol(), Protocol::Ssl | Protocol::SaslSsl);
        let passwords = [self.password.is_some(), self.password_file.is_some(), self.password_env.is_some()];
        let passwords = passwords.into_iter().filter(|given| *given).count();
        let tokens = usize::from(self.token_file.is_some()) + usize::from(self.token_command.is_some());
        match self.mechanism {
            None if sasl => fault(
                "mechanism",
                "a SASL protocol needs a mechanism: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER",
            ),
            Some(_) if !sasl => fault("protocol", "a mechanism needs the protocol SASL_SSL or SASL_PLAINTEXT"),
            Some(Mechanism::OauthBearer) if tokens != 1 => {
                fault("mechanism", "OAUTHBEARER needs one of `token_file` and `token_command`")
            }
            Some(Mechanism::OauthBearer) | None => {}
            Some(_) if self.username.is_none() => fault("username", "this mechanism needs a `username`"),
            Some(_) if passwords != 1 => {
                fault("password", "this mechanism needs one of `password`, `password_file` and `password_env`")
            }
            Some(_) => {}
        }
        if !tls && (self.ca_file.is_some() || self.cert_file.is_some() || self.key_file.is_some()) {
            fault("protocol", "files of certificates are used with SSL and SASL_SSL only");
        }
        if self.cert_file.is_some() != self.key_file.is_some() {
            fault("cert_file", "`cert_file` and `key_file` belong together");
        }
        if self.token_command.as_ref().is_some_and(Vec::is_empty) {
            fault("token_command", "the command is empty; write [\"program\", \"argument\"]");
        }
    }

    fn apply(&self, config: &mut ClientConfig) -> Result<(), Failure> {
        let protocol = match self.protocol() {
            Protocol::Plaintext => "plaintext",
            Protocol::Ssl => "ssl",
            Protocol::SaslPlaintext => "sasl_plaintext",
            Protocol::SaslSsl => "sasl_ssl",
        };
        config.set("security.protocol", protocol);
        if let Some(mechanism) = self.mechanism {
            let name = match mechanism {
                Mechanism::Plain => "PLAIN",
                Mechanism::Scram256 => "SCRAM-SHA-256",
                Mechanism::Scram512 => "SCRAM-SHA-512",
                Mechanism::OauthBearer => "OAUTHBEARER",
            };
            config.set("sasl.mechanism", name);
        }
        if let (Some(user), Some(password)) = (&self.username, self.read_password()?) {
            config.set("sasl.username", user).set("sasl.password", password.0);
        }
        let files = [
            ("ssl.ca.location", &self.ca_file),
            ("ssl.certificate.location", &self.cert_file),
            ("ssl.key.location", &self.key_file),
        ];
        for (name, file) in files {
            let Some(file) = file else { continue };
            std::fs::metadata(file).map_err(|error| unreadable(file, &error))?;
            config.set(name, file.to_string_lossy());
        }
        self.key_password.iter().for_each(|password| {
            config.set("ssl.key.password", &password.0);
        });
        Ok(())
    }

    fn read_password(&self) -> Result<Option<Secret>, Failure> {
        if let Some(file) = &self.password_file {
            return read_secret(file).map(Some);
        }
        let Some(variable) = &self.password_env else { return Ok(self.password.clone()) };
        #[allow(
            clippy::disallowed_methods,
            reason = "the job names the variable; its value must not pass through the job's text"
        )]
        let value = std::env::var(variable);
        let missing = || {
            Failure::new(format!("the environment variable {variable} is not set"))
                .help("`security.password_env` names it")
        };
        value.map(|text| Some(Secret(text))).map_err(|_| missing())
    }

    fn token(&self) -> Option<TokenFrom> {
        let file = self.token_file.clone().map(TokenFrom::File);
        file.or_else(|| self.token_command.clone().map(TokenFrom::Command))
    }
}

fn read_secret(file: &Path) -> Result<Secret, Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| unreadable(file, &error))?;
    Ok(Secret(text.trim_end_matches(['\r', '\n']).to_owned()))
}

fn unreadable(file: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("cannot read {}: {error}", file.display()))
}

/// Settings of librdkafka that a job may not make, and what to do instead.
pub type Refused = &'static [(&'static str, &'static str)];

const REFUSED: Refused = &[
    ("bootstrap.servers", "write `brokers`"),
    ("metadata.broker.list", "write `brokers`"),
    ("security.protocol", "write `security.protocol`"),
    ("sasl.mechanism", "write `security.mechanism`"),
    ("sasl.mechanisms", "write `security.mechanism`"),
    ("sasl.username", "write `security.username`"),
    ("sasl.password", "write `security.password_file` or `security.password_env`"),
    ("sasl.oauthbearer.method", "write `security.token_file` or `security.token_command`"),
    ("ssl.ca.location", "write `security.ca_file`"),
    ("ssl.certificate.location", "write `security.cert_file`"),
    ("ssl.key.location", "write `security.key_file`"),
    ("ssl.key.password", "write `security.key_password`"),
    ("statistics.interval.ms", "Eagre needs the statistics to see that a broker is back"),
];

/// Checks what a job says about a cluster; `refused` are the settings that this part keeps to itself.
pub fn check(
    brokers: &Names,
    security: Option<&Security>,
    properties: &Properties,
    refused: Refused,
    faults: &mut Vec<Fault>,
) {
    if brokers.0.is_empty() {
        faults.push(Fault::at("brokers", "no broker is named").help("write for example \"localhost:9092\""));
    }
    for broker in &brokers.0 {
        let port = broker.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')).map(|(_, port)| port);
        if broker.is_empty()
            || broker.contains(char::is_whitespace)
            || port.is_some_and(|port| port.parse::<u16>().is_err())
        {
            faults.push(
                Fault::at("brokers", format!("`{broker}` is no broker"))
                    .help("write host:port, for example \"localhost:9092\""),
            );
        }
    }
    security.iter().for_each(|security| security.check(faults));
    for (name, value) in &properties.0 {
        let fault = |message: String| Fault { path: vec!["properties".into(), name.clone()], message, help: None };
        if let Some((_, instead)) = REFUSED.iter().chain(refused).find(|(other, _)| other == name) {
            faults.push(fault(format!("`{name}` may not be set here")).help(*instead));
        } else if let Err(KafkaError::ClientConfig(_, reason, ..)) =
            ClientConfig::new().set(name, value).create_native_config()
        {
            faults.push(fault(reason).help("the names are those of librdkafka's CONFIGURATION.md"));
        }
    }
}

/// Checks a topic's name; the fault is at `setting`.
pub fn check_topic(topic: &str, setting: &str, faults: &mut Vec<Fault>) {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if topic.is_empty() || topic.len() > 249 || topic == "." || topic == ".." || !topic.chars().all(legal) {
        let fault = Fault::at(setting, format!("`{topic}` is no name of a topic"));
        faults.push(fault.help("up to 249 letters, digits, dots, underscores and hyphens"));
    }
}

/// The client's settings: what `own` says, then the job's security, then its properties.
pub fn config(
    brokers: &Names,
    security: Option<&Security>,
    properties: &Properties,
    own: &[(&str, &str)],
) -> Result<ClientConfig, Failure> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers.0.join(","))
        .set("client.id", "eagre")
        .set("statistics.interval.ms", "1000");
    config
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "500")
        .set("topic.metadata.refresh.fast.interval.ms", "100");
    config.set("socket.keepalive.enable", "true").set("allow.auto.create.topics", "false");
    config.set_log_level(RDKafkaLogLevel::Info);
    own.iter().for_each(|(name, value)| {
        config.set(*name, *value);
    });
    security.map_or(Ok(()), |security| security.apply(&mut config))?;
    properties.0.iter().for_each(|(name, value)| {
        config.set(name, value);
    });
    Ok(config)
}

/// How every producer cuts its batches, and spreads keys over the partitions: as Java's clients do it.
pub const PRODUCING: [(&str, &str); 4] = [
    ("partitioner", "murmur2_random"),
    ("batch.size", "1000000"),
    ("batch.num.messages", "50000"),
    ("message.max.bytes", "100000000"),
];

/// What went wrong when a client was made; never says a setting's value, which may be a secret.
pub fn not_made(error: KafkaError) -> Failure {
    match error {
        KafkaError::ClientConfig(_, reason, name, _) => {
            Failure::new(format!("Kafka's client refuses the setting `{name}`: {reason}"))
        }
        KafkaError::ClientCreation(reason) => Failure::new(format!("Kafka's client cannot be made: {reason}")),
        other => Failure::new(format!("Kafka's client cannot be made: {other}")),
    }
}

/// A token of OAUTHBEARER comes from a file or from a program.
#[derive(Clone, Debug)]
enum TokenFrom {
    File(PathBuf),
    Command(Vec<String>),
}

/// How long a token is taken to be good when it does not say so itself.
const TOKEN_LIFETIME: EventTime = 300_000_000;

impl TokenFrom {
    fn fetch(&self) -> Result<OAuthToken, Box<dyn Error>> {
        let token = match self {
            TokenFrom::File(file) => read_secret(file)?.0,
            TokenFrom::Command(words) => run(words)?,
        };
        let token = token.trim().to_owned();
        if token.is_empty() || !token.chars().all(|c| c.is_ascii_graphic()) {
            return Err("the token is empty or has blanks in it".into());
        }
        let claims = claims(&token);
        let lifetime_ms = claims.exp.map_or((now() + TOKEN_LIFETIME) / 1_000, |seconds| (seconds * 1_000.0) as i64);
        Ok(OAuthToken { token, principal_name: claims.sub.unwrap_or_else(|| "eagre".into()), lifetime_ms })
    }
}

fn run(words: &[String]) -> Result<String, Box<dyn Error>> {
    let [program, arguments @ ..] = words else { return Err("the command for the token is empty".into()) };
    let output = std::process::Command::new(program)
        .args(arguments)
        .output()
        .map_err(|error| format!("cannot run {program}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{program} gave no token: {}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// What a token says of itself, if it is a JSON Web Token.
#[derive(Debug, Default, PartialEq, Deserialize)]
struct Claims {
    sub: Option<String>,
    exp: Option<f64>,
}

fn claims(token: &str) -> Claims {
    let middle = token.split('.').nth(1).and_then(base64url);
    middle.and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default()
}

/// Base64 for URLs, without padding (RFC 4648, section 5).
fn base64url(text: &str) -> Option<Vec<u8>> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'-' => Some(62),
        b'_' => Some(63),
        _ => None,
    };
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    for chunk in text.trim_end_matches('=').as_bytes().chunks(4) {
        let bits = chunk.iter().try_fold(0u32, |bits, byte| value(*byte).map(|v| bits << 6 | u32::from(v)))?;
        let bits = bits << (6 * (4 - chunk.len()));
        bytes.extend_from_slice(&bits.to_be_bytes()[1..chunk.len()]);
    }
    Some(bytes)
}

/// Whether waiting will not mend this.
pub fn lasts(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::*;
    matches!(
        code,
        UnknownTopicOrPartition
            | UnknownTopic
            | UnknownPartition
            | InvalidTopic
            | TopicAuthorizationFailed
            | ClusterAuthorizationFailed
            | GroupAuthorizationFailed
            | SaslAuthenticationFailed
            | UnsupportedSASLMechanism
            | UnsupportedVersion
            | AutoOffsetReset
            | OffsetOutOfRange
            | MessageSizeTooLarge
            | InvalidMessage
            | InvalidMessageSize
            | BadMessage
            | BadCompression
            | UnsupportedCompressionType
            | NotImplemented
            | InvalidArgument
            | Fatal
    )
}

/// The partitions of a topic by number, in order; `None` when there is no such topic. Waits no longer than `timeout`.
pub fn partitions_of<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    timeout: Duration,
) -> KafkaResult<Option<Vec<i32>>> {
    let metadata = client.fetch_metadata(Some(topic), timeout)?;
    let Some(found) = metadata.topics().iter().find(|t| t.name() == topic) else { return Ok(None) };
    match found.error() {
        Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) => Ok(None),
        Some(error) => Err(KafkaError::MetadataFetch(error.into())),
        None if found.partitions().is_empty() => Err(KafkaError::MetadataFetch(RDKafkaErrorCode::LeaderNotAvailable)),
        None => {
            let mut numbers: Vec<i32> = found.partitions().iter().map(|p| p.id()).collect();
            numbers.sort_unstable();
            Ok(Some(numbers))
        }
    }
}

/// The failure to find a topic, with the nearest name that there is.
pub fn missing_topic<C: ClientContext>(client: &Client<C>, topic: &str, timeout: Duration) -> Failure {
    let failure = Failure::new(format!("there is no topic `{topic}`"));
    let Ok(metadata) = client.fetch_metadata(None, timeout) else { return failure };
    let mut names: Vec<&str> =
        metadata.topics().iter().map(|t| t.name()).filter(|name| !name.starts_with("__")).collect();
    names.sort_unstable();
    match fault::nearest(topic, names.iter().copied()) {
        Some(near) => failure.help(format!("did you mean `{near}`?")),
        None if names.is_empty() => failure.help("there is no topic at all on these brokers"),
        None if names.len() > 20 => {
            failure.help(format!("there are {} others, among them {}", names.len(), fault::list(&names[..20])))
        }
        None => failure.help(format!("there are {}", fault::list(&names))),
    }
}

/// Waits for a future on this thread.
pub fn wait_for<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// Now, for people to read and for the life of a token.
pub fn now() -> EventTime {
    #[allow(
        clippy::disallowed_methods,
        reason = "says when trouble began and when a token ends; never reaches an output"
    )]
    jiff::Timestamp::now().as_microsecond()
}

/// The time of day: `12:00:03 UTC`.
fn clock(time: EventTime) -> String {
    time::format(time).get(11..19).map_or_else(String::new, |text| format!("{text} UTC"))
}

/// How a message holds its fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// A JSON object.
    #[default]
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Cluster {
        brokers: Names,
        security: Option<Security>,
        #[serde(default)]
        properties: Properties,
    }

    const KEPT: Refused = &[("enable.auto.commit", "positions belong to the engine")];

    fn faults(text: &str) -> Vec<String> {
        let cluster: Cluster = toml::from_str(text).expect("the shape is right");
        let mut faults = Vec::new();
        check(&cluster.brokers, cluster.security.as_ref(), &cluster.properties, KEPT, &mut faults);
        faults.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_cluster_is_checked() {
        for right in [
            "brokers = 'a:9092, b:9093'",
            "brokers = ['[::1]:9092', 'c']\nproperties = { 'fetch.wait.max.ms' = 7 }",
            "brokers = 'a'\nsecurity = { mechanism = 'PLAIN', username = 'u', password = 'p' }",
            "brokers = 'a'\nsecurity = { protocol = 'SASL_PLAINTEXT', mechanism = 'OAUTHBEARER', token_file = 't' }",
            "brokers = 'a'\nsecurity = { ca_file = 'ca.pem' }",
        ] {
            assert_eq!(faults(right), [""; 0], "{right}");
        }
        for (wrong, expected) in [
            ("brokers = ['a:b']", "brokers: `a:b` is no broker"),
            ("brokers = []", "brokers: no broker is named"),
            ("brokers = 'a'\nsecurity = { protocol = 'SASL_SSL' }", "security.mechanism: a SASL protocol needs"),
            ("brokers = 'a'\nsecurity = { mechanism = 'PLAIN', password = 'p' }", "security.username: "),
            (
                "brokers = 'a'\nsecurity = { mechanism = 'PLAIN', username = 'u', password = 'p', password_env = 'P' }",
                "security.password: ",
            ),
            ("brokers = 'a'\nsecurity = { mechanism = 'OAUTHBEARER' }", "security.mechanism: OAUTHBEARER needs"),
            (
                "brokers = 'a'\nsecurity = { protocol = 'PLAINTEXT', ca_file = 'x' }",
                "security.protocol: files of certificates",
            ),
            ("brokers = 'a'\nsecurity = { cert_file = 'x' }", "security.cert_file: "),
            (
                "brokers = 'a'\nproperties = { 'enable.auto.commit' = true }",
                "properties.enable.auto.commit: `enable.auto.commit` may not",
            ),
            ("brokers = 'a'\nproperties = { 'sasl.password' = 'x' }", "properties.sasl.password: "),
            (
                "brokers = 'a'\nproperties = { 'fetch.wait' = 1 }",
                "properties.fetch.wait: No such configuration property",
            ),
            (
                "brokers = 'a'\nproperties = { 'fetch.wait.max.ms' = 'x' }",
                "properties.fetch.wait.max.ms: Invalid value",
            ),
        ] {
            let found = faults(wrong);
            assert!(found.len() == 1 && found[0].starts_with(expected), "{wrong}: {found:?}");
        }
    }

    #[test]
    fn a_secret_is_never_shown() {
        let text = "brokers = 'a'\nsecurity = { mechanism = 'PLAIN', username = 'u', password = 'tide', ca_file = '/no/such/ca.pem' }";
        let cluster: Cluster = toml::from_str(text).expect("a cluster");
        let config = config(&cluster.brokers, cluster.security.as_ref(), &cluster.properties, &[]);
        let failure = config.expect_err("no such file").to_string();
        assert!(failure.contains("/no/such/ca.pem"), "{failure}");
        assert!(!format!("{cluster:?}{failure}").contains("tide"));
        let error = KafkaError::ClientConfig(
            rdkafka::types::RDKafkaConfRes::RD_KAFKA_CONF_INVALID,
            "no".into(),
            "k".into(),
            "tide".into(),
        );
        assert_eq!(not_made(error).to_string(), "Kafka's client refuses the setting `k`: no");
    }

    #[test]
    fn passwords_come_from_files_and_tokens_tell_their_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("password");
        std::fs::write(&file, "tide\n").expect("written");
        let security = Security { password_file: Some(file.clone()), ..Security::default() };
        assert_eq!(security.read_password().expect("a password").expect("one").0, "tide");
        let unset = Security { password_env: Some("EAGRE_NO_SUCH_VARIABLE".into()), ..Security::default() };
        assert!(unset.read_password().expect_err("unset").to_string().contains("EAGRE_NO_SUCH_VARIABLE"));
        // {"sub":"sensor","exp":1893456000}
        std::fs::write(&file, "e30.eyJzdWIiOiJzZW5zb3IiLCJleHAiOjE4OTM0NTYwMDB9.x\n").expect("written");
        let token = TokenFrom::File(file).fetch().expect("a token");
        assert_eq!((token.principal_name.as_str(), token.lifetime_ms), ("sensor", 1_893_456_000_000));
        let token = TokenFrom::Command(vec!["echo".into(), "opaque".into()]).fetch().expect("a token");
        assert_eq!((token.token.as_str(), token.principal_name.as_str()), ("opaque", "eagre"));
        assert!(TokenFrom::Command(vec!["false".into()]).fetch().is_err());
    }
}
