//! SQL expressions of job files, planned and evaluated by DataFusion on whole batches.
//!
//! We write no expression language: `where = "status >= 500 and region = 'eu'"` is SQL. Two things are ours. What
//! would break determinism (`now()`, `random()`, `uuid()`) is refused when the job is planned. And a row whose value
//! cannot be computed (a division by zero, text that is not a number) costs that row, never the batch.

use crate::batch::Batch;
use crate::fault::Fault;
use crate::schema::{Kind, SYSTEM_NAMES, Schema};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, new_null_array};
use arrow::compute::{self, cast};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DataFusionError};
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, TryCast, Volatility};
use datafusion::physical_plan::PhysicalExpr;
use datafusion::physical_plan::expressions::{BinaryExpr, CastExpr, Literal};
use datafusion::prelude::{SessionConfig, SessionContext};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// A planned expression over one schema.
#[derive(Clone)]
pub struct Expression {
    text: String,
    name: String,
    physical: Arc<dyn PhysicalExpr>,
    kind: Kind,
    fields: BTreeSet<String>,
    plain: Option<usize>,
}

/// What an expression gave for a batch.
pub struct Evaluated {
    /// A value for every row; null for those that failed.
    pub values: ArrayRef,
    /// The rows that have no value, and why.
    pub failed: Vec<(u32, String)>,
}

impl Expression {
    /// Plans an expression over the fields of a schema (and the system columns). `at` is the setting that holds it.
    pub fn plan(text: &str, schema: &Schema, at: &str) -> Result<Expression, Fault> {
        let columns = DFSchema::try_from(schema.arrow().as_ref().clone()).map_err(|e| Fault::at(at, e.to_string()))?;
        let logical = context().parse_sql_expr(text, &columns).map_err(|e| explain(&e, text, schema, at))?;
        let fields = check(&logical, text, at)?;
        let (logical, name) = match logical {
            Expr::Alias(alias) => (*alias.expr, alias.name),
            Expr::Column(column) => (Expr::Column(column.clone()), column.name),
            other => (other, text.to_owned()),
        };
        let logical = widened(logical);
        let asked = casts_of_text(&logical, &columns);
        let planned = context().create_physical_expr(logical, &columns).map_err(|e| explain(&e, text, schema, at))?;
        check_casts(&planned, asked, schema, at)?;
        let planned = overflowing(planned);
        let data_type = planned.data_type(schema.arrow()).map_err(|e| explain(&e, text, schema, at))?;
        let kind = Kind::of(&data_type).ok_or_else(|| {
            Fault::at(at, format!("`{text}` gives {data_type}")).help("a field is bool, int, float, text or time")
        })?;
        let plain = schema.index_of(text);
        Ok(Expression { text: text.to_owned(), name, physical: planned, kind, fields, plain })
    }

    /// Plans an expression that must be true or false.
    pub fn condition(text: &str, schema: &Schema, at: &str) -> Result<Expression, Fault> {
        let planned = Expression::plan(text, schema, at)?;
        match planned.kind {
            Kind::Bool => Ok(planned),
            kind => Err(Fault::at(at, format!("`{text}` gives {kind}, not true or false"))
                .help(format!("compare it with something: \"{text} > 0\""))),
        }
    }

    /// What its values are called: the name behind `as`, the field that it is, else its text.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it gives.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The fields that it reads.
    pub fn fields(&self) -> &BTreeSet<String> {
        &self.fields
    }

    /// Its values for all rows of a batch, of [`Kind::arrow`]'s type.
    pub fn evaluate(&self, batch: &Batch) -> Evaluated {
        if let Some(field) = self.plain {
            return Evaluated { values: batch.column(field).clone(), failed: Vec::new() };
        }
        match self.try_evaluate(batch) {
            Ok(values) => Evaluated { values, failed: Vec::new() },
            Err(_) => self.row_by_row(batch),
        }
    }

    /// The rows for which a condition is true; null counts as false.
    pub fn mask(&self, batch: &Batch) -> (BooleanArray, Vec<(u32, String)>) {
        let Evaluated { values, failed } = self.evaluate(batch);
        let mask = values.as_boolean();
        let mask = if mask.null_count() == 0 { mask.clone() } else { compute::prep_null_mask_filter(mask) };
        (mask, failed)
    }

