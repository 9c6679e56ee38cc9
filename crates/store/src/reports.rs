//! Reports as they came, and enrichment tables as they were: bytes that go by their hash.
//!
//! An object appears under its name only when it is whole, so that its name is true of it; putting the same
//! bytes again changes nothing.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow, bail};
use event::id::hex;
use event::time::Micros;
use tempfile::NamedTempFile;

use crate::place::{BlobReader, Listed, Place, make_folder_of, nameless, sync_folder, temporary_in};
use crate::store::Store;

/// What some bytes are known by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReportMark {
    /// The first 128 bits of BLAKE3, in hexadecimal: [`event::id::name`].
    pub id: String,
    /// In bytes.
    pub size: u64,
}

/// Read and written at a time.
const PIECE: usize = 1 << 18;

/// Pieces that wait to be written.
const WAITING: usize = 4;

/// Old reports are read seldom and kept long: this level makes a CSV file some fifteen times smaller.
const LEVEL: i32 = 9;

const COMPRESSED: &str = ".zst";

/// A smaller report is safe on the disk before it could be read, in bytes.
const LARGE: u64 = 4 << 20;

/// A report that is whole, and on its way to the disk and its name.
#[derive(Debug)]
pub(crate) struct Settling {
    whole: Arc<File>,
    settled: JoinHandle<Result<()>>,
}

impl Settling {
    fn wait(self) -> Result<()> {
        self.settled.join().map_err(|_| anyhow!("the thread that writes it has died"))?
    }

    async fn settle(self) -> Result<()> {
        tokio::task::spawn_blocking(|| self.wait()).await.context("the thread that waits for it has died")?
    }
}

impl Store {
    /// Keeps a report, in a stream and bounded memory. Blocks: for threads that may.
    ///
    /// A large one may still be on its way to the disk: it can be opened here and now, and
    /// [`Store::settle_report`] waits for it.
    pub fn put_report(&self, source: &mut dyn Read) -> Result<ReportMark> {
        self.put(report_name, source, |fresh| self.settle_in_time(fresh)).context("keeping a report")
    }

    /// Puts bytes under the name that their hash gives them; in a folder, `settle` sees to the disk.
    fn put(
        &self,
        name_of: fn(&str) -> Result<String>,
        source: &mut dyn Read,
        settle: impl FnOnce(Fresh) -> Result<ReportMark>,
    ) -> Result<ReportMark> {
        self.require_write()?;
        match self.place.folder() {
            Some(folder) => settle(Fresh::copy(folder, name_of, source)?),
            None => put_in_bucket(&self.place, self.settings.temporary.as_ref(), name_of, source),
        }
    }

    fn settle_in_time(&self, fresh: Fresh) -> Result<ReportMark> {
        let mark = fresh.mark.clone();
        if mark.size < LARGE || fresh.is_kept() {
            return fresh.settle_now();
        }
        let mut settling = self.settling.lock().unwrap_or_else(PoisonError::into_inner);
        if !settling.contains_key(&mark.id) {
            let whole = Arc::new(fresh.file.reopen()?);
            settling.insert(mark.id.clone(), Settling { whole, settled: std::thread::spawn(move || fresh.settle()) });
        }
        Ok(mark)
    }

    /// Waits until a report that was put is safe on the disk and has its name: nothing that follows from it may be
    /// stored before.
    pub async fn settle_report(&self, id: &str) -> Result<()> {
        let settling = self.settling.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        match settling {
            Some(settling) => settling.settle().await.with_context(|| format!("keeping the report {id}")),
            None => Ok(()),
        }
    }

    /// Waits for all reports that are on their way to the disk, so that a start finds what this process did not finish.
    pub async fn settle_reports(&self) -> Result<()> {
        let settling = std::mem::take(&mut *self.settling.lock().unwrap_or_else(PoisonError::into_inner));
        for (id, settling) in settling {
            settling.settle().await.with_context(|| format!("keeping the report {id}"))?;
        }
        Ok(())
    }

