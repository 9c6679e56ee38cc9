//! Reports as they came, and enrichment tables as they were: bytes that go by their hash.
//!
//! An object appears under its name only when it is whole, so that its name is true of it; putting the same
//! bytes again changes nothing. A large report can be read as soon as its name is known, while its bytes are on
//! their way to the disk: the disk is often slower than the understanding of rows.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, Write};
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow, bail};
use event::id::hex;
use event::time::Micros;
use tempfile::NamedTempFile;

use crate::place::{BlobReader, Listed, Place, make_folder_of, nameless, sync_folder, temporary_in};
use crate::store::Store;
use crate::work::AtWork;

/// What some bytes are known by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReportMark {
    /// The first 128 bits of BLAKE3, in hexadecimal: [`event::id::name`].
    pub id: String,
    /// In bytes.
    pub size: u64,
}

/// A report is not kept because it was erased, or a person in it.
#[derive(Debug)]
pub struct WasErased;

impl std::fmt::Display for WasErased {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("this report was erased, or a person in it: it is not taken in again")
    }
}

impl std::error::Error for WasErased {}

/// Read and written at a time.
const PIECE: usize = 1 << 18;

/// Pieces that wait for the other thread.
const WAITING: usize = 4;

/// Old reports are read seldom and kept long: this level makes a CSV file some fifteen times smaller.
const LEVEL: i32 = 9;

const COMPRESSED: &str = ".zst";

/// A smaller report is safe on the disk before it could be read, in bytes.
const LARGE: u64 = 4 << 20;

/// Each that settles holds a file open: no more than so many do.
const MOST_SETTLING: usize = 64;

/// Waits until one of them has settled, where they are many. Blocks: for threads that may.
fn wait_for_room(settling: &mut HashMap<String, Settling>) -> Result<()> {
    while settling.len() >= MOST_SETTLING {
        let one = settling.keys().next().cloned().expect("there are many");
        settling.remove(&one).map_or(Ok(()), Settling::wait).with_context(|| format!("keeping the report {one}"))?;
    }
    Ok(())
}

