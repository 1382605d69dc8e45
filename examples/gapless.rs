//! A program with an operator of its own that shows whether anything is lost: it numbers the records of each key from
//! 1, without a gap. `tests/chaos` kills it again and again, and wants every number once.
//!
//! ```text
//! cargo run --example gapless -- run examples/gapless.toml
//! ```

use eagre::operator::keyed::{Cx, Emits, KeyedOperator};
use eagre::operator::{Planning, Reject};
use eagre::schema::Kind;
use eagre::value::Row;
use schemars::JsonSchema;
use serde::Deserialize;
use std::process::ExitCode;

/// `kind = "gapless"`: it needs to be told nothing.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Gapless {}

impl KeyedOperator for Gapless {
    const NAME: &'static str = "gapless";
    /// How many records the key has had.
    type State = i64;

    fn plan(&mut self, _: &mut Planning<'_>) -> Emits {
        Emits::record_and([("count", Kind::Int)])
    }

    fn on_record(&self, cx: &mut Cx<'_, i64>, _: Row<'_>) -> Result<(), Reject> {
        *cx.state += 1;
        let count = *cx.state;
        cx.emit([count.into()]);
        Ok(())
    }
}

/// The whole of `eagre`, with one kind more.
pub fn main() -> ExitCode {
    eagre::main(eagre::standard().operator::<Gapless>())
}