    fn try_evaluate(&self, batch: &Batch) -> Result<ArrayRef, String> {
        let values = self.physical.evaluate(batch.records()).map_err(|e| e.strip_backtrace())?;
        let values = values.into_array(batch.len()).map_err(|e| e.strip_backtrace())?;
        cast(&values, &self.kind.arrow()).map_err(|e| e.to_string())
    }

    /// The slow way, for a batch in which some row fails.
    fn row_by_row(&self, batch: &Batch) -> Evaluated {
        let mut failed = Vec::new();
        let mut one = |row: usize| {
            self.try_evaluate(&batch.slice(row, 1)).unwrap_or_else(|reason| {
                failed.push((row as u32, format!("`{}` has no value here: {}", self.text, tidy(&reason))));
                new_null_array(&self.kind.arrow(), 1)
            })
        };
        let rows: Vec<ArrayRef> = (0..batch.len()).map(&mut one).collect();
        let rows: Vec<&dyn Array> = rows.iter().map(|r| r.as_ref()).collect();
        Evaluated { values: compute::concat(&rows).expect("arrays of one type"), failed }
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expression({})", self.text)
    }
}

/// DataFusion's functions and planner. Names are taken as they are written: `CPU` and `cpu` are two fields.
fn context() -> &'static SessionContext {
    static CONTEXT: OnceLock<SessionContext> = OnceLock::new();
    CONTEXT.get_or_init(|| {
        let mut config = SessionConfig::new();
        config.options_mut().sql_parser.enable_ident_normalization = false;
        config.options_mut().execution.time_zone = Some("UTC".into());
        SessionContext::new_with_config(config)
    })
}

/// Refuses what is not a function of the row, and collects the fields that are read.
fn check(expression: &Expr, text: &str, at: &str) -> Result<BTreeSet<String>, Fault> {
    let mut fields = BTreeSet::new();
    let mut fault = None;
    let walked = expression.apply(|node| {
        match node {
            Expr::Column(column) if !SYSTEM_NAMES.contains(&column.name.as_str()) => {
                fields.insert(column.name.clone());
            }
            Expr::ScalarFunction(f) if f.func.signature().volatility != Volatility::Immutable => {
                fault.get_or_insert_with(|| volatile(f.func.name(), text, at));
            }
            Expr::AggregateFunction(_) | Expr::WindowFunction(_) => {
                let said = format!("`{node}` looks at many rows");
                fault.get_or_insert_with(|| {
                    Fault::at(at, said).help("an expression sees one row; use a step of kind `aggregate`")
                });
            }
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    });
    walked.expect("the walk itself does not fail");
    fault.map_or(Ok(fields), Err)
}

/// The same with numbers of 64 bits wherever it casts to fewer: `int` and `float` mean in an expression what they mean
/// in a job.
fn widened(expression: Expr) -> Expr {
    let wide = |field: &FieldRef| {
        let kind = field.data_type();
        let wide = match kind {
            kind if kind.is_integer() => DataType::Int64,
            DataType::Float16 | DataType::Float32 => DataType::Float64,
            kind => kind.clone(),
        };
        Arc::new(field.as_ref().clone().with_data_type(wide))
    };
    let widened = expression.transform_up(|node| {
        Ok(Transformed::yes(match node {
            Expr::Cast(cast) => Expr::Cast(Cast { field: wide(&cast.field), expr: cast.expr }),
            Expr::TryCast(cast) => Expr::TryCast(TryCast { field: wide(&cast.field), expr: cast.expr }),
            other => other,
        }))
    });
    widened.expect("the walk itself does not fail").data
}

/// The same, but a sum, difference or product beyond 64 bits has no value instead of a wrong one.
fn overflowing(planned: Arc<dyn PhysicalExpr>) -> Arc<dyn PhysicalExpr> {
    let checked = planned.transform_up(|node| {
        Ok(match node.downcast_ref::<BinaryExpr>() {
            Some(binary) => Transformed::yes(Arc::new(binary.clone().with_fail_on_overflow(true)) as _),
            None => Transformed::no(node),
        })
    });
    checked.expect("the walk itself does not fail").data
}

/// How many times the expression itself asks to read text as something else.
fn casts_of_text(expression: &Expr, columns: &DFSchema) -> usize {
    let mut casts = 0;
    let walked = expression.apply(|node| {
        let inner = match node {
            Expr::Cast(cast) => Some(&cast.expr),
            Expr::TryCast(cast) => Some(&cast.expr),
            _ => None,
        };
        casts += usize::from(inner.is_some_and(|inner| inner.get_type(columns).is_ok_and(|kind| kind.is_string())));
        Ok(TreeNodeRecursion::Continue)
    });
    walked.expect("the walk itself does not fail");
    casts
}

/// Refuses text that the planner would take for a number or a time by itself: a constant that is none, and a field
/// where the expression asks for fewer (`asked`) such casts than there are. Both would fail row by row.
fn check_casts(planned: &Arc<dyn PhysicalExpr>, asked: usize, schema: &Schema, at: &str) -> Result<(), Fault> {
    let (mut of_fields, mut fault, mut made) = (0, None, None);
    let walked = planned.apply(|node| {
        let Some(cast) = node.downcast_ref::<CastExpr>() else { return Ok(TreeNodeRecursion::Continue) };
        let (inner, to) = (cast.expr(), Kind::of(cast.cast_type()));
        let is_text = inner.data_type(schema.arrow()).is_ok_and(|kind| kind.is_string());
        if let Some(to) = to.filter(|to| is_text && *to != Kind::Text) {
            if !inner.is::<Literal>() {
                of_fields += 1;
                made.get_or_insert((inner.to_string(), to));
            } else if cast.evaluate(&RecordBatch::new_empty(schema.arrow().clone())).is_err() {
                let said = format!("the text '{inner}' is compared with a value of kind {to}, which it is not");
                fault.get_or_insert_with(|| Fault::at(at, said));
            }
        }
        Ok(TreeNodeRecursion::Continue)
    });
    walked.expect("the walk itself does not fail");
    match (fault, made) {
        (Some(fault), _) => Err(fault),
        (None, Some((field, to))) if of_fields > asked => {
            let field = without_numbers(&field);
            Err(Fault::at(at, format!("`{field}` is text and would be read as {to}")).help(format!(
                "compare it with text ('...'), or write cast({field} as ...) if it holds what reads as {to}"
            )))
        }
        _ => Ok(()),
    }
}

/// DataFusion's `substr(sensor@4, 3)` as it was written.
fn without_numbers(planned: &str) -> String {
    let mut pieces = planned.split('@');
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |text, piece| text + piece.trim_start_matches(|c: char| c.is_ascii_digit()))
}