/// A report on its way to the disk and its name.
#[derive(Debug)]
pub(crate) struct Settling {
    bytes: Arc<Growing>,
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
        self.put(report_name, source, |id| self.require_keepable(id), |fresh| self.settle_in_time(fresh)).context("keeping a report")
    }

    /// Keeps what lies in a file, whose mark was taken before. A large report can be read while it is copied.
    /// Blocks: for threads that may.
    pub fn put_report_file(&self, mut source: File, mark: &ReportMark) -> Result<()> {
        source.rewind()?;
        match self.place.folder() {
            Some(folder) if mark.size >= LARGE => self.require_write().and_then(|()| self.keep_file(folder, source, mark)),
            _ => self.put_report(&mut (&source).take(mark.size + 1)).and_then(|kept| require_unchanged(&kept, mark)),
        }
        .context("keeping a report")
    }

    /// Refuses to keep a report that was erased, with [`WasErased`]. Blocks: for threads that may.
    pub fn require_keepable(&self, id: &str) -> Result<()> {
        if self.place.wait(self.not_to_be_kept([id]))?.is_empty() { Ok(()) } else { Err(WasErased.into()) }
    }

    fn keep_file(&self, folder: &Path, mut source: File, mark: &ReportMark) -> Result<()> {
        self.require_keepable(&mark.id)?;
        let path = folder.join(report_name(&mark.id)?);
        let mut settling = self.settling();
        if is_kept(&path) || settling.contains_key(&mark.id) {
            return Ok(());
        }
        wait_for_room(&mut settling)?;
        let fresh = Fresh { file: fresh_file(folder)?, mark: mark.clone(), path };
        let bytes = Arc::new(Growing::empty(fresh.file.reopen()?));
        let grower = Grower::new(bytes.clone());
        let settled = std::thread::spawn(move || fresh.fill(&mut source, grower)?.settle());
        settling.insert(mark.id.clone(), Settling { bytes, settled });
        Ok(())
    }

    fn settling(&self) -> MutexGuard<'_, HashMap<String, Settling>> {
        self.settling.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts bytes under the name that their hash gives them, if they `may` be put; in a folder, `settle` sees to the disk.
    fn put(
        &self,
        name_of: fn(&str) -> Result<String>,
        source: &mut dyn Read,
        may: impl FnOnce(&str) -> Result<()>,
        settle: impl FnOnce(Fresh) -> Result<ReportMark>,
    ) -> Result<ReportMark> {
        self.require_write()?;
        match self.place.folder() {
            Some(folder) => {
                let fresh = Fresh::copy(folder, name_of, source)?;
                may(&fresh.mark.id)?;
                settle(fresh)
            }
            None => put_in_bucket(&self.place, self.settings.temporary.as_ref(), name_of, source, may),
        }
    }

    fn settle_in_time(&self, fresh: Fresh) -> Result<ReportMark> {
        let mark = fresh.mark.clone();
        if mark.size < LARGE || is_kept(&fresh.path) {
            return fresh.settle_now();
        }
        let mut settling = self.settling();
        if !settling.contains_key(&mark.id) {
            wait_for_room(&mut settling)?;
            let bytes = Arc::new(Growing::whole(fresh.file.reopen()?, mark.size));
            settling.insert(mark.id.clone(), Settling { bytes, settled: std::thread::spawn(move || fresh.settle()) });
        }
        Ok(mark)
    }

    /// Waits until a report that was put is safe on the disk and has its name: nothing that follows from it may be
    /// stored before. Who put it waits, and nobody else.
    pub async fn settle_report(&self, id: &str) -> Result<()> {
        let settling = self.settling().remove(id);
        match settling {
            Some(settling) => settling.settle().await.with_context(|| format!("keeping the report {id}")),
            None => Ok(()),
        }
    }

    /// Waits for all reports that are on their way to the disk, so that a start finds what this process did not finish.
    pub async fn settle_reports(&self) -> Result<()> {
        let settling = std::mem::take(&mut *self.settling());
        let mut done = Ok(());
        for (id, settling) in settling {
            let settled = settling.settle().await.with_context(|| format!("keeping the report {id}"));
            // One that failed must not end the process while others are on their way.
            done = done.and(settled);
        }
        done
    }

    /// Does what must not be done before a report has settled; hands it back where there is nothing to wait for.
    pub(crate) fn after_settling<F>(&self, id: &str, then: F) -> Option<F>
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let mut settling = self.settling();
        let Some(report) = settling.remove(id) else { return Some(then) };
        let (bytes, place) = (report.bytes.clone(), self.place.clone());
        let settled = std::thread::spawn(move || report.wait().and_then(|()| place.wait(then)));
        settling.insert(id.to_owned(), Settling { bytes, settled });
        None
    }

    /// A kept report's bytes as they came. Blocks: for threads that may.
    pub fn open_report(&self, id: &str) -> Result<Box<dyn Read + Send>> {
        if let Some(Settling { bytes, .. }) = self.settling().get(id) {
            return Ok(Box::new(FromStart::new(bytes.clone())));
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
        is_there(&self.place, &report_name(id)?).await
    }

    /// Keeps an enrichment table, so that reports can be read again as of its day. Blocks: for threads that may.
    pub fn put_table(&self, source: &mut dyn Read) -> Result<ReportMark> {
        self.put(table_name, source, |_| Ok(()), Fresh::settle_now).context("keeping an enrichment table")
    }

    /// A kept table. Blocks: for threads that may.
    pub fn open_table(&self, id: &str) -> Result<Box<dyn Read + Send>> {
        open(&self.place, &table_name(id)?).with_context(|| format!("opening the enrichment table {id}"))
    }

    /// Compresses reports that were put before then; says how many. Where nobody waits for that any more, the one that is under way
    /// is packed to its end, and the work goes on so long.
    pub async fn compress_reports(&self, at_work: &AtWork, before: Micros) -> Result<usize> {
        self.require_write()?;
        let mut count = 0;
        for report in self.place.list("reports").await?.iter().filter(|report| report.modified < before && is_plain(&report.name)) {
            let (place, plain, its_work) = (self.place.clone(), report.clone(), at_work.clone());
            let work = move || {
                let _until_done = its_work;
                pack(&place, &plain)
            };
            let packed = tokio::task::spawn_blocking(work).await.context("the thread that compresses reports has died")?;
            count += usize::from(self.choose_form(report, packed).await.with_context(|| format!("compressing {}", report.name))?);
        }
        Ok(count)
    }

    /// Takes away the form of a packed report that has no use any more; true if that is the plain one. In a bucket others may have
    /// been at work on the same report.
    async fn choose_form(&self, report: &Listed, packed: Result<()>) -> Result<bool> {
        let form = format!("{}{COMPRESSED}", report.name);
        match self.place.look(&report.name).await? {
            Some(now) if now == *report => {
                packed?;
                self.place.delete(&report.name).await?;
                return Ok(true);
            }
            // An erasure has rewritten it.
            Some(_) => self.place.delete(&form).await?,
            None if self.is_taken_out(report).await? => self.place.delete(&form).await?,
            // Somebody else has packed it.
            None => {}
        }
        Ok(false)
    }

    /// Whether an erasure takes the whole report away.
    async fn is_taken_out(&self, report: &Listed) -> Result<bool> {
        let erased = self.erased().await?;
        Ok(id_of(&report.name).is_some_and(|id| erased.is_taken_out(&id)))
    }

    /// Puts other bytes in a report's place, for an erasure: the only case in which its name is not their hash. Blocks.
    pub(crate) fn rewrite_report(&self, id: &str, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
        let name = report_name(id)?;
        put_object(&self.place, &name, write)?;
        self.place.wait(self.place.delete(&format!("{name}{COMPRESSED}")))
    }

    /// Of a report that is there plain and packed, since somebody died between the two, the packed form goes: an erasure
    /// writes the plain one.
    pub(crate) async fn drop_spare_form(&self, id: &str) -> Result<()> {
        let name = report_name(id)?;
        if self.place.exists(&name).await? { self.place.delete(&format!("{name}{COMPRESSED}")).await } else { Ok(()) }
    }

    /// Deletes what is kept since before then and belongs to nobody: reports of a process that died before it had put down an
    /// arrival, and those that were erased and come back so. Says how many.
    pub(crate) async fn delete_strays(&self, before: Micros) -> Result<usize> {
        let listed = self.place.list("reports").await?;
        let old = listed.iter().filter(|report| report.modified < before).filter_map(|report| id_of(&report.name));
        let old: BTreeSet<String> = old.collect();
        let erased = self.not_to_be_kept(old.iter().map(String::as_str)).await?;
        // Arrivals first: one that is recorded meanwhile is among the deliveries.
        let arrivals = self.arrivals().await?.into_iter().map(|arrival| arrival.report_id);
        let known: BTreeSet<String> = arrivals.chain(self.deliveries(None).await?.into_iter().map(|delivery| delivery.report_id)).collect();
        // A store that knows of no report at all has lost more than an arrival.
        let is_stray = |id: &&String| erased.contains(*id) || !known.is_empty() && !known.contains(*id);
        let mut deleted = 0;
        for id in old.iter().filter(is_stray) {
            self.delete_report(id).await?;
            deleted += 1;
        }
        Ok(deleted)
    }

    /// The ids of all reports that are kept.
    pub(crate) async fn kept_reports(&self) -> Result<BTreeSet<String>> {
        let listed = self.place.list("reports").await?;
        Ok(listed.iter().filter_map(|report| id_of(&report.name)).collect())
    }

    /// Takes a report away for good, in whatever form.
    pub async fn delete_report(&self, id: &str) -> Result<()> {
        self.settle_report(id).await?;
        let name = report_name(id)?;
        self.place.delete(&name).await?;
        self.place.delete(&format!("{name}{COMPRESSED}")).await
    }
}

