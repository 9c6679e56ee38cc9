//! A delivery's bytes as the report within: packed or not, one file or a zip of several.

use std::io::{self, Read, Seek, SeekFrom};

use feed::unpack::{Caps, Damaged, Packing, unpack, unzip};

/// A delivery that can be read from its start.
pub trait Source: Read + Seek {}
impl<T: Read + Seek> Source for T {}

/// A file in a delivery: its name, where the packing gives one, and its bytes.
#[derive(Debug)]
pub struct Opened<R> {
    pub name: Option<String>,
    pub input: R,
}

/// Whether a delivery holds several reports.
pub(crate) fn is_zip(input: &mut dyn Source) -> io::Result<bool> {
    input.rewind()?;
    let mut head = [0; 4];
    let mut length = 0;
    while length < head.len() {
        match input.read(&mut head[length..])? {
            0 => break,
            read => length += read,
        }
    }
    input.rewind()?;
    Ok(Packing::of(&head[..length]) == Packing::Zip)
}

/// Hands each report in a delivery to `each`: the one it is, or every file of a zip.
pub fn open(input: &mut dyn Source, mut each: impl FnMut(Opened<&mut dyn Read>) -> io::Result<()>) -> io::Result<()> {
    let size = input.seek(SeekFrom::End(0))?;
    let caps = Caps::default();
    if is_zip(input)? {
        // A file in it may be packed once more.
        return unzip(input, size, caps, |name, file| {
            each(Opened { name: Some(name.to_owned()), input: unpack(file, size, caps)?.as_mut() })
        });
    }
    each(Opened { name: None, input: unpack(input, size, caps)?.as_mut() })
}

/// A report whose beginning is known before it is read.
#[derive(Debug)]
pub struct Peeked<R> {
    begins: io::Cursor<Vec<u8>>,
    damage: Option<io::Error>,
    rest: R,
}

impl<R: Read> Peeked<R> {
    /// As much of a report is looked at, in bytes.
    const BEGINNING: u64 = 1 << 20;

    pub fn new(mut report: R) -> io::Result<Peeked<R>> {
        let mut begins = Vec::new();
        let damage = match (&mut report).take(Self::BEGINNING).read_to_end(&mut begins) {
            Ok(_) => None,
            Err(damage) if Damaged::is(&damage) => Some(damage),
            Err(error) => return Err(error),
        };
        Ok(Peeked { begins: io::Cursor::new(begins), damage, rest: report })
    }

    pub fn begins(&self) -> &[u8] {
        self.begins.get_ref()
    }
}

impl<R: Read> Read for Peeked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.begins.read(buffer)? {
            0 if !buffer.is_empty() => self.damage.take().map_or_else(|| self.rest.read(buffer), Err),
            read => Ok(read),
        }
    }
}
