//! Eagre: streaming analytics on timely dataflow.

pub mod batch;
pub mod expression;
pub mod fault;
pub mod formats;
pub mod key;
pub mod operator;
pub mod origin;
pub mod registry;
pub mod schema;
pub mod sink;
pub mod source;
pub mod sources;

pub mod time;
pub mod value;
