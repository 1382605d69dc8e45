//! SQL over the state of a job's steps, by DataFusion. Only the steps that a query names are loaded.

use super::tables::{self, Table};
use crate::fault::Failure;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::DataFusionError;
use datafusion::prelude::{SQLOptions, SessionConfig, SessionContext};
use tokio::runtime::Builder;

/// What a query gives.
pub struct Answer {
    /// Its columns.
    pub schema: SchemaRef,
    /// Its rows.
    pub batches: Vec<RecordBatch>,
}

/// Answers a query; `load` gives the table of a step.
pub fn ask(sql: &str, load: impl Fn(&str) -> Result<Table, Failure>) -> Result<Answer, Failure> {
    let context = context();
    let mut columns = Vec::new();
    for name in tables(sql, &context)? {
        let table = load(&name)?;
        let registered = context.register_batch(format!("\"{name}\"").as_str(), table.records());
        registered.map_err(|error| explain(&error, sql, &[]))?;
        columns.extend(table.names());
    }
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(format!("the query cannot be run: {error}")))?;
    let answered = runtime.block_on(async {
        let only_ask = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        let frame = context.sql_with_options(sql, only_ask).await?;
        let schema = frame.schema().inner().clone();
        Ok(Answer { schema, batches: frame.collect().await? })
    });
    answered.map_err(|error: DataFusionError| explain(&error, sql, &columns))
}

/// One thread, so that rows come in the same order every time; names are taken as they are written, as in a job.
fn context() -> SessionContext {
    let mut config = SessionConfig::new().with_target_partitions(1);
    config.options_mut().sql_parser.enable_ident_normalization = false;
    config.options_mut().execution.time_zone = Some("UTC".into());
    SessionContext::new_with_config(config)
}

/// The tables that a query names.
fn tables(sql: &str, context: &SessionContext) -> Result<Vec<String>, Failure> {
    let state = context.state();
    let named = state
        .sql_to_statement(sql, &state.config().options().sql_parser.dialect)
        .and_then(|statement| state.resolve_table_references(&statement));
    let named = named.map_err(|error| explain(&error, sql, &[]))?;
    // What DataFusion knows by itself has a schema: information_schema.tables.
    Ok(named.iter().filter(|table| table.schema().is_none()).map(|table| table.table().to_owned()).collect())
}

/// An error of DataFusion's in our words, with the nearest column where one is misspelt.
fn explain(error: &DataFusionError, sql: &str, columns: &[String]) -> Failure {
    let message = error.strip_backtrace();
    let missing = message.split_once("No field named ").and_then(|(_, rest)| rest.split([' ', '\n']).next());
    if let Some(missing) = missing {
        let word = missing.trim_end_matches(['.', ';', ',']).rsplit('.').next().unwrap_or(missing).trim_matches('"');
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        return Failure::new(format!("no column `{word}` in `{sql}`")).help(tables::near(word, &columns));
    }
    let line = message.lines().next().unwrap_or_default();
    let rooms = ["SQL error: ", "Error during planning: ", "Arrow error: ", "Execution error: ", "ParserError("];
    let line = rooms.iter().fold(line, |line, room| line.strip_prefix(room).unwrap_or(line));
    let failure = Failure::new(format!("`{sql}` cannot be answered: {}", line.trim_matches(['"', '(', ')'])));
    failure.help("a table is a step that remembers something; names with `-` stand in double quotes")
}