    /// Does what must not be done before a report has settled; hands it back where there is nothing to wait for.
    pub(crate) fn after_settling<F>(&self, id: &str, then: F) -> Option<F>
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let mut settling = self.settling.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(report) = settling.remove(id) else { return Some(then) };
        let (whole, place) = (report.whole.clone(), self.place.clone());
        let settled = std::thread::spawn(move || report.wait().and_then(|()| place.wait(then)));
        settling.insert(id.to_owned(), Settling { whole, settled });
        None
    }

    /// A kept report's bytes as they came. Blocks: for threads that may.
    pub fn open_report(&self, id: &str) -> Result<Box<dyn Read + Send>> {
        if let Some(Settling { whole, .. }) = self.settling.lock().unwrap_or_else(PoisonError::into_inner).get(id) {
            return Ok(Box::new(FromStart { file: whole.clone(), place: 0 }));
        }
        open(&self.place, &report_name(id)?).with_context(|| format!("opening the report {id}"))
    }

    /// The file that holds a report as it came, where there is one: in a folder, and not yet compressed. It
    /// may be compressed and gone by the time it is opened, and then [`Store::open_report`] has it.
    pub fn report_path(&self, id: &str) -> Option<PathBuf> {
        self.place.file(&report_name(id).ok()?).filter(|path| path.is_file())
    }

    /// Whether the report is kept, in whatever form.
    pub async fn has_report(&self, id: &str) -> Result<bool> {
        let name = report_name(id)?;
        Ok(self.place.exists(&name).await? || self.place.exists(&format!("{name}{COMPRESSED}")).await?)
    }

    /// Keeps an enrichment table, so that reports can be read again as of its day. Blocks: for threads that may.
    pub fn put_table(&self, source: &mut dyn Read) -> Result<ReportMark> {
        self.put(table_name, source, Fresh::settle_now).context("keeping an enrichment table")
    }

    /// A kept table. Blocks: for threads that may.
    pub fn open_table(&self, id: &str) -> Result<Box<dyn Read + Send>> {
        open(&self.place, &table_name(id)?).with_context(|| format!("opening the enrichment table {id}"))
    }

    /// Compresses reports that were put before then; says how many.
    pub async fn compress_reports(&self, before: Micros) -> Result<usize> {
        self.require_write()?;
        let old = self.place.list("reports").await?.into_iter();
        let old: Vec<Listed> = old.filter(|report| report.modified < before && is_plain(&report.name)).collect();
        let count = old.len();
        let place = self.place.clone();
        tokio::task::spawn_blocking(move || old.iter().try_for_each(|report| compress(&place, report)))
            .await
            .context("the thread that compresses reports has died")??;
        Ok(count)
    }

    /// Puts other bytes in a report's place, for an erasure: the only case in which its name is not their hash.
    pub(crate) async fn replace_report(&self, id: &str, bytes: bytes::Bytes) -> Result<()> {
        let name = report_name(id)?;
        self.place.put(&name, bytes).await?;
        self.place.delete(&format!("{name}{COMPRESSED}")).await
    }

    /// Takes a report away for good, in whatever form.
    pub async fn delete_report(&self, id: &str) -> Result<()> {
        self.settle_report(id).await?;
        let name = report_name(id)?;
        self.place.delete(&name).await?;
        self.place.delete(&format!("{name}{COMPRESSED}")).await
    }
}

fn is_plain(name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or(name);
    !last.contains('.')
}

fn report_name(id: &str) -> Result<String> {
    check_id(id)?;
    Ok(format!("reports/{}/{id}", id.get(..2).unwrap_or_default()))
}

fn table_name(id: &str) -> Result<String> {
    check_id(id)?;
    Ok(format!("tables/{id}"))
}

/// Names come from people, too: they must not lead out of the folder.
fn check_id(id: &str) -> Result<()> {
    if id.len() != 32 || !id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        bail!("\"{id}\" is not a hash of 32 hexadecimal digits");
    }
    Ok(())
}

/// An object that is whole and not yet named, and where it belongs.
struct Fresh {
    file: NamedTempFile,
    mark: ReportMark,
    path: PathBuf,
}

impl Fresh {
    fn copy(folder: &Path, name_of: fn(&str) -> Result<String>, source: &mut dyn Read) -> Result<Fresh> {
        // Beside its final place, so that it can be renamed into it.
        std::fs::create_dir_all(folder)?;
        let mut file = temporary_in(folder)?;
        let mark = copy(source, file.as_file_mut())?;
        let path = folder.join(name_of(&mark.id)?);
        Ok(Fresh { file, mark, path })
    }

    fn is_kept(&self) -> bool {
        self.path.exists() || compressed(&self.path).exists()
    }

    fn settle_now(self) -> Result<ReportMark> {
        let mark = self.mark.clone();
        self.settle().map(|()| mark)
    }

    /// Sees it onto the disk, and then gives it its name.
    fn settle(self) -> Result<()> {
        if self.is_kept() {
            return Ok(());
        }
        self.file.as_file().sync_all()?;
        let parent = make_folder_of(&self.path)?;
        self.file.persist(&self.path).with_context(|| format!("writing {}", self.path.display()))?;
        Ok(sync_folder(parent)?)
    }
}

