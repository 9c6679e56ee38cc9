//! Where the store lies: a folder, or a prefix of a bucket. Everything else names objects relative to it.
//!
//! Objects are reached through `object_store`, so that S3 is configuration. Writing to a folder goes past it,
//! for two reasons: its local file system never asks the disk to keep what it wrote, so that a power cut could
//! leave a log entry that is there and empty; and its uploads are asynchronous, which the writers, which sit
//! on threads of their own and are bound by the processor, would only have to undo.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{Error as ObjectError, ObjectStore, ObjectStoreExt, PutMode, PutOptions, WriteMultipart};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::reader::{ChunkReader, Length};
use tokio::runtime::Handle;
use url::Url;

/// Uploads go in parts of this size; smaller objects in one request. S3 wants at least 5 MiB.
const PART: usize = 8 << 20;
/// Parts on their way at once, for each object.
const PARTS_UNDER_WAY: usize = 2;

/// A folder or a prefix.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    root: Arc<dyn ObjectStore>,
    prefix: ObjectPath,
    url: Url,
    folder: Option<PathBuf>,
    runtime: Handle,
}

/// An object in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Relative to the place.
    pub(crate) name: String,
    pub(crate) size: u64,
    /// Microseconds since 1970, by the storage's own clock.
    pub(crate) modified: i64,
}

impl Place {
    /// The place at a path or a URL. `options` are the keys of `object_store`, such as `aws_endpoint`.
    ///
    /// Must be called inside a tokio runtime, which later serves the blocking readers and writers.
    pub(crate) fn open(location: &str, options: &[(String, String)]) -> Result<Place> {
        let runtime = Handle::try_current().context("a store is opened inside a tokio runtime")?;
        match Url::parse(location) {
            Ok(url) if url.scheme() == "file" => {
                let folder = url.to_file_path().map_err(|()| anyhow!("{location} does not name a folder"))?;
                Place::local(&folder, runtime)
            }
            Ok(url) if location.contains("://") => Place::remote(url, options, runtime),
            _ => Place::local(Path::new(location), runtime),
        }
    }

    fn local(folder: &Path, runtime: Handle) -> Result<Place> {
        let folder = std::path::absolute(folder).with_context(|| format!("the folder {} has no absolute path", folder.display()))?;
        let url = Url::from_directory_path(&folder).map_err(|()| anyhow!("the folder {} cannot be written as a URL", folder.display()))?;
        let prefix = ObjectPath::from_absolute_path(&folder)
            .with_context(|| format!("the folder {} has a name that is no object's", folder.display()))?;
        Ok(Place { root: Arc::new(LocalFileSystem::new()), prefix, url, folder: Some(folder), runtime })
    }

    fn remote(mut url: Url, options: &[(String, String)], runtime: Handle) -> Result<Place> {
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        let options: HashMap<String, String> = options.iter().cloned().collect();
        let (root, prefix) =
            object_store::parse_url_opts(&url, options).with_context(|| format!("storage at {url} is not one that is known"))?;
        Ok(Place { root: Arc::from(root), prefix, url, folder: None, runtime })
    }

    /// The place of this name inside this one.
    pub(crate) fn inside(&self, name: &str) -> Place {
        Place {
            root: self.root.clone(),
            prefix: self.path(name),
            url: self.url.join(&format!("{name}/")).expect("names are plain words"),
            folder: self.folder.as_ref().map(|folder| folder.join(name)),
            runtime: self.runtime.clone(),
        }
    }

    pub(crate) fn root(&self) -> &Arc<dyn ObjectStore> {
        &self.root
    }

    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    pub(crate) fn prefix(&self) -> &ObjectPath {
        &self.prefix
    }

    /// Waits for what is asynchronous, on a thread that may block: one of the runtime's own hands its tasks to others first.
    pub(crate) fn wait<F: Future>(&self, future: F) -> F::Output {
        match Handle::try_current() {
            Ok(_) => tokio::task::block_in_place(|| self.runtime.block_on(future)),
            Err(_) => self.runtime.block_on(future),
        }
    }

    pub(crate) fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// The object's path from the root of the storage.
    pub(crate) fn path(&self, name: &str) -> ObjectPath {
        self.prefix.parts().chain(name.split('/').map(Into::into)).collect()
    }

    /// The object as a file, in a folder.
    pub(crate) fn file(&self, name: &str) -> Option<PathBuf> {
        self.folder.as_ref().map(|folder| folder.join(name))
    }

    fn named(&self, name: &str) -> String {
        self.file(name).map_or_else(|| format!("{}{name}", self.url), |file| file.display().to_string())
    }