/// The id of a report that goes by this name, in whatever form.
fn id_of(name: &str) -> Option<String> {
    let id = name.rsplit('/').next()?.trim_end_matches(COMPRESSED);
    check_id(id).is_ok().then(|| id.to_owned())
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

/// An object that has no name yet, and where it belongs.
struct Fresh {
    file: NamedTempFile,
    mark: ReportMark,
    path: PathBuf,
}

/// Beside its final place, so that it can be renamed into it.
fn fresh_file(folder: &Path) -> Result<NamedTempFile> {
    std::fs::create_dir_all(folder)?;
    Ok(temporary_in(folder)?)
}

/// Whether what belongs here is there, in whatever form.
fn is_kept(path: &Path) -> bool {
    path.exists() || compressed(path).exists()
}

/// The same of an object's name.
async fn is_there(place: &Place, name: &str) -> Result<bool> {
    Ok(place.exists(name).await? || place.exists(&format!("{name}{COMPRESSED}")).await?)
}

fn require_unchanged(now: &ReportMark, before: &ReportMark) -> Result<()> {
    if now != before {
        bail!("it changed while it was taken in, and nothing of it was stored: hand it in again when it is whole");
    }
    Ok(())
}

impl Fresh {
    fn copy(folder: &Path, name_of: fn(&str) -> Result<String>, source: &mut dyn Read) -> Result<Fresh> {
        let mut file = fresh_file(folder)?;
        let mark = copy(source, file.as_file_mut(), |_| Ok(()))?;
        let path = folder.join(name_of(&mark.id)?);
        Ok(Fresh { file, mark, path })
    }

    /// Copies what its mark was taken of.
    fn fill(mut self, source: &mut dyn Read, mut grower: Grower) -> Result<Fresh> {
        // What grows without end is another after one byte more.
        let mut source = source.take(self.mark.size + 1);
        let copied = copy(&mut source, self.file.as_file_mut(), |size| grower.grow(size));
        let done = copied.and_then(|copied| require_unchanged(&copied, &self.mark));
        grower.end(&done);
        done.map(|()| self)
    }

    fn settle_now(self) -> Result<ReportMark> {
        let mark = self.mark.clone();
        self.settle().map(|()| mark)
    }

    /// Sees it onto the disk, and then gives it its name.
    fn settle(self) -> Result<()> {
        if is_kept(&self.path) {
            return Ok(());
        }
        self.file.as_file().sync_all()?;
        let parent = make_folder_of(&self.path)?;
        self.file.persist(&self.path).with_context(|| format!("writing {}", self.path.display()))?;
        Ok(sync_folder(parent)?)
    }
}

/// A file that is being written, and how far.
#[derive(Debug)]
struct Growing {
    file: File,
    growth: Mutex<Growth>,
    changed: Condvar,
}

#[derive(Debug)]
struct Growth {
    size: u64,
    /// How far it was read, and by how many who still read.
    read: u64,
    readers: usize,
    /// Whether no more will come, or why.
    end: Option<Result<(), String>>,
}

impl Growing {
    fn empty(file: File) -> Growing {
        Growing { file, growth: Mutex::new(Growth { size: 0, read: 0, readers: 0, end: None }), changed: Condvar::new() }
    }

    fn whole(file: File, size: u64) -> Growing {
        Growing { file, growth: Mutex::new(Growth { size, read: 0, readers: 0, end: Some(Ok(())) }), changed: Condvar::new() }
    }

    fn growth(&self) -> MutexGuard<'_, Growth> {
        self.growth.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far it has come, once that is beyond a place or no more will come.
    fn size_beyond(&self, place: u64) -> io::Result<u64> {
        let waiting = self.changed.wait_while(self.growth(), |growth| growth.size <= place && growth.end.is_none());
        let growth = waiting.unwrap_or_else(PoisonError::into_inner);
        match &growth.end {
            Some(Err(error)) => Err(io::Error::other(format!("its copy failed: {error}"))),
            _ => Ok(growth.size),
        }
    }
}

/// A copy goes no further than this before its reader, in bytes: it would only fill the system's memory with what is
/// read much later, and push out what others need.
const AHEAD: u64 = 256 << 20;

/// So much of a copy is seen onto the disk at a time, in bytes.
const SYNCED: u64 = 128 << 20;

/// Who writes a growing file. Nobody waits for more once it is gone.
struct Grower {
    growing: Arc<Growing>,
    ahead: u64,
    synced: u64,
}

impl Grower {
    fn new(growing: Arc<Growing>) -> Grower {
        Grower { growing, ahead: AHEAD, synced: 0 }
    }

    fn grow(&mut self, size: u64) -> Result<()> {
        let Growing { file, changed, .. } = &*self.growing;
        self.growing.growth().size = size;
        changed.notify_all();
        if size >= self.synced + SYNCED {
            file.sync_data().context("writing it")?;
            self.synced = size;
            // What was read is not read again soon. It is advice: nothing hangs on its being taken.
            if let Some(read) = NonZeroU64::new(self.growing.growth().read) {
                rustix::fs::fadvise(file, 0, Some(read), rustix::fs::Advice::DontNeed).ok();
            }
        }
        let waits = |growth: &mut Growth| growth.readers > 0 && growth.size > growth.read + self.ahead;
        drop(changed.wait_while(self.growing.growth(), waits));
        Ok(())
    }

    fn end(self, done: &Result<()>) {
        self.growing.growth().end = Some(done.as_ref().copied().map_err(|error| format!("{error:#}")));
    }
}

impl Drop for Grower {
    fn drop(&mut self) {
        self.growing.growth().end.get_or_insert_with(|| Err("the thread that writes it has died".to_owned()));
        self.growing.changed.notify_all();
    }
}

/// A growing file read from its start, whoever else reads it.
struct FromStart {
    bytes: Arc<Growing>,
    place: u64,
}

impl FromStart {
    fn new(bytes: Arc<Growing>) -> FromStart {
        bytes.growth().readers += 1;
        FromStart { bytes, place: 0 }
    }
}

impl Drop for FromStart {
    fn drop(&mut self) {
        self.bytes.growth().readers -= 1;
        self.bytes.changed.notify_all();
    }
}

impl Read for FromStart {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let there = self.bytes.size_beyond(self.place)? - self.place;
        let most = out.len().min(usize::try_from(there).unwrap_or(usize::MAX));
        let length = self.bytes.file.read_at(&mut out[..most], self.place)?;
        self.place += length as u64;
        let mut growth = self.bytes.growth();
        growth.read = growth.read.max(self.place);
        self.bytes.changed.notify_all();
        Ok(length)
    }
}

