//! A delivery's bytes as the report within: packed or not, one file or a zip of several.

use std::io::{self, Read, Seek, SeekFrom};

use feed::unpack::{Caps, Packing, unpack, unzip};

/// A delivery that can be read from its start.
pub trait Source: Read + Seek {}
impl<T: Read + Seek> Source for T {}

/// A file in a delivery: its name, where the packing gives one, and its bytes.
#[derive(Debug)]
pub struct Opened<R> {
    pub name: Option<String>,
    pub input: R,
}

/// Hands each report in a delivery to `each`: the one it is, or every file of a zip.
pub fn open(input: &mut dyn Source, mut each: impl FnMut(Opened<&mut dyn Read>) -> io::Result<()>) -> io::Result<()> {
    let size = input.seek(SeekFrom::End(0))?;
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
    let caps = Caps::default();
    if Packing::of(&head[..length]) == Packing::Zip {
        return unzip(input, size, caps, |name, file| each(Opened { name: Some(name.to_owned()), input: file }));
    }
    let mut plain = unpack(input, size, caps)?;
    each(Opened { name: None, input: plain.as_mut() })
}
