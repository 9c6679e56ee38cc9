//! A delivery's bytes as the reports within: packed or not, one file, or an archive of several, of archives too.

use std::io::{self, Read, Seek, SeekFrom, Write};

use feed::unpack::{Caps, Damaged, Packing, unpack, unpack_streams, unreadable, untar, unzip};

/// A delivery that can be read from its start.
pub trait Source: Read + Seek {}
impl<T: Read + Seek> Source for T {}

/// A file in a delivery, and its bytes, which may be packed once more.
#[derive(Debug)]
pub struct Opened<R> {
    /// Its name, where an archive gives one.
    pub name: Option<String>,
    /// The archives that it is in within the delivery, the outermost first.
    pub archives: Vec<String>,
    pub input: R,
    /// Of the delivery, in bytes.
    pub size: u64,
}

impl<R> Opened<R> {
    /// Where it comes from, as a person writes it: the delivery's origin, and what leads from there to the file.
    pub fn origin(&self, delivery: &str) -> String {
        let within = self.archives.iter().chain(&self.name).map(|name| format!("!{name}"));
        std::iter::once(delivery.to_owned()).chain(within).collect()
    }
}

/// Hands each report in a delivery to `each`: the one it is, or every file of an archive.
pub fn open(input: &mut dyn Source, mut each: impl FnMut(Opened<&mut dyn Read>) -> io::Result<()>) -> io::Result<()> {
    let size = input.seek(SeekFrom::End(0))?;
    let mut opening = Opening { size, left: Caps::default().bytes, files: 0, each: &mut each };
    opening.open(None, &[], input)
}

/// On the way through a delivery.
struct Opening<'e> {
    size: u64,
    /// What may still come out of archives, in bytes.
    left: u64,
    /// How many files did.
    files: usize,
    each: &'e mut dyn FnMut(Opened<&mut dyn Read>) -> io::Result<()>,
}

impl Opening<'_> {
    fn caps(&self) -> Caps {
        Caps { bytes: self.left, ..Caps::default() }
    }

    fn report(&mut self, name: Option<&str>, archives: &[String], input: &mut dyn Read) -> io::Result<()> {
        (self.each)(Opened { name: name.map(str::to_owned), archives: archives.to_vec(), input, size: self.size })
    }

    /// Opens what can be read from its start.
    fn open(&mut self, name: Option<&str>, archives: &[String], input: &mut dyn Source) -> io::Result<()> {
        input.rewind()?;
        let (size, caps, within) = (self.size, self.caps(), with(archives, name));
        let (plain, packing) = unpack_streams(&mut *input, size, caps)?;
        let out = match packing {
            Packing::Tar => match untar(plain, size, caps, |name, file| self.file(name, &within, file)) {
                // What came before the damage is there.
                Err(damage) if Damaged::is(&damage) => return self.report(None, &within, &mut unreadable(damage.to_string())),
                out => out?,
            },
            Packing::Zip => {
                drop(plain);
                let each = |name: &str, file: &mut dyn Read| self.file(name, &within, file);
                if is_zip(input)? {
                    unzip(input, size, caps, each)?
                } else {
                    // Packed once more, it cannot be read from its end, where a zip lists its files.
                    let mut zip = spooled(&mut unpack_streams(&mut *input, size, caps)?.0)?;
                    unzip(&mut zip, size, caps, each)?
                }
            }
            _ => {
                drop(plain);
                input.rewind()?;
                return self.report(name, archives, input);
            }
        };
        self.left = self.left.saturating_sub(out);
        Ok(())
    }

    /// A file of an archive: a report, or an archive.
    fn file(&mut self, name: &str, archives: &[String], file: &mut dyn Read) -> io::Result<()> {
        self.files += 1;
        if self.files > Caps::MOST_FILES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("the delivery holds more than {} files", Caps::MOST_FILES)));
        }
        let mut peeked = Peeked::new(file);
        if !peeked.is_archive()? {
            return self.report(Some(name), archives, &mut peeked);
        }
        if archives.len() + 1 >= Caps::DEEPEST {
            let why = format!("archives lie more than {} deep in each other", Caps::DEEPEST - 1);
            return self.report(Some(name), archives, &mut unreadable(why));
        }
        match spooled(&mut peeked).and_then(|mut file| self.open(Some(name), archives, &mut file)) {
            // It costs itself and no other.
            Err(damage) if Damaged::is(&damage) => self.report(Some(name), archives, &mut unreadable(damage.to_string())),
            done => done,
        }
    }
}

/// Whether it is one as it lies there. Afterwards it is at its start.
fn is_zip(input: &mut dyn Source) -> io::Result<bool> {
    input.rewind()?;
    let mut head = [0; 4];
    let is_zip = input.read_exact(&mut head).is_ok() && Packing::of(&head) == Packing::Zip;
    input.rewind()?;
    Ok(is_zip)
}

/// The archives around a file, this one the innermost; the delivery itself has no name.
fn with(archives: &[String], name: Option<&str>) -> Vec<String> {
    archives.iter().cloned().chain(name.map(str::to_owned)).collect()
}

/// A copy that can be read from its start, for as long as it is needed.
fn spooled(input: &mut dyn Read) -> io::Result<std::fs::File> {
    let mut file = tempfile::tempfile()?;
    io::copy(input, &mut file)?;
    file.flush()?;
    file.rewind()?;
    Ok(file)
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

    /// Whether it is, packed or not, an archive of files. To be asked before it is read.
    fn is_archive(&mut self) -> io::Result<bool> {
        let (_, packing) = unpack_streams(self.packed(Self::BEGINNING)?, Self::BEGINNING, Caps::default())?;
        Ok(matches!(packing, Packing::Zip | Packing::Tar))
    }

    /// The first bytes, as they come.
    fn packed(&mut self, length: u64) -> io::Result<&[u8]> {
        let packed = self.begins.get_mut();
        if packed.is_empty() {
            match (&mut self.rest).take(length).read_to_end(packed) {
                Err(damage) if Damaged::is(&damage) => self.damage = Some(damage),
                read => drop(read?),
            }
        }
        Ok(packed)
    }

    /// How what is in it begins. To be asked before it is read.
    pub fn begins(&mut self) -> io::Result<Vec<u8>> {
        let packed = self.packed(Self::BEGINNING)?;
        let mut plain = Vec::new();
        match unpack(packed, packed.len() as u64, Caps::default())?.take(Self::BEGINNING).read_to_end(&mut plain) {
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