fn put_in_bucket(
    place: &Place,
    temporary: Option<&PathBuf>,
    name_of: fn(&str) -> Result<String>,
    source: &mut dyn Read,
    may: impl FnOnce(&str) -> Result<()>,
) -> Result<ReportMark> {
    let mut file = nameless(temporary)?;
    let mark = copy(source, &mut file, |_| Ok(()))?;
    may(&mark.id)?;
    let name = name_of(&mark.id)?;
    // What is there may have been made unreadable in part, and must stay so.
    if place.wait(is_there(place, &name))? {
        return Ok(mark);
    }
    file.rewind()?;
    let mut sink = place.create(&name)?;
    io::copy(&mut file, &mut sink)?;
    sink.finish()?;
    Ok(mark)
}

fn compressed(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(COMPRESSED);
    name.into()
}

/// Copies and hashes; `written` hears how far it has come.
fn copy(source: &mut dyn Read, to: &mut File, mut written: impl FnMut(u64) -> Result<()> + Send) -> Result<ReportMark> {
    let mut hasher = blake3::Hasher::new();
    let mut done = 0;
    let write = |piece: &[u8]| {
        to.write_all(piece).context("writing it")?;
        done += piece.len() as u64;
        written(done)
    };
    let hash = |piece: &[u8]| {
        hasher.update(piece);
    };
    let size = stream(source, hash, write)?;
    Ok(mark(&hasher, size))
}

