//! `waglan feed new`: a first table for a delivery that nobody has a table for, and what it makes of it.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use feed::{Arrival, Catalog, Reader, Splitter, catalog, draft};

use crate::commands::parse;
use crate::{Ended, Place, clock, output};

#[derive(Debug, Args)]
pub(crate) struct New {
    /// A delivery of it, packed or not
    file: PathBuf,
    /// Write the table, with the delivery's beginning as its sample, into the data folder under this id
    #[arg(long, value_name = "PROVIDER/FEED")]
    save: Option<String>,
    /// How many events to show
    #[arg(long, default_value_t = 5, value_name = "COUNT")]
    show: usize,
}

/// As much of a delivery is looked at, in bytes.
const LOOKED_AT: u64 = 1 << 20;

/// As much of it is a sample.
const SAMPLE: usize = 16 << 10;

impl New {
    pub(crate) fn run(&self, place: &Place) -> Result<Ended> {
        let begins = self.begins()?;
        let draft::Draft { table } = draft::draft(&begins).map_err(|why| anyhow!("{}: {why}", self.file.display()))?;
        output::print(&format!("# A first table, by how {} looks.\n{table}", self.file.display()))?;
        self.preview(&table, &begins)?;
        match &self.save {
            Some(id) => save(place, id, &table, &begins)?,
            None => output::say("\n--save PROVIDER/FEED puts it into the data folder"),
        }
        Ok(Ended::Done)
    }

    /// How the delivery's first report begins.
    fn begins(&self) -> Result<Vec<u8>> {
        let mut input = File::open(&self.file).with_context(|| format!("opening {}", self.file.display()))?;
        let mut begins = None;
        desk::open_delivery(&mut input, |opened| {
            if begins.is_none() {
                let mut bytes = Vec::new();
                let plain = feed::unpack::unpack(opened.input, opened.size, feed::unpack::Caps::default())?;
                // What is damaged further on tells enough until there.
                let _damaged = plain.take(LOOKED_AT).read_to_end(&mut bytes);
                begins = Some(bytes);
            }
            Ok(())
        })
        .with_context(|| format!("opening {}", self.file.display()))?;
        begins.context("there is no file in it")
    }

    /// Says what the table makes of the delivery's beginning.
    fn preview(&self, table: &str, begins: &[u8]) -> Result<()> {
        let catalog = Catalog::read(&[catalog::File { path: "new/feed.toml".into(), text: table.to_owned() }]);
        if let Some((_, why)) = catalog.broken.first() {
            output::say(&format!("\nto be read it needs more: {why}"));
            return Ok(());
        }
        let feed = catalog.feed("new/feed").context("the draft is no feed")?;
        let (mut splitter, mut reader) = (Splitter::new(feed, whole_lines(begins)), Reader::new(feed, Arrival { at: clock::now() }));
        let (mut shown, mut events, mut rejects) = (String::new(), 0, Vec::new());
        while let Some(rows) = splitter.next_rows()? {
            let piece = reader.read(rows);
            if events < self.show {
                parse::lines(&piece, &mut shown);
            }
            events += piece.events.num_rows();
            rejects.extend(piece.rejects);
        }
        let most = self.show;
        output::say(&format!("\n{events} events, {} rejected, of what was looked at:", rejects.len()));
        shown.lines().take(most).for_each(output::say);
        for reject in rejects.iter().take(most) {
            let column = reject.column.as_ref().map(|column| format!("{column} ")).unwrap_or_default();
            output::say(&format!("rejected line {}: {column}{}", reject.line, reject.reason));
        }
        Ok(())
    }
}

/// Without the line that the look ended in.
fn whole_lines(begins: &[u8]) -> &[u8] {
    if (begins.len() as u64) < LOOKED_AT {
        return begins;
    }
    let end = begins.iter().rposition(|byte| *byte == b'\n').map_or(begins.len(), |place| place + 1);
    &begins[..end]
}

fn save(place: &Place, id: &str, table: &str, begins: &[u8]) -> Result<()> {
    let is_word = |word: &str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte))
    };
    match id.split_once('/') {
        Some((provider, name)) if is_word(provider) && is_word(name) && name != "provider" => {}
        _ => bail!("\"{id}\" is no feed's id: write it as provider/feed, in small letters, digits, - and _"),
    }
    if place.catalog()?.feed(id).is_some() {
        bail!("there is a feed {id} already; `waglan feed show {id}` shows it");
    }
    let folders = place.feed_folders()?;
    let folder = folders.first().context("there is no data folder; say where with --data DIR")?;
    let path = |extension: &str| folder.join(format!("{id}.{extension}"));
    let write = |path: &Path, bytes: &[u8]| -> Result<()> {
        std::fs::create_dir_all(path.parent().context("a feed lies in its provider's folder")?)?;
        std::fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
    };
    write(&path("toml"), table.as_bytes())?;
    let end = begins.iter().take(SAMPLE).rposition(|byte| *byte == b'\n').map_or(begins.len(), |place| place + 1);
    // A document makes sense whole only.
    let is_document = begins.first().is_some_and(|byte| b"[{<".contains(byte));
    write(&path("sample"), if is_document || begins.len() <= SAMPLE { begins } else { &begins[..end] })?;
    output::say(&format!("\nwrote {} and its sample; decide what it marks, then: waglan feed check {id}", path("toml").display()));
    Ok(())
}
