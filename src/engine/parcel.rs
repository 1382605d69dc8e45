//! What travels between workers: a whole batch, addressed to one worker.
//!
//! Within a process it moves by pointer; between processes it is Arrow IPC.

use crate::batch::Batch;
use crate::key::Keys;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

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
        let write = || {
            let mut writer = StreamWriter::try_new(Vec::new(), &self.batch.records().schema())?;
            writer.write(self.batch.records())?;
            writer.into_inner()
        };
        let bytes = write().map_err(ser::Error::custom)?;
        (self.to, bytes, self.batch.keys()).serialize(to)
    }
}

impl<'de> Deserialize<'de> for Parcel {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Parcel, D::Error> {
        let (to, bytes, keys) = <(u64, Vec<u8>, Option<Keys>)>::deserialize(from)?;
        let mut reader = StreamReader::try_new(bytes.as_slice(), None).map_err(de::Error::custom)?;
        let records = reader.next().ok_or_else(|| de::Error::custom("a parcel without a batch"))?;
        let batch = Batch::from_records(records.map_err(de::Error::custom)?);
        let batch = if let Some(keys) = keys { batch.with_keys(keys) } else { batch };
        Ok(Parcel { to, batch })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Head;
    use crate::schema::{Field, Kind, Schema};
    use arrow::array::{ArrayRef, StringArray};
    use std::sync::Arc;

    #[test]
    fn a_parcel_arrives_as_it_was_sent() {
        let schema = Schema::new([Field::new("a", Kind::Text)]);
        let head = Head { times: vec![1, 2], origins: vec![0, 3], sequences: vec![5, 6], stamps: vec![None, Some(9)] };
        let column: ArrayRef = Arc::new(StringArray::from(vec![Some("x"), None]));
        let keys = Keys::of(std::slice::from_ref(&column), 2);
        let parcel = Parcel { to: 1, batch: Batch::new(&schema, head, vec![column]).with_keys(keys) };
        let bytes = postcard::to_stdvec(&parcel).expect("written");
        let back: Parcel = postcard::from_bytes(&bytes).expect("read");
        assert_eq!(
            (back.to, back.batch.records(), back.batch.keys()),
            (1, parcel.batch.records(), parcel.batch.keys())
        );
    }
}