    /// The whole object, if there is one.
    pub(crate) async fn read(&self, name: &str) -> Result<Option<Bytes>> {
        let found = match self.root.get(&self.path(name)).await {
            Ok(found) => found.bytes().await,
            Err(error) => Err(error),
        };
        match found {
            Ok(bytes) => Ok(Some(bytes)),
            Err(ObjectError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("reading {}", self.named(name))),
        }
    }

    pub(crate) async fn exists(&self, name: &str) -> Result<bool> {
        Ok(self.size(name).await?.is_some())
    }

    /// The object's size in bytes, if there is one.
    pub(crate) async fn size(&self, name: &str) -> Result<Option<u64>> {
        Ok(self.look(name).await?.map(|listed| listed.size))
    }

    /// The object as a list would have it, if there is one.
    pub(crate) async fn look(&self, name: &str) -> Result<Option<Listed>> {
        match self.root.head(&self.path(name)).await {
            Ok(meta) => Ok(Some(Listed { name: name.to_owned(), size: meta.size, modified: meta.last_modified.timestamp_micros() })),
            Err(ObjectError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("looking for {}", self.named(name))),
        }
    }

    /// Puts the object there, whole or not at all, whatever was there.
    pub(crate) async fn put(&self, name: &str, bytes: Bytes) -> Result<()> {
        self.put_as(name, bytes, PutMode::Overwrite).await.map(|_| ())
    }

    /// Puts the object there, whole or not at all; false if there is one already.
    pub(crate) async fn put_if_absent(&self, name: &str, bytes: Bytes) -> Result<bool> {
        self.put_as(name, bytes, PutMode::Create).await
    }

    async fn put_as(&self, name: &str, bytes: Bytes, mode: PutMode) -> Result<bool> {
        let context = || format!("writing {}", self.named(name));
        if let Some(file) = self.file(name) {
            let create = matches!(mode, PutMode::Create);
            let wrote = tokio::task::spawn_blocking(move || put_file(&file, &bytes, create)).await?;
            return wrote.with_context(context);
        }
        match self.root.put_opts(&self.path(name), bytes.into(), PutOptions::from(mode)).await {
            Ok(_) => Ok(true),
            Err(ObjectError::AlreadyExists { .. } | ObjectError::Precondition { .. }) => Ok(false),
            Err(error) => Err(error).with_context(context),
        }
    }

    /// Takes the object away; that it is gone already is as good.
    pub(crate) async fn delete(&self, name: &str) -> Result<()> {
        match self.root.delete(&self.path(name)).await {
            Ok(()) | Err(ObjectError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("deleting {}", self.named(name))),
        }
    }

    /// All objects under a name, in no order. A prefix without any gives none.
    pub(crate) async fn list(&self, under: &str) -> Result<Vec<Listed>> {
        let prefix = if under.is_empty() { self.prefix.clone() } else { self.path(under) };
        let found: Result<Vec<_>, _> = self.root.list(Some(&prefix)).try_collect().await;
        let found = match found {
            Err(ObjectError::NotFound { .. }) => return Ok(Vec::new()),
            other => other.with_context(|| format!("listing {}", self.named(under)))?,
        };
        let start = self.prefix.parts().count();
        Ok(found
            .into_iter()
            .map(|meta| Listed {
                name: meta.location.parts().skip(start).map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/"),
                size: meta.size,
                modified: meta.last_modified.timestamp_micros(),
            })
            .collect())
    }

    /// A new object, written in a stream. Nobody sees it in a bucket before it is finished; in a folder it
    /// lies under its name at once, which is good for names that nothing refers to yet.
    ///
    /// Blocks: for threads that may.
    pub(crate) fn create(&self, name: &str) -> Result<Sink> {
        let context = || format!("creating {}", self.named(name));
        let kind = match self.file(name) {
            Some(path) => {
                make_folder_of(&path).with_context(context)?;
                let file = File::create_new(&path).with_context(context)?;
                SinkKind::Local { file, path }
            }
            None => SinkKind::Remote { place: self.clone(), path: self.path(name), buffer: Vec::new(), upload: None },
        };
        Ok(Sink { kind, name: self.named(name), written: 0, finished: false })
    }

    /// Sees finished objects onto the disk, so that they are there after a power cut. Many at once: the file
    /// system then writes them together, where one after the other took 15 ms each.
    pub(crate) async fn sync(&self, names: Vec<String>) -> Result<()> {
        let Some(folder) = self.folder.clone() else { return Ok(()) };
        let work = move || {
            let files: Vec<PathBuf> = names.iter().map(|name| folder.join(name)).collect();
            let folders: BTreeSet<PathBuf> = files.iter().filter_map(|file| file.parent().map(Path::to_path_buf)).collect();
            let all: Vec<PathBuf> = files.into_iter().chain(folders).collect();
            in_parallel(&all, |path| sync_path(path))
        };
        tokio::task::spawn_blocking(work).await.context("the thread that writes to the disk has died")?
    }

