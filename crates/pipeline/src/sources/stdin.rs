//! What comes on standard input: all of it as one delivery, or lines as they come, so many or so long together.
//!
//! What was read from it cannot be had again. So it is read by one thread for as long as the process lives, and what is not stored
//! yet outlives a source that is stopped, for the one that goes on after a new configuration.

use std::io::{Read, Seek, Write};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use feed::Feed;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Deserialize;
use tempfile::NamedTempFile;
use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;
use tracing::warn;

use super::{Every, Found, Make, Source};
use crate::accept::Input;
use crate::run::Collecting;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Whether each line is something by itself, as in JSON lines; else all of it is one report.
    lines: bool,
    /// So many lines are a delivery.
    batch: Option<usize>,
    /// A line waits no longer than this for others.
    within: Option<Every>,
    /// A file's name that tells whose report it is and of what day.
    name: Option<String>,
    /// In MiB: what is longer is not taken, of lines one delivery.
    most: Option<u64>,
}

const BATCH: usize = 10_000;
const WITHIN: Duration = Duration::from_secs(10);
const MOST: u64 = 4096;
/// Lines that wait are held in memory, up to this many bytes.
const LONGEST_BATCH: usize = 16 << 20;

/// Read at once, in bytes.
const PIECE: usize = 1 << 16;

#[derive(Debug)]
struct Stdin {
    lines: bool,
    batch: usize,
    within: Duration,
    name: String,
    most: u64,
}

impl Make for Settings {
    fn make(&self, _feed: Option<&Feed>) -> Result<Box<dyn Source>> {
        if !self.lines && (self.batch.is_some() || self.within.is_some()) {
            bail!("batch and within are for lines = true");
        }
        let name = self.name.clone().unwrap_or_else(|| "standard input".to_owned());
        if name.contains(['/', '\\', '!', '#']) {
            bail!("name is a file's name, without a path");
        }
        Ok(Box::new(Stdin {
            lines: self.lines,
            batch: self.batch.unwrap_or(BATCH).max(1),
            within: self.within.map_or(WITHIN, |within| within.0),
            name,
            most: self.most.unwrap_or(MOST) << 20,
        }))
    }
}

/// Standard input, of which a process has one.
struct Shared {
    pieces: mpsc::Receiver<std::io::Result<Vec<u8>>>,
    has_ended: bool,
    /// What was read and is not stored: whole lines that wait, and one that has not ended.
    lines: Vec<u8>,
    /// What was read of the whole, and how long it is.
    whole: Option<(NamedTempFile, u64)>,
}

static STDIN: OnceLock<Mutex<Shared>> = OnceLock::new();

/// Starts to read, the first time that somebody asks.
fn shared() -> &'static Mutex<Shared> {
    STDIN.get_or_init(|| {
        let (sender, pieces) = mpsc::channel(16);
        // A thread of its own: nobody can wake one that waits for standard input, and this one the process leaves behind.
        std::thread::spawn(move || {
            let mut input = std::io::stdin().lock();
            let mut piece = vec![0; PIECE];
            loop {
                let read = match input.read(&mut piece) {
                    Ok(0) => return,
                    Ok(read) => Ok(piece.iter().take(read).copied().collect()),
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                    Err(error) => Err(error),
                };
                let is_over = read.is_err();
                if sender.blocking_send(read).is_err() || is_over {
                    return;
                }
            }
        });
        Mutex::new(Shared { pieces, has_ended: false, lines: Vec::new(), whole: None })
    })
}

impl Source for Stdin {
    fn collect<'a>(&'a self, at_work: &'a Collecting) -> BoxFuture<'a, Result<()>> {
        self.listen(at_work).boxed()
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn winds_up(&self) -> bool {
        true
    }
}

/// Why no more was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    Ended,
    Stopped,
    /// For so many lines, or so long.
    Enough,
}

impl Stdin {
    async fn listen(&self, at_work: &Collecting) -> Result<()> {
        let Ok(mut shared) = shared().try_lock() else { bail!("another source reads standard input: one can") };
        if shared.has_ended {
            at_work.stopped().await;
            return Ok(());
        }
        match self.lines {
            true => self.take_lines(&mut shared, at_work).await,
            false => self.take_whole(&mut shared, at_work).await,
        }
    }

