//! Packed deliveries: gz, zst, bz2, xz, zip and tar, told by their first bytes, with a cap on what comes out of them.

use std::io::{self, BufRead, BufReader, Read, Seek};

use lzma_rust2::XzReader;

/// What a delivery may unpack to, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    pub bytes: u64,
    /// How many times larger than it came, once it is past 64 MiB.
    pub ratio: u64,
}

impl Caps {
    /// Up to here the ratio does not count: small files pack well.
    const FREE: u64 = 64 << 20;

    /// Packings within each other are followed this far down.
    pub const DEEPEST: usize = 4;

    /// The files of an archive, those of archives within it counted too.
    pub const MOST_FILES: usize = 10_000;

    /// What unpacking may keep in memory, in KiB: xz may ask for gigabytes.
    const MEMORY: u32 = 130 << 10;
}

impl Default for Caps {
    fn default() -> Caps {
        Caps { bytes: 64 << 30, ratio: 250 }
    }
}

/// What is wrong with bytes that do not unpack: they are so, and trying again will not help.
#[derive(Debug)]
pub struct Damaged(String);

impl Damaged {
    pub fn error(reason: impl Into<String>) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, Damaged(reason.into()))
    }

    /// Whether reading failed for what the bytes are, and not for where they lie.
    pub fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|error| error.is::<Damaged>())
    }
}

impl std::fmt::Display for Damaged {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Damaged {}

/// The packing that the first bytes tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    None,
    Gzip,
    Zstd,
    Bzip2,
    Xz,
    /// Several files.
    Zip,
    /// Several files.
    Tar,
    /// One of these, which are not read.
    Foreign(&'static str),
}

impl Packing {
    pub fn of(head: &[u8]) -> Packing {
        match head {
            [0x1f, 0x8b, ..] => Packing::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Packing::Zstd,
            [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Packing::Zip,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Packing::Xz,
            // Its magic number, or the mark of its end where it is empty.
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, ..] => Packing::Bzip2,
            [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72, 0x45, 0x38, 0x50, 0x90, ..] => Packing::Bzip2,
            head if head.get(257..262) == Some(b"ustar") => Packing::Tar,
            [b'7', b'z', 0xbc, 0xaf, 0x27, 0x1c, ..] => Packing::Foreign("7z"),
            [b'R', b'a', b'r', b'!', 0x1a, 7, ..] => Packing::Foreign("rar"),
            _ => Packing::None,
        }
    }
}

/// As much of a file tells its packing, in bytes: a tar says it late.
const TELLING: usize = 512;

/// Reads what is in a stream of `size` bytes, packed any way or not, or in several within each other. An archive of files needs
/// [`unzip`] or [`untar`].
pub fn unpack<'r>(input: impl Read + 'r, size: u64, caps: Caps) -> io::Result<Box<dyn Read + 'r>> {
    let (plain, packing) = unpack_streams(input, size, caps)?;
    Ok(match packing {
        Packing::Zip | Packing::Tar => unreadable("it is an archive of files within another packing: unpack one of them"),
        _ => plain,
    })
}

/// The same, but for an archive, which is handed out as it is, with what it is.
#[expect(clippy::disallowed_methods, reason = "this is where what they unpack is capped")]
pub fn unpack_streams<'r>(input: impl Read + 'r, size: u64, caps: Caps) -> io::Result<(Box<dyn Read + 'r>, Packing)> {
    let mut input: Box<dyn Read + 'r> = Box::new(input);
    for _ in 0..Caps::DEEPEST {
        let packed = Begun::new(Packed(input))?;
        let decoder: Box<dyn Read + 'r> = match Packing::of(packed.head.get_ref()) {
            Packing::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(packed)),
            Packing::Zstd => Box::new(zstd::Decoder::with_buffer(packed)?),
            Packing::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(packed)),
            Packing::Xz => Box::new(XzReader::new_mem_limit(packed, true, Caps::MEMORY)),
            Packing::Foreign(name) => {
                let why = format!("it is packed as {name}, which is not read: unpack it, or pack it as gz, zst, bz2, xz or zip");
                return Ok((unreadable(why), Packing::Foreign(name)));
            }
            packing @ (Packing::None | Packing::Zip | Packing::Tar) => return Ok((Box::new(Unpacked(packed)), packing)),
        };
        input = Box::new(Capped::new(Box::new(Unpacked(decoder)), size, caps));
    }
    Ok((unreadable(format!("it is packed more than {} times over", Caps::DEEPEST - 1)), Packing::None))
}

