//! Any encoding to UTF-8: the byte order mark decides, then the table, then the bytes themselves.

use std::borrow::Cow;
use std::io::{self, Read};

use encoding_rs::{Decoder, Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

use super::BLOCK;

/// A report's bytes as UTF-8, or as nearly so as they came: [`text_of`] mends single lines.
pub(super) struct Decoded<R> {
    /// How much is read together, in bytes.
    pub(super) block: usize,
    input: R,
    /// What was read to look for a byte order mark.
    head: Vec<u8>,
    started: bool,
    declared: Option<&'static Encoding>,
    /// Whether the text may say its own encoding, as XML and HTML do.
    says_itself: bool,
    decoder: Option<Decoder>,
    /// Whether lines end with CR alone, as the first piece tells.
    ends_with_cr: Option<bool>,
}

impl<R: Read> Decoded<R> {
    pub(super) fn new(input: R, declared: Option<&'static Encoding>, says_itself: bool) -> Decoded<R> {
        Decoded { block: BLOCK, input, head: Vec::new(), started: false, declared, says_itself, decoder: None, ends_with_cr: None }
    }

    pub(super) fn source(&mut self) -> &mut R {
        &mut self.input
    }

    fn start(&mut self) -> io::Result<()> {
        self.started = true;
        let mut head = [0; 1024];
        let mut length = 0;
        while length < head.len() {
            match self.input.read(&mut head[length..])? {
                0 => break,
                read => length += read,
            }
        }
        let head = &head[..length];
        let itself = || stated_in(head).filter(|_| self.says_itself);
        let unmarked = || (self.declared.or_else(|| utf16_of(head)).or_else(itself).unwrap_or(UTF_8), 0);
        let (encoding, mark) = Encoding::for_bom(head).unwrap_or_else(unmarked);
        self.head = head[mark..].to_vec();
        if encoding != UTF_8 {
            self.decoder = Some(encoding.new_decoder_without_bom_handling());
        }
        Ok(())
    }

    /// Appends about `size` more bytes, in which no line ends with CR alone; false at the end.
    pub(super) fn read_more(&mut self, buffer: &mut Vec<u8>, size: usize) -> io::Result<bool> {
        if !self.started {
            self.start()?;
        }
        let start = buffer.len();
        let rest = self.head.split_off(size.min(self.head.len()));
        let mut raw = std::mem::replace(&mut self.head, rest);
        let end = self.head.is_empty() && {
            let wanted = size.saturating_sub(raw.len()).max(1) as u64;
            let target = if self.decoder.is_none() && raw.is_empty() { &mut *buffer } else { &mut raw };
            (&mut self.input).take(wanted).read_to_end(target)? == 0
        };
        match &mut self.decoder {
            None => buffer.append(&mut raw),
            Some(decoder) => {
                let mut text = String::with_capacity(decoder.max_utf8_buffer_length(raw.len()).unwrap_or(raw.len() * 3));
                // What is not of the encoding becomes a replacement character: that it happened is not told apart here.
                let (_result, _read, _had_errors) = decoder.decode_to_string(&raw, &mut text, end);
                buffer.extend_from_slice(text.as_bytes());
            }
        }
        let piece = &mut buffer[start..];
        if *self.ends_with_cr.get_or_insert_with(|| piece.contains(&b'\r') && !piece.contains(&b'\n')) {
            piece.iter_mut().filter(|byte| **byte == b'\r').for_each(|byte| *byte = b'\n');
        }
        Ok(!end)
    }
}

/// What XML (`encoding="..."`) or HTML (`charset=...`) says at its beginning.
fn stated_in(head: &[u8]) -> Option<&'static Encoding> {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let declaration = match head.trim_start().strip_prefix("<?xml") {
        Some(declaration) => declaration.split_once("?>").map_or(declaration, |(declaration, _)| declaration),
        None => &head,
    };
    let (_, after) = declaration.split_once("encoding=").or_else(|| declaration.split_once("charset="))?;
    let label = after.trim_start_matches(['"', '\'', ' ']).split(['"', '\'', ' ', ';', '>', '/']).next()?;
    // Whoever could read this far knows that it is not UTF-16.
    Encoding::for_label(label.as_bytes()).filter(|encoding| *encoding != UTF_16LE && *encoding != UTF_16BE)
}

/// UTF-16 that does not say so: of plain text every other byte is zero.
fn utf16_of(head: &[u8]) -> Option<&'static Encoding> {
    let pairs = || head.chunks_exact(2);
    let count = |is: fn(&&[u8]) -> bool| pairs().filter(is).count();
    let (little, big) = (count(|pair| pair[0] != 0 && pair[1] == 0), count(|pair| pair[0] == 0 && pair[1] != 0));
    let most = |of: usize| of >= 4 && of * 10 >= pairs().count() * 9;
    if most(little) { Some(UTF_16LE) } else { most(big).then_some(UTF_16BE) }
}

/// The bytes as text: as they are where they are UTF-8, else line by line, a line that is not being windows-1252.
pub(crate) fn text_of(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len() + 16);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        match std::str::from_utf8(line) {
            Ok(line) => text.push_str(line),
            Err(_) => text.push_str(&WINDOWS_1252.decode_without_bom_handling(line).0),
        }
    }
    Cow::Owned(text)
}

/// The same, of bytes that become the text where nothing is to be mended.
pub(super) fn into_text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|wrong| text_of(wrong.as_bytes()).into_owned())
}