/// What bytes are known by. Blocks: for threads that may.
pub fn mark_of(source: &mut dyn Read) -> Result<ReportMark> {
    let mut hasher = blake3::Hasher::new();
    let hash = |piece: &[u8]| {
        hasher.update(piece);
        Ok(())
    };
    let size = stream(source, |_| (), hash)?;
    Ok(mark(&hasher, size))
}

fn mark(hasher: &blake3::Hasher, size: u64) -> ReportMark {
    let hash = hasher.finalize();
    let first: &[u8; 16] = hash.as_bytes().first_chunk().expect("a hash has 32 bytes");
    ReportMark { id: hex(first), size }
}

/// Reads all bytes in pieces: each is used `here`, on the thread that reads, and `beside`, on a thread of its own.
/// Says how many bytes there were.
fn stream(source: &mut dyn Read, mut here: impl FnMut(&[u8]), mut beside: impl FnMut(&[u8]) -> Result<()> + Send) -> Result<u64> {
    let mut size = 0;
    std::thread::scope(|scope| {
        let (filled, pieces) = sync_channel::<Vec<u8>>(WAITING);
        let (done, spare) = sync_channel(WAITING + 2);
        let other = scope.spawn(move || -> Result<()> {
            for piece in pieces {
                beside(&piece)?;
                done.try_send(piece).ok();
            }
            Ok(())
        });
        loop {
            let mut piece: Vec<u8> = spare.try_recv().unwrap_or_default();
            piece.clear();
            (&mut *source).take(PIECE as u64).read_to_end(&mut piece).context("reading it")?;
            here(&piece);
            size += piece.len() as u64;
            // If nobody takes it, the other thread failed and says why.
            if piece.is_empty() || filled.send(piece).is_err() {
                break;
            }
        }
        drop(filled);
        other.join().map_err(|_| anyhow!("the thread that writes or hashes it has died"))?
    })?;
    Ok(size)
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

/// An object's bytes as they lie there, if it does. Blocks: for threads that may.
pub(crate) fn reader(place: &Place, name: &str) -> Result<Option<Box<dyn Read + Send>>> {
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

/// Writes the compressed form beside the plain one, which goes only then: at every moment one of them is there.
fn pack(place: &Place, report: &Listed) -> Result<()> {
    let Some(plain) = reader(place, &report.name)? else { return Ok(()) };
    let mut encoder = zstd::stream::read::Encoder::new(plain, LEVEL)?;
    put_object(place, &format!("{}{COMPRESSED}", report.name), |out| io::copy(&mut encoder, out).map(|_| ()))
}

/// Writes an object, in the place of one that is there. Afterwards it is on the disk.
fn put_object(place: &Place, name: &str, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let Some(path) = place.file(name) else {
        let mut sink = place.create(name)?;
        write(&mut sink)?;
        return sink.finish();
    };
    let folder = make_folder_of(&path)?;
    let mut file = temporary_in(folder)?;
    write(&mut file)?;
    file.as_file().sync_all()?;
    file.persist(&path)?;
    Ok(sync_folder(folder)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn growing(folder: &Path) -> (NamedTempFile, Arc<Growing>) {
        let file = temporary_in(folder).expect("a file");
        let bytes = Arc::new(Growing::empty(file.reopen().expect("the file")));
        (file, bytes)
    }

    fn read(bytes: &Arc<Growing>) -> io::Result<Vec<u8>> {
        let mut read = Vec::new();
        FromStart::new(bytes.clone()).read_to_end(&mut read).map(|_| read)
    }

    #[test]
    fn what_is_still_copied_reads_as_what_was_copied() {
        let folder = tempfile::tempdir().expect("a folder");
        let source: Vec<u8> = (0..LARGE).map(|number| (number % 251) as u8).collect();
        let (file, bytes) = growing(folder.path());
        let mark = mark_of(&mut source.as_slice()).expect("readable");
        let fresh = Fresh { file, mark: mark.clone(), path: folder.path().join("whole") };
        let grower = Grower::new(bytes.clone());
        let reading = std::thread::spawn(move || read(&bytes));
        let filled = fresh.fill(&mut source.as_slice(), grower).expect("it is what was marked");
        assert_eq!(reading.join().expect("it reads").expect("readable"), source);
        assert_eq!(filled.settle_now().expect("it settles"), mark);
        assert_eq!(std::fs::read(folder.path().join("whole")).expect("kept"), source);
    }

    #[test]
    fn what_changes_while_it_is_copied_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, bytes) = growing(folder.path());
        let mark = mark_of(&mut b"one row".as_slice()).expect("readable");
        let fresh = Fresh { file, mark, path: folder.path().join("whole") };
        let grower = Grower::new(bytes.clone());
        let error = fresh.fill(&mut b"one row and half of".as_slice(), grower).map(|_| ()).expect_err("it is another");
        assert!(error.to_string().starts_with("it changed while it was taken in"), "{error}");
        assert!(read(&bytes).expect_err("nobody may read it").to_string().contains("its copy failed: it changed"));
        assert!(!folder.path().join("whole").exists());
    }

    #[test]
    fn a_copy_stays_near_its_reader_and_ends_without_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let source = vec![7_u8; 40 * PIECE];
        let (file, bytes) = growing(folder.path());
        let mark = mark_of(&mut source.as_slice()).expect("readable");
        let fresh = Fresh { file, mark, path: folder.path().join("whole") };
        let ahead = 4 * PIECE as u64;
        let mut reader = FromStart::new(bytes.clone());
        let grower = Grower { growing: bytes.clone(), ahead, synced: 0 };
        let copying = std::thread::spawn(move || fresh.fill(&mut source.as_slice(), grower).map(|_| ()));
        let mut piece = vec![0; PIECE];
        for _ in 0..10 {
            reader.read_exact(&mut piece).expect("it comes");
            let growth = bytes.growth();
            assert!(growth.size <= growth.read + ahead + PIECE as u64, "{growth:?}");
        }
        drop(reader);
        copying.join().expect("it ends").expect("it is whole");
        assert_eq!(bytes.growth().size, 40 * PIECE as u64);
    }

    #[test]
    fn nobody_waits_for_a_copy_whose_thread_has_died() {
        let folder = tempfile::tempdir().expect("a folder");
        let (_file, bytes) = growing(folder.path());
        let grower = Grower::new(bytes.clone());
        let reading = std::thread::spawn(move || read(&bytes));
        drop(grower);
        let error = reading.join().expect("it ends").expect_err("there is no end");
        assert_eq!(error.to_string(), "its copy failed: the thread that writes it has died");
    }
}
