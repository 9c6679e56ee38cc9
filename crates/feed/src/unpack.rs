//! Packed deliveries: gz, zst and zip, told by their first bytes, with a cap on what comes out of them.

use std::io::{self, BufRead, BufReader, Read, Seek};

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
    fn error(reason: impl Into<String>) -> io::Error {
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
    Zip,
    /// One of these, which are not read.
    Foreign(&'static str),
}

impl Packing {
    pub fn of(head: &[u8]) -> Packing {
        match head {
            [0x1f, 0x8b, ..] => Packing::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Packing::Zstd,
            [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Packing::Zip,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Packing::Foreign("xz"),
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, ..] => Packing::Foreign("bz2"),
            [b'7', b'z', 0xbc, 0xaf, 0x27, 0x1c, ..] => Packing::Foreign("7z"),
            [b'R', b'a', b'r', b'!', 0x1a, 7, ..] => Packing::Foreign("rar"),
            _ => Packing::None,
        }
    }
}

/// Reads what is in a gz, zst or plain stream of `size` bytes. A zip needs [`unzip`], which may hold many files.
#[expect(clippy::disallowed_methods, reason = "this is where what they unpack is capped")]
pub fn unpack<'r>(input: impl Read + 'r, size: u64, caps: Caps) -> io::Result<Box<dyn Read + 'r>> {
    let mut input = BufReader::with_capacity(1 << 16, Packed(input));
    let capped = |reader: Box<dyn Read + 'r>| -> Box<dyn Read + 'r> { Box::new(Capped::new(Box::new(Unpacked(reader)), size, caps)) };
    let packing = match input.fill_buf().map_err(own_error) {
        Ok(head) => Packing::of(head),
        Err(damaged) if Damaged::is(&damaged) => return Ok(Box::new(Unreadable(Some(damaged)))),
        Err(error) => return Err(error),
    };
    let refused = |why: String| -> Box<dyn Read + 'r> { Box::new(Unreadable(Some(Damaged::error(why)))) };
    Ok(match packing {
        Packing::Gzip => capped(Box::new(flate2::bufread::MultiGzDecoder::new(input))),
        Packing::Zstd => capped(Box::new(zstd::Decoder::with_buffer(input)?)),
        Packing::Zip => refused("it is a zip within another packing: unpack one of them".to_owned()),
        Packing::Foreign(name) => refused(format!("it is packed as {name}, which is not read: unpack it, or pack it as gz, zst or zip")),
        Packing::None => Box::new(Unpacked(input)),
    })
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

/// Hands every file in a zip to `each`, with its name. Folders are passed over; no name is used as a path.
#[expect(clippy::disallowed_methods, reason = "this is where what it unpacks is capped")]
pub fn unzip<R: Read + Seek>(
    input: R,
    size: u64,
    caps: Caps,
    mut each: impl FnMut(&str, &mut dyn Read) -> io::Result<()>,
) -> io::Result<()> {
    const MOST: usize = 10_000;
    let mut archive = zip::ZipArchive::new(BufReader::new(Packed(input))).map_err(|error| own_error(error.into()))?;
    if archive.len() > MOST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("the archive holds {} files, more than {MOST}", archive.len())));
    }
    let mut left = caps.bytes;
    for place in 0..archive.len() {
        let name = archive.name_for_index(place).and_then(|name| name.rsplit(['/', '\\']).next()).unwrap_or_default().to_owned();
        let file: Box<dyn Read> = match archive.by_index(place) {
            Ok(file) if file.is_dir() => continue,
            Ok(file) => Box::new(Unpacked(file)),
            Err(error) => Box::new(Unreadable(Some(own_error(error.into())))),
        };
        let mut capped = Capped::new(file, size, Caps { bytes: left, ..caps });
        each(&name, &mut capped)?;
        left = left.saturating_sub(capped.read);
    }
    Ok(())
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
        for packed in [gz, zst] {
            assert_eq!(unpacked(&packed, Caps::default()), (2000, String::new()));
            let (_, why) = unpacked(&packed, CAPS);
            assert_eq!(why, "the delivery unpacks to more than 0 MiB: refused");
        }
        assert_eq!(unpacked(&[b'x'; 2000], CAPS), (2000, String::new()), "what is not packed is as large as it came");
    }

    #[test]
    fn packings_that_are_not_read_are_told() {
        for (head, name) in [(&b"\xfd7zXZ\0\0"[..], "xz"), (b"BZh91AY&SY", "bz2"), (b"7z\xbc\xaf\x27\x1c", "7z"), (b"Rar!\x1a\x07", "rar")]
        {
            let (length, why) = unpacked(head, CAPS);
            assert_eq!((length, why), (0, format!("it is packed as {name}, which is not read: unpack it, or pack it as gz, zst or zip")));
        }
        assert_eq!(unpacked(b"BZh9,1", CAPS), (6, String::new()), "a cell may begin so");
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