/// A stream whose first bytes were looked at.
struct Begun<R> {
    head: io::Cursor<Vec<u8>>,
    /// What is wrong right after these.
    damage: Option<io::Error>,
    rest: BufReader<R>,
}

impl<R: Read> Begun<R> {
    fn new(input: R) -> io::Result<Begun<R>> {
        let mut begun = Begun { head: io::Cursor::default(), damage: None, rest: BufReader::with_capacity(1 << 16, input) };
        match (&mut begun.rest).take(TELLING as u64).read_to_end(begun.head.get_mut()).map_err(own_error) {
            Err(damage) if Damaged::is(&damage) => begun.damage = Some(damage),
            read => drop(read?),
        }
        Ok(begun)
    }

    fn is_at_head(&self) -> bool {
        self.head.position() < self.head.get_ref().len() as u64
    }
}

impl<R: Read> Read for Begun<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_at_head() {
            return self.head.read(buffer);
        }
        self.damage.take().map_or_else(|| self.rest.read(buffer), Err)
    }
}

impl<R: Read> BufRead for Begun<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.is_at_head() {
            return self.head.fill_buf();
        }
        match self.damage.take() {
            Some(damage) => Err(damage),
            None => self.rest.fill_buf(),
        }
    }

    fn consume(&mut self, amount: usize) {
        if self.is_at_head() { self.head.consume(amount) } else { self.rest.consume(amount) }
    }
}

/// Bytes before they are unpacked: their errors are marked, since a decoder's look alike.
struct Packed<R>(R);

#[derive(Debug)]
struct Source(io::Error);

impl std::fmt::Display for Source {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(out)
    }
}

impl std::error::Error for Source {}

/// A source's error as it was, and any other as damage.
fn own_error(error: io::Error) -> io::Error {
    match error.downcast::<Source>() {
        Ok(source) => source.0,
        Err(error) => Damaged::error(error.to_string()),
    }
}

impl<R: Read> Read for Packed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            kind => io::Error::new(kind, Source(error)),
        })
    }
}

/// What came out of a decoder.
struct Unpacked<R>(R);

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            _ => own_error(error),
        })
    }
}

impl<R: Seek> Seek for Packed<R> {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

/// What cannot be unpacked, for the reason that reading it gives.
struct Unreadable(Option<io::Error>);

impl Read for Unreadable {
    fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
        Err(self.0.take().unwrap_or_else(|| Damaged::error("it cannot be unpacked")))
    }
}

/// What cannot be unpacked, for this reason.
pub fn unreadable<'r>(why: impl Into<String>) -> Box<dyn Read + 'r> {
    Box::new(Unreadable(Some(Damaged::error(why))))
}

/// Hands every file in a zip to `each`, with its name. Folders are passed over; no name is used as a path. Says how many bytes
/// came out.
#[expect(clippy::disallowed_methods, reason = "this is where what it unpacks is capped")]
pub fn unzip<R: Read + Seek>(
    input: R,
    size: u64,
    caps: Caps,
    mut each: impl FnMut(&str, &mut dyn Read) -> io::Result<()>,
) -> io::Result<u64> {
    let mut archive = zip::ZipArchive::new(BufReader::new(Packed(input))).map_err(|error| own_error(error.into()))?;
    let mut out = 0;
    for place in 0..archive.len() {
        let name = archive.name_for_index(place).map(last_of_path).unwrap_or_default().to_owned();
        let file: Box<dyn Read> = match archive.by_index(place) {
            Ok(file) if file.is_dir() => continue,
            Ok(file) => Box::new(Unpacked(file)),
            Err(error) => Box::new(Unreadable(Some(own_error(error.into())))),
        };
        let mut capped = Capped::new(file, size, Caps { bytes: caps.bytes.saturating_sub(out), ..caps });
        each(&name, &mut capped)?;
        out += capped.read;
    }
    Ok(out)
}

