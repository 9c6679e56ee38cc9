//! What an append puts aside while it runs: ids it wrote, and rows it suspects of being repeats. Little of
//! it stays in memory, the rest goes to files without a name, which vanish with the program.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use event::id::Id;

use crate::file::{fit, memory_of};

/// Kept in memory before a file is begun, in bytes.
const IN_MEMORY: usize = 4 << 20;

/// Ids, one after the other.
#[derive(Debug, Default)]
pub(crate) struct IdSpill {
    memory: Vec<u8>,
    file: Option<File>,
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
            self.memory.clear();
        }
        Ok(())
    }

    pub(crate) fn each(&mut self, mut found: impl FnMut(Id)) -> Result<()> {
        if let Some(file) = &mut self.file {
            file.seek(SeekFrom::Start(0))?;
            let mut reader = BufReader::with_capacity(1 << 16, &*file);
            let mut id = Id::default();
            while !reader_is_at_end(&mut reader)? {
                reader.read_exact(&mut id)?;
                found(id);
            }
            file.seek(SeekFrom::End(0))?;
        }
        self.memory.as_chunks().0.iter().for_each(|id| found(*id));
        Ok(())
    }
}

fn reader_is_at_end(reader: &mut impl std::io::BufRead) -> std::io::Result<bool> {
    Ok(reader.fill_buf()?.is_empty())
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
    pub(crate) fn new(folder: Option<PathBuf>) -> RowSpill {
        RowSpill { folder, ..RowSpill::default() }
    }

    /// Batches get the columns of the first.
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

fn nameless(folder: Option<&PathBuf>) -> Result<File> {
    let made = match folder {
        Some(folder) => tempfile::tempfile_in(folder),
        None => tempfile::tempfile(),
    };
    made.context("making a temporary file; its folder is TMPDIR, or /tmp")
}
