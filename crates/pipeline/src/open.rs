//! A delivery's bytes as the report within: packed or not, one file or a zip of several.

use std::io::{self, Read, Seek, SeekFrom};

use feed::unpack::{Caps, Damaged, Packing, unpack, unzip};

/// A delivery that can be read from its start.
pub trait Source: Read + Seek {}
impl<T: Read + Seek> Source for T {}

/// A file in a delivery: its name, where a zip gives one, and its bytes, which may be packed once more.
#[derive(Debug)]
pub struct Opened<R> {
    pub name: Option<String>,
    pub input: R,
    /// Of the delivery, in bytes.
    pub size: u64,
}

/// Whether a delivery holds several reports.
fn is_zip(input: &mut dyn Source) -> io::Result<bool> {
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
        return unzip(input, size, caps, |name, file| each(Opened { name: Some(name.to_owned()), input: file, size }));
    }
    each(Opened { name: None, input, size })
}

/// A report whose beginning can be known before it is read.
#[derive(Debug)]
pub struct Peeked<R> {
    begins: io::Cursor<Vec<u8>>,
    damage: Option<io::Error>,
    rest: R,
}

impl<R: Read> Peeked<R> {
    /// As much of a report is looked at, in bytes.
    const BEGINNING: u64 = 1 << 18;

    pub fn new(report: R) -> Peeked<R> {
        Peeked { begins: io::Cursor::default(), damage: None, rest: report }
    }

    /// How what is in it begins. To be asked before it is read.
    pub fn begins(&mut self) -> io::Result<Vec<u8>> {
        let packed = self.begins.get_mut();
        if packed.is_empty() {
            match (&mut self.rest).take(Self::BEGINNING).read_to_end(packed) {
                Err(damage) if Damaged::is(&damage) => self.damage = Some(damage),
                read => drop(read?),
            }
        }
        let mut plain = Vec::new();
        match unpack(packed.as_slice(), packed.len() as u64, Caps::default())?.take(Self::BEGINNING).read_to_end(&mut plain) {
            // Cut off, it is damaged at its end.
            Err(error) if !Damaged::is(&error) => Err(error),
            _ => Ok(plain),
        }
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