/// The same of a tar, whose links and devices are passed over too. What is damaged ends it, with an error.
#[expect(clippy::disallowed_methods, reason = "this is where what it unpacks is capped")]
pub fn untar(input: impl Read, size: u64, caps: Caps, mut each: impl FnMut(&str, &mut dyn Read) -> io::Result<()>) -> io::Result<u64> {
    let mut archive = tar::Archive::new(input);
    let mut out = 0;
    for file in archive.entries().map_err(own_error)? {
        let file = file.map_err(own_error)?;
        if !file.header().entry_type().is_file() {
            continue;
        }
        let name = String::from_utf8_lossy(&file.path_bytes()).into_owned();
        let mut capped = Capped::new(Box::new(Unpacked(file)), size, Caps { bytes: caps.bytes.saturating_sub(out), ..caps });
        each(last_of_path(&name), &mut capped)?;
        out += capped.read;
    }
    Ok(out)
}

/// The file's own name.
fn last_of_path(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or_default()
}

/// The one file with this extension in a tar, as which some providers hand out a table; other bytes are what they are.
#[expect(clippy::disallowed_methods, reason = "this is where what it unpacks is capped")]
pub fn out_of_tar(bytes: Vec<u8>, extension: &str) -> io::Result<Vec<u8>> {
    if bytes.get(257..262) != Some(b"ustar") {
        return Ok(bytes);
    }
    let (mut names, mut found) = (Vec::new(), Vec::new());
    for file in tar::Archive::new(bytes.as_slice()).entries()? {
        let file = file?;
        let name = file.path()?.display().to_string();
        if name.rsplit_once('.').is_some_and(|(_, last)| last == extension) {
            names.push(name);
            found.clear();
            // A file may claim holes, and then be larger than the archive: what is beyond it is no table.
            file.take(bytes.len() as u64).read_to_end(&mut found)?;
        }
    }
    match names.as_slice() {
        [_] => Ok(found),
        [] => Err(io::Error::new(io::ErrorKind::InvalidData, format!("the archive holds no .{extension} file"))),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, format!("the archive holds {}: give one of them", names.join(" and ")))),
    }
}

/// A reader that refuses to grow beyond its caps.
struct Capped<'r> {
    input: Box<dyn Read + 'r>,
    read: u64,
    most: u64,
}