/// A file read from its start, whoever else reads it.
struct FromStart {
    file: Arc<File>,
    place: u64,
}

impl Read for FromStart {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read_at(out, self.place)?;
        self.place += length as u64;
        Ok(length)
    }
}

fn put_in_bucket(
    place: &Place,
    temporary: Option<&PathBuf>,
    name_of: fn(&str) -> Result<String>,
    source: &mut dyn Read,
) -> Result<ReportMark> {
    let mut file = nameless(temporary)?;
    let mark = copy(source, &mut file)?;
    file.rewind()?;
    let mut sink = place.create(&name_of(&mark.id)?)?;
    io::copy(&mut file, &mut sink)?;
    sink.finish()?;
    Ok(mark)
}

fn compressed(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(COMPRESSED);
    name.into()
}

/// Copies and hashes, with a thread of its own for what is written: a report of a gigabyte waits for nothing else.
fn copy(source: &mut dyn Read, to: &mut File) -> Result<ReportMark> {
    let mut hasher = blake3::Hasher::new();
    let mut size = 0;
    std::thread::scope(|scope| {
        let (filled, pieces) = sync_channel::<Vec<u8>>(WAITING);
        let (done, spare) = sync_channel(WAITING + 2);
        let writer = scope.spawn(move || -> io::Result<()> {
            for piece in pieces {
                to.write_all(&piece)?;
                done.try_send(piece).ok();
            }
            Ok(())
        });
        loop {
            let mut piece: Vec<u8> = spare.try_recv().unwrap_or_default();
            piece.clear();
            (&mut *source).take(PIECE as u64).read_to_end(&mut piece).context("reading it")?;
            hasher.update(&piece);
            size += piece.len() as u64;
            // If nobody takes it, the writer failed and says why.
            if piece.is_empty() || filled.send(piece).is_err() {
                break;
            }
        }
        drop(filled);
        writer.join().map_err(|_| anyhow!("the thread that writes it has died"))?.context("writing it")
    })?;
    let hash = hasher.finalize();
    let first: &[u8; 16] = hash.as_bytes().first_chunk().expect("a hash has 32 bytes");
    Ok(ReportMark { id: hex(first), size })
}

#[expect(clippy::disallowed_methods, reason = "what it unpacks was packed here, of a report that was capped on arrival")]
fn open(place: &Place, name: &str) -> Result<Box<dyn Read + Send>> {
    if let Some(plain) = reader(place, name)? {
        return Ok(plain);
    }
    match reader(place, &format!("{name}{COMPRESSED}"))? {
        Some(packed) => Ok(Box::new(zstd::stream::read::Decoder::new(packed)?)),
        None => bail!("it is not kept, or not any more"),
    }
}

fn reader(place: &Place, name: &str) -> Result<Option<Box<dyn Read + Send>>> {
    if let Some(path) = place.file(name) {
        return match File::open(&path) {
            Ok(file) => Ok(Some(Box::new(BufReader::with_capacity(PIECE, file)))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("opening {}", path.display())),
        };
    }
    let found = place.wait(place.size(name))?;
    Ok(match found {
        Some(size) => Some(Box::new(BlobReader::new(place.blob(name, size)?))),
        None => None,
    })
}

/// Writes the compressed form, and only then takes the plain one away: at every moment one of them is there.
fn compress(place: &Place, report: &Listed) -> Result<()> {
    let context = || format!("compressing {}", report.name);
    let Some(plain) = reader(place, &report.name)? else { return Ok(()) };
    let packed = format!("{}{COMPRESSED}", report.name);
    let mut encoder = zstd::stream::read::Encoder::new(plain, LEVEL).with_context(context)?;
    match place.file(&packed) {
        Some(path) => {
            let folder = make_folder_of(&path)?;
            let mut file = temporary_in(folder).with_context(context)?;
            io::copy(&mut encoder, &mut file).with_context(context)?;
            file.as_file().sync_all()?;
            file.persist(&path).with_context(context)?;
            sync_folder(folder)?;
        }
        None => {
            let mut sink = place.create(&packed)?;
            io::copy(&mut encoder, &mut sink).with_context(context)?;
            sink.finish()?;
        }
    }
    // The compressed form is on the disk by now: in a bucket once it is finished, in a folder by its own sync.
    place.wait(place.delete(&report.name))
}