    /// An object of known size, to read pieces of. Blocks: for threads that may.
    pub(crate) fn blob(&self, name: &str, size: u64) -> Result<Blob> {
        match self.file(name) {
            Some(path) => {
                let file = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
                Ok(Blob::File { file: Arc::new(file), size })
            }
            None => Ok(Blob::Remote { place: self.clone(), path: self.path(name), size }),
        }
    }

    /// Makes sure that the storage refuses to put where something lies: commits rest on it.
    pub(crate) async fn require_put_if_absent(&self) -> Result<()> {
        let name = format!("locks/probe-{}", crate::unique_name());
        let first = self.put_if_absent(&name, Bytes::from_static(b"probe")).await?;
        let second = self.put_if_absent(&name, Bytes::from_static(b"probe")).await;
        self.delete(&name).await?;
        match (first, second) {
            (true, Ok(false)) => Ok(()),
            _ => bail!(
                "the storage at {} overwrites an object when asked to put it only if absent, so two writers would lose each other's \
                 events; use a folder or storage with conditional writes",
                self.url
            ),
        }
    }
}

/// Writes a file whole: beside, to the disk, and only then under its name. False if `create` and it is there.
fn put_file(path: &Path, bytes: &[u8], create: bool) -> io::Result<bool> {
    let folder = make_folder_of(path)?;
    let mut file = temporary_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    let placed = if create { file.persist_noclobber(path) } else { file.persist(path) };
    match placed {
        Ok(_) => {}
        Err(error) if create && error.error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(error.error),
    }
    sync_folder(folder)?;
    Ok(true)
}

/// A file that vanishes unless it is given a name, readable as other files are.
pub(crate) fn temporary_in(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    // By default only the owner may read temporary files; the umask decides, as for any other file.
    tempfile::Builder::new().prefix(TEMPORARY).permissions(std::fs::Permissions::from_mode(0o666)).tempfile_in(folder)
}

/// A file without a name, which vanishes with the program.
pub(crate) fn nameless(folder: Option<&PathBuf>) -> Result<File> {
    let made = match folder {
        Some(folder) => tempfile::tempfile_in(folder),
        None => tempfile::tempfile(),
    };
    made.context("making a temporary file; its folder is TMPDIR, or /tmp")
}

/// How the names of unfinished files start; vacuum takes old ones away.
pub(crate) const TEMPORARY: &str = ".unfinished-";

/// Whether it is the name of a file that its writer would have renamed; `object_store` ends its own with a
/// number.
pub(crate) fn is_unfinished(name: &str) -> bool {
    let numbered = name.rsplit_once('#').is_some_and(|(_, number)| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()));
    name.starts_with(TEMPORARY) || numbered
}

pub(crate) fn make_folder_of(path: &Path) -> io::Result<&Path> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    if !folder.is_dir() {
        std::fs::create_dir_all(folder)?;
        if let Some(above) = folder.parent() {
            sync_folder(above)?;
        }
    }
    Ok(folder)
}

/// Files and folders that are seen onto the disk at once.
const SYNCS: usize = 8;

/// Waits for the disk with several things at once: the file system then writes them together.
pub(crate) fn in_parallel<T: Sync>(all: &[T], sync: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    let share = all.len().div_ceil(SYNCS).max(1);
    std::thread::scope(|scope| {
        let threads: Vec<_> = all.chunks(share).map(|share| scope.spawn(|| share.iter().try_for_each(&sync))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow!("a thread that writes to the disk has died"))?)
    })
}

pub(crate) fn sync_path(path: &Path) -> Result<()> {
    File::open(path).and_then(|file| file.sync_all()).with_context(|| format!("writing {} to the disk", path.display()))
}

/// A name is on the disk only when its folder is.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// An object being written. Dropped without [`Sink::finish`], it leaves nothing.
#[derive(Debug)]
pub(crate) struct Sink {
    kind: SinkKind,
    name: String,
    written: u64,
    finished: bool,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there are a few at a time, and one indirection more for each write would be paid often")]
enum SinkKind {
    Local { file: File, path: PathBuf },
    Remote { place: Place, path: ObjectPath, buffer: Vec<u8>, upload: Option<WriteMultipart> },
}

impl Sink {
    /// Bytes so far.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// What it holds in memory, in bytes.
    pub(crate) fn memory(&self) -> usize {
        match &self.kind {
            SinkKind::Local { .. } => 0,
            SinkKind::Remote { buffer, upload, .. } => buffer.capacity() + upload.as_ref().map_or(0, |_| PART * PARTS_UNDER_WAY),
        }
    }

