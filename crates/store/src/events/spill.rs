//! What an append puts aside while it runs: ids it wrote, and rows it suspects of being repeats. Little of
//! it stays in memory, the rest goes to files without a name, which vanish with the program.

use std::fs::File;
use std::io::{BufReader, BufWriter, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use anyhow::{Context, Result};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use event::id::Id;

use crate::file::{fit, memory_of};
use crate::place::nameless;

/// Kept in memory before a file is begun, in bytes.
const IN_MEMORY: usize = 4 << 20;

/// Ids read back at a time.
const PORTION: usize = 1 << 14;

/// Ids, one after the other.
#[derive(Debug, Default)]
pub(crate) struct IdSpill {
    memory: Vec<u8>,
    file: Option<File>,
    /// Bytes in the file, before those in memory.
    on_disk: u64,
    folder: Option<PathBuf>,
}

impl IdSpill {
    pub(crate) fn new(folder: Option<PathBuf>) -> IdSpill {
        IdSpill { folder, ..IdSpill::default() }
    }

    pub(crate) fn push(&mut self, ids: &[Id]) -> Result<()> {
        self.memory.extend_from_slice(ids.as_flattened());
        if self.memory.len() >= IN_MEMORY {
            let file = match &mut self.file {
                Some(file) => file,
                None => self.file.insert(nameless(self.folder.as_ref())?),
            };
            file.write_all(&self.memory).context("putting ids aside in the folder for temporary files")?;
            self.on_disk += self.memory.len() as u64;
            self.memory.clear();
        }
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        (self.on_disk as usize + self.memory.len()) / size_of::<Id>()
    }

    /// The ids from one place to another, in the order in which they came.
    pub(crate) fn range(&self, places: Range<usize>) -> Result<Vec<Id>> {
        let start = (places.start * size_of::<Id>()) as u64;
        let mut ids = vec![Id::default(); places.len()];
        let bytes = ids.as_flattened_mut();
        let (on_disk, in_memory) = bytes.split_at_mut(bytes.len().min(self.on_disk.saturating_sub(start) as usize));
        if let Some(file) = &self.file {
            file.read_exact_at(on_disk, start).context("reading ids that were put aside")?;
        }
        let from = start.saturating_sub(self.on_disk) as usize;
        in_memory.copy_from_slice(&self.memory[from..from + in_memory.len()]);
        Ok(ids)
    }

    /// All ids, a portion at a time.
    pub(crate) fn portions(&self) -> impl Iterator<Item = Result<Vec<Id>>> + '_ {
        let all = self.len();
        (0..all).step_by(PORTION).map(move |start| self.range(start..all.min(start + PORTION)))
    }
}

/// Rows, batch by batch.
#[derive(Default)]
pub(crate) struct RowSpill {
    schema: Option<SchemaRef>,
    memory: Vec<RecordBatch>,
    bytes: usize,
    file: Option<StreamWriter<BufWriter<File>>>,
    folder: Option<PathBuf>,
}

impl std::fmt::Debug for RowSpill {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("RowSpill").field("in_memory", &self.memory.len()).field("on_disk", &self.file.is_some()).finish()
    }
}

impl RowSpill {
    /// Batches get these columns, or else those of the first.
    pub(crate) fn new(folder: Option<PathBuf>, schema: Option<SchemaRef>) -> RowSpill {
        RowSpill { folder, schema, ..RowSpill::default() }
    }

    pub(crate) fn push(&mut self, batch: RecordBatch) -> Result<()> {
        let batch = fit(&batch, self.schema.get_or_insert_with(|| batch.schema()))?;
        self.bytes += memory_of(&batch);
        self.memory.push(batch);
        if self.bytes >= IN_MEMORY {
            self.put_aside().context("putting rows aside in the folder for temporary files")?;
        }
        Ok(())
    }

    fn put_aside(&mut self) -> Result<()> {
        for batch in self.memory.drain(..) {
            let file = match &mut self.file {
                Some(file) => file,
                None => self.file.insert(StreamWriter::try_new(BufWriter::new(nameless(self.folder.as_ref())?), &batch.schema())?),
            };
            file.write(&batch)?;
        }
        self.bytes = 0;
        Ok(())
    }

    /// The rows again, in the order in which they came.
    pub(crate) fn read(mut self) -> Result<impl Iterator<Item = Result<RecordBatch>>> {
        let from_disk = match self.file.take() {
            Some(mut writer) => {
                writer.finish()?;
                let mut file = writer.into_inner()?.into_inner().context("putting rows aside in the folder for temporary files")?;
                file.seek(SeekFrom::Start(0))?;
                Some(StreamReader::try_new(BufReader::new(file), None)?)
            }
            None => None,
        };
        let from_disk = from_disk.into_iter().flatten().map(|batch| batch.context("reading rows that were put aside"));
        Ok(from_disk.chain(self.memory.into_iter().map(Ok)))
    }
}