    async fn take_whole(&self, shared: &mut Shared, at_work: &Collecting) -> Result<()> {
        if shared.whole.is_none() {
            shared.whole = Some((NamedTempFile::new().context("making room for standard input")?, 0));
        }
        loop {
            let piece = tokio::select! {
                piece = shared.pieces.recv() => piece,
                // What has not come to its end is nobody's delivery.
                () = at_work.stopped() => return Ok(()),
            };
            let Some((file, length)) = &mut shared.whole else { break };
            let Some(piece) = piece else { break };
            let piece = piece.context("reading standard input")?;
            *length += piece.len() as u64;
            if *length > self.most {
                (shared.has_ended, shared.whole) = (true, None);
                shared.pieces.close();
                bail!("standard input is longer than {} MiB: it is not taken (most)", self.most >> 20);
            }
            file.write_all(&piece).context("writing what came on standard input")?;
        }
        let refused = match &mut shared.whole {
            Some((file, length)) if *length > 0 => {
                file.flush().and_then(|()| file.rewind()).context("writing what came on standard input")?;
                self.hand_over(Input::File(file.path().to_owned()), at_work).await?
            }
            _ => None,
        };
        (shared.has_ended, shared.whole) = (true, None);
        refused.map_or(Ok(()), |why| Err(anyhow!("what came on standard input was not taken in: {why}")))
    }

    async fn take_lines(&self, shared: &mut Shared, at_work: &Collecting) -> Result<()> {
        loop {
            let until = self.fill(shared, at_work).await?;
            let length = if until == Until::Ended { shared.lines.len() } else { first_lines(&shared.lines, self.batch) };
            if length > 0 {
                let lines: Vec<u8> = shared.lines.iter().take(length).copied().collect();
                if let Some(why) = self.hand_over(Input::Bytes(lines), at_work).await? {
                    warn!(source = %at_work.name, why, "lines of standard input were not taken in");
                }
                shared.lines.drain(..length);
            }
            match until {
                Until::Enough => {}
                Until::Stopped => return Ok(()),
                Until::Ended => {
                    shared.has_ended = true;
                    return Ok(());
                }
            }
        }
    }

    /// Reads until there are enough lines, or the first of them has waited long enough.
    async fn fill(&self, shared: &mut Shared, at_work: &Collecting) -> Result<Until> {
        let mut lines = shared.lines.iter().filter(|byte| **byte == b'\n').count();
        let mut since = None;
        loop {
            if lines >= self.batch {
                return Ok(Until::Enough);
            }
            if lines > 0 {
                since.get_or_insert_with(Instant::now);
            }
            let until = since.map_or_else(Instant::now, |since| since + at_work.clock.real(self.within));
            let piece = tokio::select! {
                piece = shared.pieces.recv() => piece,
                () = tokio::time::sleep_until(until), if lines > 0 => return Ok(Until::Enough),
                () = at_work.stopped() => return Ok(Until::Stopped),
            };
            let Some(piece) = piece else { return Ok(Until::Ended) };
            let piece = piece.context("reading standard input")?;
            lines += piece.iter().filter(|byte| **byte == b'\n').count();
            shared.lines.extend(piece);
            if shared.lines.len() > LONGEST_BATCH {
                if lines == 0 {
                    shared.lines.clear();
                    bail!("a line on standard input is longer than {} MiB: it is not taken", LONGEST_BATCH >> 20);
                }
                return Ok(Until::Enough);
            }
        }
    }

    /// Waits until it is stored; why it was not taken, if it was not.
    async fn hand_over(&self, input: Input, at_work: &Collecting) -> Result<Option<String>> {
        let found = Found { at: None, origin: self.name.clone(), input };
        Ok(at_work.hand_over(found).await?.told().await?.refused.into_iter().next())
    }
}

/// How long the first lines are, so many at most; one that has not ended is none.
fn first_lines(bytes: &[u8], most: usize) -> usize {
    let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    ends.map(|(place, _)| place + 1).take(most).last().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_where_they_end() {
        for (most, expected) in [(1, 2), (2, 4), (3, 4)] {
            assert_eq!(first_lines(b"a\nb\nc", most), expected);
        }
        assert_eq!(first_lines(b"a", 9), 0);
    }
}
