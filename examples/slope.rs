//! A program with an operator of its own: how fast a field rises, per key. It is a whole `eagre`, with one kind more.
//!
//! ```text
//! cargo run --example slope -- run examples/slope.toml
//! ```

use eagre::operator::keyed::{Cx, Emits, KeyedOperator};
use eagre::operator::{Column, Planning, Reject};
use eagre::schema::Kind;
use eagre::value::Row;
use schemars::JsonSchema;
use serde::Deserialize;

/// `kind = "slope"`: its configuration is what the job file says.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Slope {
    /// The field whose rise is measured, per second.
    field: Column,
}

impl KeyedOperator for Slope {
    const NAME: &'static str = "slope";
    /// The last time and value of each key; the engine keeps it, by key group.
    type State = Option<(i64, f64)>;

    fn plan(&mut self, planning: &mut Planning<'_>) -> Emits {
        planning.number(&mut self.field, "field");
        Emits::record_and([("slope", Kind::Float)]).using([self.field.name.as_str()])
    }

    fn on_record(&self, cx: &mut Cx<'_, Self::State>, row: Row<'_>) -> Result<(), Reject> {
        let value = row.number(self.field.index).ok_or("there is no number in it")?;
        if let Some((time, before)) = cx.state.replace((row.time(), value)).filter(|(time, _)| *time < row.time()) {
            cx.emit([((value - before) / ((row.time() - time) as f64 / 1e6)).into()]);
        }
        Ok(())
    }
}

fn main() -> std::process::ExitCode {
    eagre::main(eagre::standard().operator::<Slope>())
}
