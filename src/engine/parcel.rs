//! What travels between workers: a whole batch, addressed to one worker.
//!
//! Within a process it moves by pointer; between processes it is Arrow IPC, the keys and their hashes as two further
//! columns. What else an exchange carries ([`super::driver::Mark`]) goes as serde has it.

use crate::batch::Batch;
use crate::key::Keys;
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use serde::de::{Error as _, Visitor};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::sync::Arc;

/// A batch for a worker.
#[derive(Clone, Debug)]
pub struct Parcel {
    /// The worker that it is for; on the way to a sink, the shard, which is on worker `to % workers`.
    pub to: u64,
    /// The batch.
    pub batch: Batch,
}

impl Parcel {
    /// The shard that it is for.
    pub fn shard(&self) -> usize {
        self.to as usize
    }
}

impl Serialize for Parcel {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let bytes = write(&self.batch).map_err(S::Error::custom)?;
        (self.to, self.batch.keys().is_some(), Bytes(&bytes)).serialize(to)
    }
}

impl<'de> Deserialize<'de> for Parcel {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Parcel, D::Error> {
        let (to, keyed, Records(records)) = Deserialize::deserialize(from)?;
        let batch = batch(records, keyed).map_err(D::Error::custom)?;
        Ok(Parcel { to, batch })
    }
}

/// The columns of a batch, and its keys, as an Arrow IPC stream.
fn write(batch: &Batch) -> Result<Vec<u8>, ArrowError> {
    let keyed = batch.keys().map(|keys| with_keys(batch.records(), keys)).transpose()?;
    let records = keyed.as_ref().unwrap_or(batch.records());
    let mut writer = StreamWriter::try_new(Vec::new(), &records.schema())?;
    writer.write(records)?;
    writer.into_inner()
}

fn with_keys(records: &RecordBatch, keys: &Keys) -> Result<RecordBatch, ArrowError> {
    let schema = records.schema();
    let further = [("keys", DataType::Binary), ("hashes", DataType::UInt64)];
    let fields =
        schema.fields().iter().cloned().chain(further.map(|(name, kind)| Field::new(name, kind, false).into()));
    let schema = Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone());
    let columns: Vec<ArrayRef> = records.columns().iter().cloned().chain(keys.to_columns()).collect();
    RecordBatch::try_new(Arc::new(schema), columns)
}

fn batch(records: RecordBatch, keyed: bool) -> Result<Batch, ArrowError> {
    let fields = records.num_columns();
    let [.., bytes, hashes] = records.columns() else { return Err(no_parcel()) };
    if !keyed {
        return Ok(Batch::from_records(records));
    }
    let keys = Keys::from_columns(bytes, hashes).ok_or_else(no_parcel)?;
    Ok(Batch::from_records(records.project(&(0..fields - 2).collect::<Vec<_>>())?).with_keys(keys))
}

fn no_parcel() -> ArrowError {
    ArrowError::IpcError("this is no parcel".into())
}

/// Bytes that are written as a whole and not one by one.
struct Bytes<'a>(&'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(self.0)
    }
}

/// Records that are read where the bytes lie.
struct Records(RecordBatch);

impl<'de> Deserialize<'de> for Records {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Records, D::Error> {
        struct Ipc;
        impl Visitor<'_> for Ipc {
            type Value = Records;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an Arrow IPC stream of one batch")
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Records, E> {
                let mut reader = StreamReader::try_new(bytes, None).map_err(E::custom)?;
                let records = reader.next().ok_or_else(|| E::custom("a parcel without a batch"))?;
                records.map(Records).map_err(E::custom)
            }
        }
        from.deserialize_bytes(Ipc)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Head;
    use crate::schema::{Field, Kind, Schema};
    use arrow::array::{ArrayRef, Float64Array, StringArray};

    #[test]
    fn a_parcel_arrives_as_it_was_sent() {
        let schema = Schema::new([Field::new("a", Kind::Text), Field::new("x", Kind::Float)]);
        let head = Head { times: vec![1, 2], origins: vec![0, 3], sequences: vec![5, 6], stamps: vec![None, Some(9)] };
        let text: ArrayRef = Arc::new(StringArray::from(vec![Some("x"), None]));
        let odd = f64::from_bits(0x7ff8_0000_0000_0123);
        let batch = Batch::new(&schema, head, vec![text.clone(), Arc::new(Float64Array::from(vec![odd, -0.0]))]);
        let check = |batch: Batch| {
            let bytes = postcard::to_stdvec(&Parcel { to: 1, batch: batch.clone() }).expect("written");
            let back: Parcel = postcard::from_bytes(&bytes).expect("read");
            let bits = |batch: &Batch| batch.records().column(5).to_data().buffers()[0].as_slice().to_vec();
            assert_eq!((back.to, bits(&back.batch)), (1, bits(&batch)));
            assert_eq!(back.batch.records().schema(), batch.records().schema());
            assert_eq!(back.batch.records().columns()[..5], batch.records().columns()[..5]);
            assert_eq!(back.batch.keys(), batch.keys());
        };
        check(batch.clone());
        check(batch.clone().with_keys(Keys::of(std::slice::from_ref(&text), 2)));
        check(batch.clone().with_keys(Keys::of(&[], 2)));
        check(batch.with_keys(Keys::of(&[text], 2)).take(&[1]));
    }
}