    /// The object is whole. In a folder, [`Place::sync`] must see it onto the disk before anything refers to it.
    pub(crate) fn finish(mut self) -> Result<()> {
        let done = match &mut self.kind {
            SinkKind::Local { .. } => Ok(()),
            SinkKind::Remote { place, path, buffer, upload } => {
                let rest = Bytes::from(std::mem::take(buffer));
                match upload.take() {
                    None => place.wait(place.root.put(path, rest.into())).map(|_| ()).map_err(anyhow::Error::from),
                    Some(mut upload) => place
                        .wait(async move {
                            upload.put(rest);
                            upload.finish().await.map(|_| ())
                        })
                        .map_err(anyhow::Error::from),
                }
            }
        };
        done.with_context(|| format!("writing {}", self.name))?;
        self.finished = true;
        Ok(())
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = match &mut self.kind {
            SinkKind::Local { file, path } => {
                file.write(bytes).map_err(|error| io::Error::new(error.kind(), format!("writing {}: {error}", path.display())))?
            }
            SinkKind::Remote { place, path, buffer, upload } => {
                buffer.extend_from_slice(bytes);
                if buffer.len() >= PART {
                    let part = Bytes::from(std::mem::take(buffer));
                    upload_part(place, path, upload, part).map_err(io::Error::other)?;
                }
                bytes.len()
            }
        };
        self.written += taken as u64;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn upload_part(place: &Place, path: &ObjectPath, upload: &mut Option<WriteMultipart>, part: Bytes) -> object_store::Result<()> {
    place.wait(async {
        let upload = match upload {
            Some(upload) => upload,
            None => upload.insert(WriteMultipart::new_with_chunk_size(place.root.put_multipart(path).await?, PART)),
        };
        upload.wait_for_capacity(PARTS_UNDER_WAY).await?;
        upload.put(part);
        Ok(())
    })
}

impl Drop for Sink {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        // Nothing refers to what was written, and vacuum would find it; taking it away now saves the space.
        match &mut self.kind {
            SinkKind::Local { path, .. } => {
                if let Err(error) = std::fs::remove_file(&*path) {
                    tracing::debug!(file = %path.display(), %error, "an unfinished file stays until vacuum");
                }
            }
            SinkKind::Remote { place, upload, .. } => {
                if let Some(upload) = upload.take() {
                    place.runtime.spawn(upload.abort());
                }
            }
        }
    }
}

/// An object that is read in pieces, by threads that may block.
#[derive(Clone, Debug)]
pub(crate) enum Blob {
    File { file: Arc<File>, size: u64 },
    Remote { place: Place, path: ObjectPath, size: u64 },
}

impl Blob {
    fn piece(&self, start: u64, length: usize) -> io::Result<Bytes> {
        match self {
            Blob::File { file, .. } => {
                let mut bytes = vec![0; length];
                file.read_exact_at(&mut bytes, start)?;
                Ok(bytes.into())
            }
            Blob::Remote { place, path, .. } => {
                place.wait(place.root.get_range(path, start..start + length as u64)).map_err(io::Error::other)
            }
        }
    }
}

impl Length for Blob {
    fn len(&self) -> u64 {
        match self {
            Blob::File { size, .. } | Blob::Remote { size, .. } => *size,
        }
    }
}

impl ChunkReader for Blob {
    type T = BlobReader;

    fn get_read(&self, start: u64) -> ParquetResult<BlobReader> {
        Ok(BlobReader { blob: self.clone(), at: start, piece: Bytes::new() })
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        self.piece(start, length).map_err(|error| ParquetError::External(Box::new(error)))
    }
}

/// An object from some place on.
#[derive(Debug)]
pub(crate) struct BlobReader {
    blob: Blob,
    at: u64,
    piece: Bytes,
}

impl BlobReader {
    pub(crate) fn new(blob: Blob) -> BlobReader {
        BlobReader { blob, at: 0, piece: Bytes::new() }
    }
}

impl Read for BlobReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() {
            let left = self.blob.len().saturating_sub(self.at);
            let length = left.min(1 << 20) as usize;
            if length == 0 {
                return Ok(0);
            }
            self.piece = self.blob.piece(self.at, length)?;
            self.at += length as u64;
        }
        let length = into.len().min(self.piece.len());
        into[..length].copy_from_slice(&self.piece.split_to(length));
        Ok(length)
    }
}
