//! The state of key groups as a file.
//!
//! It is an Arrow IPC file with a row for every key group that changed: `key_group` (uint16), `next_sequence` (int64:
//! the sequence of the next row that the step derives for the group) and `state` (binary, as the step wrote it; empty
//! where the group has no state any more). The schema's metadata name the step and the version of its state.

use crate::fault::Failure;
use crate::key::KeyGroup;
use arrow::array::{Array, AsArray, BinaryArray, Int64Array, RecordBatch, UInt16Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, UInt16Type};
use arrow::ipc::reader::FileReader;
use arrow::ipc::writer::FileWriter;
use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::Arc;

/// A key group as a step saved it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Which.
    pub group: KeyGroup,
    /// The sequence of the next row that the step derives for it.
    pub next_sequence: i64,
    /// The version of the format of its state.
    pub version: u32,
    /// Its state; empty where there is none any more.
    pub state: Vec<u8>,
}

/// Under which the version of the format of the state stands in the metadata.
const VERSION: &str = "eagre.state_version";

/// The columns of such a file.
pub const COLUMNS: [&str; 3] = ["key_group", "next_sequence", "state"];

/// These groups as a file. Those that have a state have it in one version.
pub fn encode(step: &str, groups: &[Group]) -> Vec<u8> {
    let mut versions = groups.iter().filter(|group| !group.state.is_empty()).map(|group| group.version);
    let version = versions.next().unwrap_or(1);
    assert!(versions.all(|other| other == version), "a step saves all its groups in one version");
    let metadata = [("eagre.step", step.to_owned()), (VERSION, version.to_string())];
    let fields = vec![
        Field::new(COLUMNS[0], DataType::UInt16, false),
        Field::new(COLUMNS[1], DataType::Int64, false),
        Field::new(COLUMNS[2], DataType::Binary, false),
    ];
    let metadata = metadata.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let schema = Arc::new(Schema::new(fields).with_metadata(metadata));
    let mut writer = FileWriter::try_new(Vec::new(), &schema).expect("writing to memory does not fail");
    let mut bytes = 0;
    // A batch can have no more than 2 GiB.
    let goes_on = |group: &Group, _: &Group| {
        bytes += group.state.len();
        bytes < BATCH_BYTES || std::mem::take(&mut bytes) == 0
    };
    for groups in groups.chunk_by(goes_on) {
        let columns: [Arc<dyn Array>; 3] = [
            Arc::new(UInt16Array::from_iter_values(groups.iter().map(|g| g.group))),
            Arc::new(Int64Array::from_iter_values(groups.iter().map(|g| g.next_sequence))),
            Arc::new(BinaryArray::from_iter_values(groups.iter().map(|g| &g.state))),
        ];
        let records = RecordBatch::try_new(schema.clone(), columns.to_vec());
        let records = records.expect("columns of one length and no nulls");
        writer.write(&records).expect("writing to memory does not fail");
    }
    writer.into_inner().expect("writing to memory does not fail")
}

/// A batch of groups ends when its states come to so much.
const BATCH_BYTES: usize = 64 << 20;

/// Batches of one kind as a file.
pub fn encode_rows<'a>(batches: impl IntoIterator<Item = &'a RecordBatch>) -> Result<Vec<u8>, Failure> {
    let mut batches = batches.into_iter().peekable();
    let Some(first) = batches.peek() else { return Ok(Vec::new()) };
    let mut writer = FileWriter::try_new(Vec::new(), &first.schema())?;
    batches.try_for_each(|batch| writer.write(batch))?;
    Ok(writer.into_inner()?)
}

/// Reads a file of batches.
pub fn decode_rows(bytes: &[u8]) -> Result<Vec<RecordBatch>, Failure> {
    Ok(FileReader::try_new(Cursor::new(bytes), None)?.collect::<Result<_, _>>()?)
}

/// Reads a file of groups into what earlier files said: the later word counts.
pub fn decode(bytes: &[u8], groups: &mut BTreeMap<KeyGroup, Group>) -> Result<(), Failure> {
    let file = FileReader::try_new(Cursor::new(bytes), None)?;
    let version = file.schema().metadata().get(VERSION).and_then(|version| version.parse().ok());
    let version = version.ok_or_else(|| Failure::new(format!("its metadata have no `{VERSION}`")))?;
    for records in file {
        let records = records?;
        let [group, next, state] = records.columns() else {
            return Err(Failure::new(format!("it has {} columns and should have 3", records.num_columns())));
        };
        let (Some(group), Some(next), Some(state)) = (
            group.as_primitive_opt::<UInt16Type>(),
            next.as_primitive_opt::<Int64Type>(),
            state.as_binary_opt::<i32>(),
        ) else {
            return Err(Failure::new("its columns should be key_group, next_sequence and state"));
        };
        for row in 0..records.num_rows() {
            let group = group.value(row);
            let said = Group { group, next_sequence: next.value(row), version, state: state.value(row).to_vec() };
            groups.insert(group, said);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(group: KeyGroup, next_sequence: i64, state: &str) -> Group {
        Group { group, next_sequence, version: 1, state: state.into() }
    }

    #[test]
    fn the_later_word_on_a_group_counts() {
        let mut groups = BTreeMap::new();
        let newer = |group: Group| Group { version: 2, ..group };
        decode(&encode("w", &[group(7, 3, "old"), group(9, 1, "kept")]), &mut groups).expect("read");
        decode(&encode("w", &[newer(group(7, 5, "new")), newer(group(4_095, 0, ""))]), &mut groups).expect("read");
        let expected = [newer(group(7, 5, "new")), group(9, 1, "kept"), newer(group(4_095, 0, ""))];
        assert_eq!(groups.into_values().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_is_no_such_file_is_said() {
        assert!(decode(b"ARROW1", &mut BTreeMap::new()).is_err());
        assert!(decode(&encode("w", &[])[..40], &mut BTreeMap::new()).is_err());
    }
}