impl<'r> Capped<'r> {
    fn new(input: Box<dyn Read + 'r>, size: u64, caps: Caps) -> Capped<'r> {
        let by_ratio = size.saturating_mul(caps.ratio).max(Caps::FREE);
        Capped { input, read: 0, most: caps.bytes.min(by_ratio) }
    }
}

impl Read for Capped<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.read += read as u64;
        if self.read > self.most {
            return Err(Damaged::error(format!("the delivery unpacks to more than {} MiB: refused", self.most >> 20)));
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use super::*;

    const CAPS: Caps = Caps { bytes: 1000, ratio: 250 };

    /// 2,000 times an x, as `xz` packs it.
    const XZ: &[u8] = b"\xfd\x37\x7a\x58\x5a\x00\x00\x04\xe6\xd6\xb4\x46\x02\x00\x21\x01\x16\x00\x00\x00\x74\x2f\xe5\xa3\xe0\x07\xcf\x00\x11\x5d\x00\x3c\x6f\xfb\xbf\xfe\xa3\xb1\x5e\xe5\xf8\x3f\xb2\xa8\x1c\xeb\x32\x00\x00\x00\x00\x00\x1c\x89\x2a\x90\xb7\xd4\x4f\x48\x00\x01\x2d\xd0\x0f\x00\x00\x00\x3a\xad\xf1\xa9\xb1\xc4\x67\xfb\x02\x00\x00\x00\x00\x04\x59\x5a";

    /// What comes out, and the reason if it ends before its end.
    fn unpacked(bytes: &[u8], caps: Caps) -> (usize, String) {
        let mut out = Vec::new();
        let read = unpack(bytes, bytes.len() as u64, caps).and_then(|mut plain| plain.read_to_end(&mut out));
        (out.len(), read.err().map(|error| error.to_string()).unwrap_or_default())
    }

    #[test]
    fn no_more_comes_out_than_may() {
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gz.write_all(&[b'x'; 2000]).expect("in memory");
        let gz = gz.finish().expect("in memory");
        let zst = zstd::encode_all([b'x'; 2000].as_slice(), 3).expect("in memory");
        let mut bz2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
        bz2.write_all(&[b'x'; 2000]).expect("in memory");
        let bz2 = bz2.finish().expect("in memory");
        for packed in [gz, zst, bz2, XZ.to_vec()] {
            assert_eq!(unpacked(&packed, Caps::default()), (2000, String::new()));
            let (_, why) = unpacked(&packed, CAPS);
            assert_eq!(why, "the delivery unpacks to more than 0 MiB: refused");
        }
        assert_eq!(unpacked(&[b'x'; 2000], CAPS), (2000, String::new()), "what is not packed is as large as it came");
    }

    #[test]
    fn packings_that_are_not_read_are_told() {
        for (head, name) in [(b"7z\xbc\xaf\x27\x1c", "7z"), (b"Rar!\x1a\x07", "rar")] {
            let (length, why) = unpacked(head, CAPS);
            let expected = format!("it is packed as {name}, which is not read: unpack it, or pack it as gz, zst, bz2, xz or zip");
            assert_eq!((length, why), (0, expected));
        }
        assert_eq!(unpacked(b"BZh9,1", CAPS), (6, String::new()), "a cell may begin so");
    }

    #[test]
    fn what_is_packed_several_times_over_is_unpacked_as_often() {
        let mut packed = b"ip\n192.0.2.1\n".to_vec();
        for times in 0..Caps::DEEPEST + 1 {
            let (length, why) = unpacked(&packed, Caps::default());
            match times < Caps::DEEPEST {
                true => assert_eq!((length, why.as_str()), (13, "")),
                false => assert_eq!((length, why.as_str()), (0, "it is packed more than 3 times over")),
            }
            packed = zstd::encode_all(packed.as_slice(), 3).expect("in memory");
        }
    }

    #[test]
    fn a_small_file_does_not_become_a_thousand_times_larger() {
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        (0..70).for_each(|_| gz.write_all(&[0; 1 << 20]).expect("in memory"));
        let gz = gz.finish().expect("in memory");
        assert!(gz.len() < 100_000, "{} bytes", gz.len());
        assert_eq!(unpacked(&gz, Caps::default()).1, "the delivery unpacks to more than 64 MiB: refused");
    }

    #[test]
    fn the_files_of_a_zip_are_counted_together() {
        let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for name in ["one", "two", "three"] {
            archive.start_file(name, zip::write::SimpleFileOptions::default()).expect("in memory");
            archive.write_all(&[b'x'; 450]).expect("in memory");
        }
        let archive = archive.finish().expect("in memory");
        let size = archive.get_ref().len() as u64;
        let mut seen = Vec::new();
        let each = |name: &str, file: &mut dyn Read| {
            let read = file.read_to_end(&mut Vec::new());
            seen.push(format!("{name}: {}", read.map_or_else(|error| error.to_string(), |length| length.to_string())));
            Ok(())
        };
        unzip(archive, size, CAPS, each).expect("each file is its own affair");
        assert_eq!(seen, ["one: 450", "two: 450", "three: the delivery unpacks to more than 0 MiB: refused"]);
    }
}