fn volatile(function: &str, text: &str, at: &str) -> Fault {
    Fault::at(at, format!("`{function}()` in `{text}` would give another answer in every run"))
        .help("an expression may only depend on the record; use `event_time` for its time")
}

/// An error of the planner's in our words, with the nearest field where one is misspelt.
fn explain(error: &DataFusionError, text: &str, schema: &Schema, at: &str) -> Fault {
    let message = tidy(&error.strip_backtrace());
    let missing = message.strip_prefix("No field named ").and_then(|m| m.split(['.', ' ']).next());
    match missing.map(|name| name.trim_matches('"')) {
        Some(name) => Fault::at(at, format!("no field `{name}` in `{text}`")).nearest(name, schema.names()),
        None => Fault::at(at, format!("`{text}` is not an SQL expression over these fields: {message}")),
    }
}

/// The first line of a message, without the names of DataFusion's rooms before it.
fn tidy(message: &str) -> String {
    let mut line = message.lines().next().unwrap_or_default();
    for prefix in [
        "Schema error: ",
        "SQL error: ",
        "Error during planning: ",
        "Arrow error: ",
        "Execution error: ",
        "ParserError(",
    ] {
        line = line.strip_prefix(prefix).unwrap_or(line);
    }
    line.trim_matches(['"', ')', '(']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Head;
    use crate::schema::Field;
    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::Int64Type;

    fn batch() -> (Schema, Batch) {
        let schema =
            Schema::new([Field::new("a", Kind::Int), Field::new("B", Kind::Int), Field::new("region", Kind::Text)]);
        let head = Head { times: vec![1, 2, 3], origins: vec![0; 3], sequences: vec![0, 1, 2], stamps: vec![] };
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![6, 7, 8])),
            Arc::new(Int64Array::from(vec![Some(2), Some(0), None])),
            Arc::new(StringArray::from(vec!["eu", "us", "eu"])),
        ];
        let batch = Batch::new(&schema, head, columns);
        (schema, batch)
    }

    #[test]
    fn conditions_choose_rows() {
        let (schema, batch) = batch();
        for (text, expected) in [
            ("a > 6", [false, true, true]),
            ("region = 'eu' and \"B\" = 2", [true, false, false]),
            ("B is null", [false, false, true]),
            ("event_time >= '1970-01-01T00:00:00.000002Z'", [false, true, true]),
            ("upper(region) = 'EU'", [true, false, true]),
        ] {
            let (mask, failed) = Expression::condition(text, &schema, "where").expect(text).mask(&batch);
            assert_eq!((mask.values().iter().collect::<Vec<_>>(), failed), (expected.to_vec(), vec![]), "{text}");
        }
    }

    #[test]
    fn a_row_that_fails_costs_that_row() {
        let (schema, batch) = batch();
        let Evaluated { values, failed } =
            Expression::plan("a / B", &schema, "derive").expect("planned").evaluate(&batch);
        let values = values.as_primitive::<Int64Type>();
        assert_eq!(values.iter().collect::<Vec<_>>(), [Some(3), None, None]);
        assert_eq!(failed.len(), 1);
        assert!(failed[0].0 == 1 && failed[0].1.contains("ivide by zero"), "{failed:?}");
    }

    #[test]
    fn int_has_64_bits() {
        let (schema, batch) = batch();
        for (text, first) in [
            ("cast('3000000000' as int) + 0 * a", "[3000000000]"),
            ("cast(1.5 as float) + 0 * a", "[1.5]"),
            ("9223372036854775807 + a", "[null]"),
            ("9223372036854775807 * (a + 2)", "[null]"),
            ("-9223372036854775807 - (a + 2)", "[null]"),
        ] {
            let given = Expression::plan(text, &schema, "").expect(text).evaluate(&batch.slice(0, 1));
            let mut said = String::from("[");
            crate::batch::write_json(&mut said, &given.values, 0);
            assert_eq!((said + "]", given.failed.len()), (first.to_owned(), usize::from(first == "[null]")), "{text}");
        }
    }

    #[test]
    fn faults_say_what_would_be_right() {
        let (schema, _) = batch();
        for (text, says) in [
            ("regoin = 'eu'", "no field `regoin` in `regoin = 'eu'` (did you mean `region`?)"),
            ("now() > event_time", "would give another answer in every run"),
            ("random() > 0.5", "would give another answer in every run"),
            ("a >", "is not an SQL expression"),
            ("a + 1", "gives int, not true or false"),
            ("sum(a) > 1", "looks at many rows"),
            ("region > 5", "`region` is text and would be read as int (compare it with text ('...'), or write cast("),
            ("a = 'x'", "the text 'x' is compared with a value of kind int, which it is not"),
            ("event_time > 'noon'", "the text 'noon' is compared with a value of kind time, which it is not"),
            ("substr(region, 1) = 5", "`substr(region, 1)` is text and would be read as int"),
            ("cast(region as bigint) = 1 or region in (2, 3)", "`region` is text and would be read as int"),
        ] {
            let fault = Expression::condition(text, &schema, "where").expect_err(text).to_string();
            assert!(fault.contains(says), "{text}: {fault}");
        }
    }

    #[test]
    fn text_is_read_as_something_else_where_that_is_asked_for() {
        let (schema, _) = batch();
        for text in [
            "cast(region as bigint) > 5",
            "try_cast(region as double) > a",
            "a = '5'",
            "a in ('1', '2')",
            "event_time >= '2026-01-01T00:00:00Z'",
            "region || a = 'eu1'",
        ] {
            Expression::condition(text, &schema, "where").expect(text);
        }
    }

    #[test]
    fn it_has_a_name() {
        let (schema, _) = batch();
        for (text, name) in [("upper(region) as zone", "zone"), ("B", "B"), ("\"B\" as b", "b"), ("a + 1", "a + 1")] {
            assert_eq!(Expression::plan(text, &schema, "").expect(text).name(), name);
        }
    }

    #[test]
    fn the_fields_it_reads_are_known() {
        let (schema, _) = batch();
        let fields = Expression::plan("a + B + sequence", &schema, "").expect("planned").fields().clone();
        assert_eq!(fields, BTreeSet::from(["a".to_owned(), "B".to_owned()]));
    }
}
