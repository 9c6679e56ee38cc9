//! IntelMQ's EventDB: events in a table of PostgreSQL, a column for each field, read in the order of their ids as reports of JSON
//! lines. What it holds may be larger than this machine's memory: it comes row by row, and a report has so many rows at most.
//!
//! A report is made of the rows behind an id, so that whoever knows the last one's goes on from there.

use std::collections::{HashSet, VecDeque};
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result, anyhow, bail};
use event::time::{self, Micros};
use futures::TryStreamExt;
use serde_json::{Map, Value};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection, Row};
use tempfile::NamedTempFile;

use crate::secret::Secret;

/// Where the events are, and which are meant.
#[derive(Clone, Debug)]
pub struct EventDb {
    /// `postgresql://USER@HOST/DATABASE`, without a password.
    pub url: String,
    pub password: Option<Secret>,
    /// A file with certificates of authorities that are trusted, PEM.
    pub ca: Option<PathBuf>,
    /// By its name, or SCHEMA.TABLE.
    pub table: String,
    /// By when they happened; where they do not say, by when they were received.
    pub since: Option<Micros>,
    pub until: Option<Micros>,
    /// Either time within is enough: whoever asks looks closer.
    pub either: bool,
}

/// Rows that are asked for together, and the most bytes of a report.
const TOGETHER: u64 = 1000;
const MOST_BYTES: u64 = 256 << 20;

/// Of so many rows at the end their ids are told.
pub const LAST_IDS: usize = 1000;

/// The table, found and asked what it is.
#[derive(Debug)]
pub struct Events {
    connection: PgConnection,
    /// Gives the id and the row as JSON of so many rows behind an id.
    query: String,
    /// Gives the ids from one to another.
    ids: String,
    since: Option<String>,
    until: Option<String>,
    /// Where it is, as it may be shown.
    pub place: String,
}

/// Some rows, as IntelMQ's JSON lines.
#[derive(Debug)]
pub struct Chunk {
    pub file: NamedTempFile,
    pub rows: u64,
    pub first: i64,
    pub last: i64,
    /// The ids of its last rows.
    pub ids: VecDeque<i64>,
    /// When the last of them was received.
    pub received: Option<Micros>,
}

impl EventDb {
    fn options(&self) -> Result<PgConnectOptions> {
        let url =
            reqwest::Url::parse(&self.url).map_err(|_| anyhow!("the address is none: write it as postgresql://USER@HOST/DATABASE"))?;
        if !["postgresql", "postgres"].contains(&url.scheme()) {
            bail!("the address is none of PostgreSQL: write it as postgresql://USER@HOST/DATABASE");
        }
        if url.password().is_some() || url.query_pairs().any(|(key, _)| key == "password") {
            bail!("a password does not stand in the address, where every process sees it: give a file, or a variable of the environment");
        }
        let mut options = PgConnectOptions::from_str(&self.url).context("the address")?.application_name("waglan");
        if let Some(password) = &self.password {
            options = options.password(&password.reveal()?);
        }
        if let Some(ca) = &self.ca {
            // Whoever names an authority wants to be sure whom it is.
            let is_said = url.query_pairs().any(|(key, _)| ["sslmode", "ssl-mode"].contains(&key.as_ref()));
            options = match options.get_ssl_mode() {
                _ if !is_said => options.ssl_mode(PgSslMode::VerifyFull),
                PgSslMode::VerifyCa | PgSslMode::VerifyFull => options,
                _ => bail!(
                    "the address says an sslmode that does not ask who the server is, and --ca would do nothing: say sslmode=verify-full"
                ),
            };
            options = options.ssl_root_cert(ca);
        }
        Ok(options.disable_statement_logging())
    }

    /// Where the events are, without what is secret.
    pub fn place(&self) -> Result<String> {
        let options = self.options()?;
        let host = options
            .get_socket()
            .map_or_else(|| format!("{}:{}", options.get_host(), options.get_port()), |path| path.display().to_string());
        Ok(format!("{host}/{}/{}", options.get_database().unwrap_or_else(|| options.get_username()), self.table))
    }

    pub async fn open(&self) -> Result<Events> {
        let place = self.place()?;
        let connecting = async {
            let mut connection = self.options()?.connect().await?;
            // Times are written in the session's zone.
            sqlx::query("SET TIME ZONE 'UTC'").execute(&mut connection).await?;
            let queries = self.queries(&mut connection).await?;
            anyhow::Ok((connection, queries))
        };
        let (connection, [query, ids]) = connecting.await.with_context(|| format!("opening {place}"))?;
        let said = |time: Option<Micros>| time.map(time::iso);
        Ok(Events { connection, query, ids, since: said(self.since), until: said(self.until), place })
    }

