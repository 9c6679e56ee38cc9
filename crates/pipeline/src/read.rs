//! A report's rows on several threads: one cuts the bytes into blocks, the others make events of them.

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use feed::{Arrival, Drift, Feed, Piece, Reader, Rows, Splitter};

/// Blocks that wait between the cutting and the reading thread, a megabyte each.
const WAITING: usize = 4;

/// What became of a report's rows.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub rows: u64,
    pub events: u64,
    pub rejected: u64,
    pub ignored: u64,
    /// Rows that say what was erased.
    pub erased: u64,
    pub drift: Option<Drift>,
    pub took: Duration,
}

impl Tally {
    /// Adds another's counts; the first drift stays.
    pub fn add(&mut self, other: Tally) {
        self.rows += other.rows;
        self.events += other.events;
        self.rejected += other.rejected;
        self.ignored += other.ignored;
        self.erased += other.erased;
        self.drift = self.drift.take().or(other.drift);
        self.took += other.took;
    }
}

/// Reads a report, handing what comes of it to the workers that `worker` makes, one for each thread.
///
/// With one thread pieces come in the report's order.
pub fn read<W>(feed: &Feed, arrival: Arrival, input: impl Read, threads: usize, worker: impl Fn() -> Result<W> + Sync) -> Result<Tally>
where
    W: Worker,
{
    let began = Instant::now();
    let (sender, receiver) = sync_channel(WAITING);
    let queue = Queue { receiver: Mutex::new(receiver), failed: AtomicBool::new(false) };
    std::thread::scope(|scope| {
        let spawn = || scope.spawn(|| queue.drained_on_failure(worker().and_then(|worker| work(feed, arrival.clone(), &queue, worker))));
        let workers: Vec<_> = (0..threads.max(1)).map(|_| spawn()).collect();
        let mut splitter = Splitter::new(feed, input);
        let mut result = Ok(());
        loop {
            match splitter.next_rows() {
                // A worker that failed says itself why.
                Ok(_) if queue.failed.load(Ordering::Relaxed) => break,
                Ok(Some(rows)) => sender.send(rows).expect("the queue outlives the sender"),
                Ok(None) => break,
                Err(error) => {
                    result = Err(error).context("reading the report");
                    break;
                }
            }
        }
        drop(sender);
        let (mut tally, mut columns) = (Tally::default(), BTreeSet::new());
        for worker in workers {
            let (read, more) = worker.join().map_err(|_| anyhow!("a reading thread panicked"))??;
            tally.add(read);
            columns.extend(more);
        }
        result?;
        let header = splitter.header().or_else(|| (!columns.is_empty()).then(|| columns.into_iter().collect()));
        tally.drift = header.map(|header| Drift::of(feed, &header)).filter(|drift| !drift.is_none());
        tally.took = began.elapsed();
        Ok(tally)
    })
}

/// Blocks on their way to the workers.
struct Queue {
    receiver: Mutex<Receiver<Rows>>,
    failed: AtomicBool,
}

impl Queue {
    fn next(&self) -> Option<Rows> {
        self.receiver.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
    }

    /// Empties the queue if a worker failed: the cutting thread may be waiting for room in it.
    fn drained_on_failure<T>(&self, result: Result<T>) -> Result<T> {
        if result.is_err() {
            self.failed.store(true, Ordering::Relaxed);
            while self.next().is_some() {}
        }
        result
    }
}

/// What is done with events and rejects on one thread.
pub trait Worker {
    fn take(&mut self, piece: Piece) -> Result<()>;
    fn end(self) -> Result<()>;
}

/// What became of the rows, and the columns that they named.
fn work(feed: &Feed, arrival: Arrival, queue: &Queue, mut worker: impl Worker) -> Result<(Tally, BTreeSet<String>)> {
    const MOST_COLUMNS: usize = 10_000;
    let mut reader = Reader::new(feed, arrival);
    let (mut tally, mut columns) = (Tally::default(), BTreeSet::new());
    while let Some(rows) = queue.next() {
        let mut piece = reader.read(rows);
        if columns.len() < MOST_COLUMNS {
            columns.append(&mut piece.columns);
        }
        tally.rows += piece.rows;
        tally.events += piece.events.num_rows() as u64;
        tally.rejected += piece.rejects.len() as u64;
        tally.ignored += piece.ignored;
        worker.take(piece)?;
    }
    worker.end()?;
    Ok((tally, columns))
}
