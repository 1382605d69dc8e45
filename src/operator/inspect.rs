//! What an operator remembers, as a person looks into it: for every key, named and typed values.

use crate::schema::{Field, Kind};
use crate::time::EventTime;
use crate::value::Value;
use serde::Serialize;
use serde_json::Value as Json;

/// A column of what is remembered, and the value in it.
pub type Shown = (Field, Value);

/// What an instance remembers of a key; where it remembers windows apart, of one of them.
pub struct StateRow<'a> {
    /// The bytes of the key.
    pub key: &'a [u8],
    /// The columns behind the key. Rows of one instance may have different ones.
    pub values: Vec<Shown>,
    /// How many bytes of the key group's state are its own, about.
    pub bytes: usize,
}

/// A value in a column of that name. The kind counts where no row has a value there.
pub fn shown(name: impl Into<String>, kind: Kind, value: impl Into<Value>) -> Shown {
    (Field::new(name, kind), value.into())
}

/// A time in a column of that name.
pub fn shown_time(name: impl Into<String>, time: Option<EventTime>) -> Shown {
    (Field::new(name, Kind::Time), time.map_or(Value::Null, Value::Time))
}

/// A column for every field of a state. The fields of a table within it become columns `outer_inner`; what lies deeper,
/// and lists, become JSON. A state without fields is the column `state`.
pub fn flattened(state: &impl Serialize) -> Vec<Shown> {
    let fields = match serde_json::to_value(state) {
        Ok(Json::Object(fields)) => fields,
        Ok(other) => return vec![cell("state".into(), other)],
        Err(error) => return vec![shown("state", Kind::Text, format!("it cannot be shown: {error}"))],
    };
    let mut row = Vec::new();
    for (name, value) in fields {
        match value {
            Json::Object(inner) => {
                row.extend(inner.into_iter().map(|(below, value)| cell(format!("{name}_{below}"), value)))
            }
            other => row.push(cell(name, other)),
        }
    }
    row
}

fn cell(name: String, value: Json) -> Shown {
    let (kind, value) = match value {
        Json::Null => (Kind::Text, Value::Null),
        Json::Bool(value) => (Kind::Bool, Value::Bool(value)),
        Json::Number(number) => match number.as_i64() {
            Some(value) => (Kind::Int, Value::Int(value)),
            None => (Kind::Float, number.as_f64().map_or(Value::Null, Value::Float)),
        },
        Json::String(text) => (Kind::Text, Value::Text(text)),
        other => (Kind::Text, Value::Text(other.to_string())),
    };
    (Field::new(name, kind), value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::collections::BTreeMap;

    #[test]
    fn a_state_is_a_row_of_columns() {
        let check = |state: &dyn Fn() -> Vec<Shown>, expected: &str| {
            let row = state();
            let told: Vec<String> =
                row.iter().map(|(field, value)| format!("{}:{}={value:?}", field.name, field.kind)).collect();
            assert_eq!(told.join(" "), expected);
        };
        check(&|| flattened(&7_i64), "state:int=Int(7)");
        check(
            &|| flattened(&json!({ "a": true, "b": { "c": 1.5, "d": { "e": null } }, "f": [1, 2], "g": null })),
            "a:bool=Bool(true) b_c:float=Float(1.5) b_d:text=Text(\"{\\\"e\\\":null}\") f:text=Text(\"[1,2]\") g:text=Null",
        );
        let row = flattened(&BTreeMap::from([((1, 2), 3)]));
        assert!(matches!(&row[0].1, Value::Text(said) if said.starts_with("it cannot be shown: ")), "{row:?}");
    }
}