    async fn queries(&self, connection: &mut PgConnection) -> Result<[String; 2]> {
        let table = quoted(&self.table);
        let columns = columns(connection, &table).await?;
        if columns.is_empty() {
            bail!("there is no table {table}: --table says which");
        }
        let has = |name: &str| columns.contains(name);
        if !has("id") {
            bail!("the table {table} has no column id, by which it is read");
        }
        // A row as it came may lie in a table of its own.
        let (mut raw, mut join) = ("", "");
        if !has("raw") && self::columns(connection, "raws").await?.contains("event_id") {
            (raw, join) = (", r.raw", " LEFT JOIN raws r ON r.event_id = e.id");
        }
        let when = match (has("time.source"), has("time.observation")) {
            (true, true) => "coalesce(e.\"time.source\", e.\"time.observation\")",
            (true, false) => "e.\"time.source\"",
            (false, true) => "e.\"time.observation\"",
            (false, false) if self.since.is_none() && self.until.is_none() => "NULL::timestamptz",
            (false, false) => bail!("the table {table} has no time to choose by"),
        };
        let within =
            |when: &str| format!("($2::text IS NULL OR {when} >= $2::timestamptz) AND ($3::text IS NULL OR {when} < $3::timestamptz)");
        let chosen = match self.either && has("time.source") && has("time.observation") {
            true => format!("(({}) OR ({}))", within("e.\"time.source\""), within("e.\"time.observation\"")),
            false => within(when),
        };
        Ok([
            format!(
                "SELECT id::bigint, row_to_json(x)::text FROM (SELECT e.*{raw} FROM {table} e{join} WHERE e.id > $1 AND {chosen} \
                 ORDER BY e.id LIMIT $4) x ORDER BY id"
            ),
            format!("SELECT e.id::bigint FROM {table} e WHERE e.id > $1 AND {chosen} AND e.id <= $4 ORDER BY e.id"),
        ])
    }
}

async fn columns(connection: &mut PgConnection, table: &str) -> Result<HashSet<String>> {
    let rows = sqlx::query("SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped")
        .bind(table)
        .fetch_all(connection)
        .await?;
    rows.into_iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// A name as SQL writes one that may have any signs in it.
fn quoted(table: &str) -> String {
    let parts: Vec<String> = table.split('.').map(|part| format!("\"{}\"", part.replace('"', "\"\""))).collect();
    parts.join(".")
}

impl Events {
    /// The ids behind one, up to another.
    pub async fn ids(&mut self, after: i64, last: i64) -> Result<Vec<i64>> {
        let query = sqlx::query(AssertSqlSafe(self.ids.as_str())).bind(after).bind(self.since.as_deref()).bind(self.until.as_deref());
        let rows = query.bind(last).fetch_all(&mut self.connection).await.with_context(|| format!("reading {}", self.place))?;
        rows.into_iter().map(|row| Ok(row.try_get(0)?)).collect()
    }
    /// The next rows behind this id, `most` of them or as many as a report may hold; nothing behind the last.
    ///
    /// Where the next ones begin is for whoever asks: a smaller id may be written later than a larger one.
    pub async fn next(&mut self, after: i64, most: u64) -> Result<Option<Chunk>> {
        let file = NamedTempFile::new().context("making room for events")?;
        let mut out = BufWriter::new(file.as_file());
        let (mut rows, mut bytes, mut first, mut last, mut received) = (0, 0, None, after, None);
        let mut ids = VecDeque::new();
        while rows < most && bytes < MOST_BYTES {
            let before = rows;
            let together = TOGETHER.min(most - rows);
            let query = sqlx::query(AssertSqlSafe(self.query.as_str())).bind(last).bind(self.since.as_deref()).bind(self.until.as_deref());
            let query = query.bind(i64::try_from(together).unwrap_or(i64::MAX));
            let mut answer = query.fetch(&mut self.connection);
            while let Some(row) = answer.try_next().await.with_context(|| format!("reading {}", self.place))? {
                let (id, json): (i64, &str) = (row.try_get(0)?, row.try_get(1)?);
                let (line, observed) = line(id, json);
                out.write_all(line.as_bytes()).context("putting events aside")?;
                rows += 1;
                bytes += line.len() as u64;
                first.get_or_insert(id);
                last = id;
                received = received.max(observed);
                if ids.len() == LAST_IDS {
                    ids.pop_front();
                }
                ids.push_back(id);
                if bytes >= MOST_BYTES {
                    break;
                }
            }
            if rows == before {
                break;
            }
        }
        out.flush().context("putting events aside")?;
        drop(out);
        Ok(first.map(|first| Chunk { file, rows, first, last, ids, received }))
    }
}

/// A row of the table as IntelMQ writes the event, under its number there; and when it was received. What cannot be read here, for
/// its depth or a number beyond all, stays as it came: whoever reads the report rejects that line.
fn line(id: i64, json: &str) -> (String, Option<Micros>) {
    let Ok(mut event) = serde_json::from_str::<Map<String, Value>>(json) else {
        return (format!("{}\n", json.replace(['\n', '\r'], " ")), None);
    };
    // What has no value says nothing.
    event.retain(|_, value| !value.is_null());
    event.remove("id");
    event.insert("eventdb.id".to_owned(), id.into());
    let received = event.get("time.observation").and_then(Value::as_str).and_then(|text| time::parse(text).ok());
    (format!("{}\n", Value::Object(event)), received)
}
