//! A collector as a source of ours: `[source.NAME]`, with the section of its way in.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use event::time;
use serde_json::Value as Json;
use toml::{Table, Value};

use super::known::Known;
use super::parameters::{Parameters, is_placeholder, looks_secret, shown_address, sounds_secret};
use super::{Reads, told};

/// What a source says.
#[derive(Debug, Default)]
pub(super) struct Section {
    /// `feed` or `provider`, and which.
    of: (&'static str, String),
    every: Option<String>,
    pub(super) off: bool,
    /// The way in: its name, and its keys.
    way: &'static str,
    keys: Table,
    /// Sentences for whoever reads it.
    pub(super) notes: Vec<String>,
    /// What has no counterpart.
    pub(super) lost: Vec<String>,
}

impl Section {
    pub(super) fn written(&self, name: &str) -> String {
        let mut lines: Vec<String> = self.notes.iter().map(|note| format!("# {}", super::shown(note))).collect();
        lines.push(format!("[source.{name}]"));
        lines.push(format!("{} = {}", self.of.0, Value::String(self.of.1.clone())));
        lines.extend(self.every.as_ref().map(|every| format!("every = \"{every}\"")));
        lines.extend(self.off.then(|| "off = true".to_owned()));
        lines.push(format!("[source.{name}.{}]", self.way));
        lines.extend(self.keys.iter().map(|(key, value)| format!("{key} = {value}")));
        lines.join("\n")
    }

    fn set(&mut self, key: &str, value: impl Into<Value>) {
        let (outer, inner) = key.rsplit_once('.').unwrap_or(("", key));
        self.table(outer).insert(inner.to_owned(), value.into());
    }

    /// A table among the keys. Dots are steps into tables.
    fn table(&mut self, key: &str) -> &mut Table {
        let mut table = &mut self.keys;
        for step in key.split('.').filter(|step| !step.is_empty()) {
            let inner = table.entry(step).or_insert_with(|| Value::Table(Table::new()));
            if !inner.is_table() {
                *inner = Value::Table(Table::new());
            }
            table = inner.as_table_mut().expect("made one just now");
        }
        table
    }
}

/// A way in, by the module of the collector.
type Way = fn(&mut Parameters<'_>, &mut Section, &Reads<'_>) -> Result<(), String>;

const WAYS: &[(&str, &str, Way)] = &[
    ("http.collector_http", "http", http),
    ("mail.collector_mail_attach", "imap", mail_attachments),
    ("mail.collector_mail_body", "imap", mail_body),
    ("mail.collector_mail_url", "imap", mail_links),
    ("file.collector_file", "folder", folder),
    ("stomp.collector", "stomp", stomp),
    ("tcp.collector", "tcp", tcp),
    ("misp.collector", "misp", misp),
];

/// The source for a collector, or why there is none.
pub(super) fn section(parameters: &mut Parameters<'_>, known: &Known, reads: &Reads<'_>) -> Result<Section, String> {
    let of = match reads {
        Reads::Feed(feed, _) => ("feed", feed.id.clone()),
        Reads::Drafted(id) => ("feed", id.clone()),
        Reads::Provider(provider) => ("provider", provider.clone()),
    };
    let module = parameters.bot.module.clone();
    let module = module.strip_prefix("collectors.").unwrap_or_default();
    let mut section = Section { of, ..Section::default() };
    let rate = parameters.whole("rate_limit");
    if let Some((_, way, translate)) = WAYS.iter().find(|(name, _, _)| *name == module) {
        section.way = way;
        translate(parameters, &mut section, reads)?;
    } else if let Some(collector) = known.collector(module) {
        let way = sections().into_iter().find(|way| *way == collector.section);
        section.way = way.ok_or_else(|| format!("tables/intelmq.toml names a way in that there is not, {}", collector.section))?;
        section.keys = collector.settings.clone();
        for (key, name) in &collector.secrets {
            match parameters.secret(name) {
                Some(secret) => section.set(key, secret),
                None => return Err(format!("it says no {name}")),
            }
        }
        for (key, name) in &collector.lists {
            let words = parameters.list(name);
            if !words.is_empty() {
                section.set(key, words);
            }
        }
        parameters.pass(&collector.ignore.iter().map(String::as_str).collect::<Vec<_>>());
        web(parameters, &mut section);
    } else {
        return Err(known.no_collector(module).map_or_else(|| format!("nobody here knows the collector {module}"), str::to_owned));
    }
    if let Reads::Feed(feed, _) = reads
        && let Some(retired) = &feed.retired
    {
        section.notes.push(format!("the provider has ended this feed ({retired}): off = true leaves it out"));
    }
    // A stream is not looked at, it is listened to.
    if !["stomp", "tcp", "websocket"].contains(&section.way) {
        section.every = rate.map(|seconds| time::span_text(Duration::from_secs(seconds)));
    }
    Ok(section)
}

fn sections() -> [&'static str; 9] {
    ["http", "imap", "folder", "stomp", "tcp", "misp", "report_api", "websocket", "taxii"]
}

/// What can be said of any web server.
fn web(parameters: &mut Parameters<'_>, section: &mut Section) {
    if !["http", "misp", "taxii", "report_api"].contains(&section.way) {
        return;
    }
    if let Some(tries) = parameters.whole("http_timeout_max_tries") {
        section.set("tries", tries as i64);
    }
    if let Some(seconds) = parameters.whole("http_timeout_sec") {
        section.set("patience", time::span_text(Duration::from_secs(seconds)));
    }
    if let Some(agent) = parameters.text("http_user_agent").filter(|agent| !is_placeholder(agent)) {
        section.set("headers.User-Agent", agent);
    }
    headers(parameters, section, "headers");
    match (parameters.text("http_username"), parameters.text("http_password")) {
        (Some(user), Some(password)) => {
            let user = if is_placeholder(&user) { "NAME".to_owned() } else { user };
            section.set("user", user);
            let password = parameters.hide("http_password", Some(password));
            section.set("password", password);
        }
        (None, None) => {}
        _ => section.notes.push("only one of http_username and http_password is given there: neither was used".into()),
    }
    let proxies = (parameters.text("http_proxy"), parameters.text("https_proxy"));
    if let Some(proxy) = proxies.1.or(proxies.0) {
        let proxy = if proxy.contains('@') { parameters.hide("https_proxy", Some(proxy)) } else { Value::String(proxy) };
        section.set("proxy", proxy);
    }
    verified(parameters, section);
    if let Some(certificate) = parameters.text("ssl_client_certificate").or_else(|| parameters.text("ssl_client_cert")) {
        section.lost.push(format!("ssl_client_certificate = {certificate}: no certificate of our own is shown to web servers"));
    }
}

/// What is asked with, under this key.
fn headers(parameters: &mut Parameters<'_>, section: &mut Section, key: &str) {
    let Some(Json::Object(headers)) = parameters.take("http_header") else { return };
    for (name, value) in headers {
        let value = told(value);
        let is_secret = sounds_secret(name) || looks_secret(&value);
        let value = if is_secret { parameters.hide(&format!("http_header_{name}"), Some(value)) } else { Value::String(value) };
        section.table(key).insert(name.clone(), value);
    }
}

/// Whom TLS trusts.
fn verified(parameters: &mut Parameters<'_>, section: &mut Section) {
    match parameters.take("http_verify_cert") {
        Some(Json::String(path)) if parameters.bot.truth("http_verify_cert").is_none() => section.set("ca", path.clone()),
        Some(_) if parameters.bot.truth("http_verify_cert") == Some(false) => {
            section
                .lost
                .push("http_verify_cert = false: who a server is, is always checked; name its authority as ca = \"FILE.pem\"".into());
        }
        _ => {}
    }
    if let Some(path) = parameters.text("ssl_ca_certificate") {
        section.set("ca", path);
    }
}

fn http(parameters: &mut Parameters<'_>, section: &mut Section, reads: &Reads<'_>) -> Result<(), String> {
    let mut given = parameters.text("http_url").ok_or("it says no http_url")?;
    if let Reads::Feed(_, Some((from, to))) = reads {
        section.notes.push(format!("{to} instead of {from}: the feed's table reads that form of the same rows"));
        given = given.replace(from, to);
    }
    let fetch = match reads {
        Reads::Feed(feed, _) => feed.fetch.as_deref(),
        _ => None,
    };
    if is_placeholder(&given) && !given.contains("://") {
        match fetch {
            Some(_) => section.notes.push(format!(
                "where it says {} there, the feed's own address is asked; say url = \"...\" for yours",
                shown_address(&given)
            )),
            None => return Err(format!("its address is only \"{}\"", shown_address(&given))),
        }
    } else {
        let formatting = parameters.take("http_url_formatting").cloned();
        let mut address = Address::of(&given, formatting.as_ref())?;
        match address.login.take() {
            Some((user, Some(password))) => {
                section.set("user", user);
                let password = parameters.hide("http_url_password", Some(password));
                section.set("password", password);
            }
            // A word alone is as good as a password: a header of its own, as anybody would send it.
            Some((token, None)) => {
                let header = if is_placeholder(&token) { token } else { format!("Basic {}", BASE64_STANDARD.encode(format!("{token}:"))) };
                let header = parameters.hide("http_url_login", Some(header));
                section.set("headers.Authorization", header);
            }
            None => {}
        }
        let is_fetched = fetch.is_some_and(|fetch| {
            super::plain(fetch) == super::plain(&address.text) && (fetch.starts_with("https") || !address.text.starts_with("https"))
        });
        if !is_fetched {
            section.set("url", address.text.clone());
        }
        for (name, value) in address.fill {
            let secret = parameters.hide(&format!("url_{name}"), value);
            section.set(&format!("fill.{name}"), secret);
        }
    }
    parameters.take("http_url_formatting");
    if let Some(Json::String(files)) = parameters.take("extract_files")
        && parameters.bot.truth("extract_files").is_none()
    {
        section.lost.push(format!("extract_files = {files}: of an archive all files are read"));
    }
    if parameters.truth("verify_pgp_signatures") == Some(true) {
        section.lost.push("verify_pgp_signatures: no signature is checked".into());
    }
    parameters.pass(&["signature_url", "signature_url_formatting", "gpg_keyring"]);
    web(parameters, section);
    Ok(())
}

/// An address with places for dates and for what is secret.
#[derive(Debug, Default, PartialEq, Eq)]
struct Address {
    text: String,
    /// Places, and what goes there.
    fill: Vec<(String, Option<String>)>,
    /// Who asks, and the password; a word alone, where there is none.
    login: Option<(String, Option<String>)>,
}

impl Address {
    fn of(given: &str, formatting: Option<&Json>) -> Result<Address, String> {
        let mut address = Address::default();
        let (scheme, rest) = given.split_once("://").ok_or("its http_url is no address: it has no ://")?;
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let server = match authority.rsplit_once('@') {
            Some((login, server)) => {
                let (user, password) = login.split_once(':').map_or((login, None), |(user, password)| (user, Some(password.to_owned())));
                address.login = Some((user.to_owned(), password));
                server
            }
            None => authority,
        };
        // A password with a slash in it would go on as a path.
        if path.contains('@') && server.rsplit_once(':').is_some_and(|(_, port)| !port.bytes().all(|byte| byte.is_ascii_digit())) {
            return Err("its http_url is no address: signs of its login have to be escaped".into());
        }
        let rest = &format!("{server}{path}");
        let mut text = address.places(rest, formatting)?;
        if text.contains(char::is_whitespace) {
            return Err("its http_url is no address: give it one".into());
        }
        if let Some((before, query)) = text.clone().split_once('?') {
            let query: Vec<String> = query.split('&').map(|pair| address.parameter(pair)).collect();
            text = format!("{before}?{}", query.join("&"));
        }
        let (path, query) = text.split_once('?').map_or((text.as_str(), None), |(path, query)| (path, Some(query)));
        let path: Vec<String> =
            path.split('/').enumerate().map(|(place, part)| if place == 0 { part.to_owned() } else { address.part(part) }).collect();
        address.text = format!("{scheme}://{}{}", path.join("/"), query.map(|query| format!("?{query}")).unwrap_or_default());
        Ok(address)
    }

    /// `{time[FORMAT]}` by our words for dates, and everything else that stands for something as a place to fill.
    fn places(&mut self, text: &str, formatting: Option<&Json>) -> Result<String, String> {
        let (mut written, mut rest) = (String::new(), text);
        while let Some(at) = rest.find(['{', '<', '$']).into_iter().chain(rest.find("__")).min() {
            let (before, found) = rest.split_at(at);
            written += before;
            let end = |close: &str| found.find(close).map(|end| end + close.len());
            let length = match found.as_bytes() {
                [b'{', b'{', ..] => end("}}"),
                [b'{', ..] => end("}"),
                [b'<', ..] => end(">"),
                [b'_', ..] => found.get(2..).and_then(|inner| inner.find("__")).map(|end| end + 4),
                _ => Some(1 + found.bytes().skip(1).take_while(u8::is_ascii_alphanumeric).count()),
            };
            let (place, after) = found.split_at(length.ok_or_else(|| "a bracket in its address is not closed".to_owned())?);
            written += &match place.strip_prefix("{time[").and_then(|inner| inner.strip_suffix("]}")) {
                Some(format) => dated(format, formatting)?,
                None => self.place(place),
            };
            rest = after;
        }
        Ok(written + rest)
    }

    fn place(&mut self, said: &str) -> String {
        let words: String = said.chars().map(|sign| if sign.is_ascii_alphanumeric() { sign.to_ascii_lowercase() } else { ' ' }).collect();
        let name = words.split_whitespace().filter(|word| !["your", "the", "insert"].contains(word)).collect::<Vec<_>>().join("_");
        let name = if name.is_empty() { "word".to_owned() } else { name };
        self.fill_in(name, None)
    }

    /// A place by this name; by it and a number, where something else goes by the name.
    fn fill_in(&mut self, name: String, value: Option<String>) -> String {
        let names = std::iter::once(name.clone()).chain((2..).map(|number| format!("{name}_{number}")));
        let known = |name: &String| self.fill.iter().find(|(known, _)| known == name);
        let name = names.into_iter().find(|name| known(name).is_none_or(|(_, known)| *known == value)).expect("numbers do not end");
        if known(&name).is_none() {
            self.fill.push((name.clone(), value));
        }
        format!("{{{name}}}")
    }

    /// A word of the query, without its value where that is secret.
    fn parameter(&mut self, pair: &str) -> String {
        match pair.split_once('=') {
            Some((name, value)) if (sounds_secret(name) || looks_secret(value)) && !value.is_empty() && !value.starts_with('{') => {
                let place: String =
                    name.chars().map(|sign| if sign.is_ascii_alphanumeric() { sign.to_ascii_lowercase() } else { '_' }).collect();
                format!("{name}={}", self.fill_in(place, Some(value.to_owned())))
            }
            _ => pair.to_owned(),
        }
    }

    /// A step of the path, without it where it looks like a key.
    fn part(&mut self, part: &str) -> String {
        if looks_secret(part) { self.fill_in("key".into(), Some(part.to_owned())) } else { part.to_owned() }
    }
}

/// A date as IntelMQ formats it, moved by so many days.
fn dated(format: &str, formatting: Option<&Json>) -> Result<String, String> {
    let letters: Vec<char> = format.split('%').skip(1).filter_map(|part| part.chars().next()).collect();
    if letters.iter().any(|letter| !['Y', 'm', 'd'].contains(letter)) {
        return Err(format!("its address has a time of day, {{time[{format}]}}: only year, month and day can be put into one here"));
    }
    let back = match formatting {
        None | Some(Json::Bool(_)) => 0,
        Some(Json::Object(moved)) if moved.keys().all(|unit| unit == "days") => moved
            .get("days")
            .and_then(Json::as_i64)
            .filter(|days| *days <= 0)
            .ok_or("http_url_formatting moves the date in a way that is not known here")?,
        Some(other) => return Err(format!("http_url_formatting = {}: only days can be counted back here", told(other))),
    };
    let day = match -back {
        0 => "day".to_owned(),
        1 => "yesterday".to_owned(),
        days => format!("day-{days}"),
    };
    Ok(if format == "%Y-%m-%d" { format!("{{{day}}}") } else { format!("{{{day}:{format}}}") })
}

fn mail(parameters: &mut Parameters<'_>, section: &mut Section) -> Result<(), String> {
    let host = parameters.text("mail_host").ok_or("it says no mail_host")?;
    let host = if is_placeholder(&host) { "mail.example.org".to_owned() } else { host };
    let port = parameters.whole("mail_port");
    section.set("server", port.map_or_else(|| host.clone(), |port| format!("{host}:{port}")));
    let tls = match (parameters.truth("mail_starttls"), parameters.truth("mail_ssl").unwrap_or(true)) {
        (Some(true), _) => "starttls",
        (_, true) => "implicit",
        _ => "none",
    };
    if tls != "implicit" {
        section.set("tls", tls);
    }
    verified(parameters, section);
    let user = parameters.text("mail_user").filter(|user| !is_placeholder(user)).unwrap_or_else(|| "NAME".to_owned());
    section.set("user", user);
    let password = parameters.secret("mail_password").ok_or("it says no mail_password")?;
    section.set("password", password);
    if let Some(folder) = parameters.text("folder").filter(|folder| folder != "INBOX") {
        section.set("folder", folder);
    }
    if let Some(from) = parameters.text("sent_from") {
        section.set("from", regex_escape(&from));
    }
    if let Some(to) = parameters.text("sent_to") {
        section.lost.push(format!("sent_to = {to}: mails are chosen by sender and subject; let the mail server sort them into a folder"));
    }
    pattern(parameters, section, "subject_regex", "subject");
    Ok(())
}

/// A regular expression, where it is one for us too.
fn pattern(parameters: &mut Parameters<'_>, section: &mut Section, from: &str, to: &str) {
    let Some(text) = parameters.text(from).filter(|text| !is_placeholder(text)) else { return };
    match regex::Regex::new(&text) {
        Ok(_) => section.set(to, text),
        Err(wrong) => {
            let wrong = wrong.to_string();
            let why = wrong.lines().last().unwrap_or_default();
            section.lost.push(format!("{from} = {text}: it is no pattern here ({why}): say {to} = '...' in another way"));
        }
    }
}

fn mail_attachments(parameters: &mut Parameters<'_>, section: &mut Section, _: &Reads<'_>) -> Result<(), String> {
    mail(parameters, section)?;
    pattern(parameters, section, "attach_regex", "attachments");
    if parameters.truth("decrypt_openpgp") == Some(true) {
        section.lost.push("decrypt_openpgp: nothing is decrypted".into());
    }
    parameters.pass(&["openpgp_passphrase", "gpg_home", "allow_empty", "extract_files", "attach_unzip"]);
    Ok(())
}

fn mail_body(parameters: &mut Parameters<'_>, section: &mut Section, _: &Reads<'_>) -> Result<(), String> {
    mail(parameters, section)?;
    section.set("body", true);
    parameters.take("content_types");
    Ok(())
}

fn mail_links(parameters: &mut Parameters<'_>, section: &mut Section, _: &Reads<'_>) -> Result<(), String> {
    mail(parameters, section)?;
    let text = parameters.text("url_regex").ok_or("it says no url_regex")?;
    regex::Regex::new(&text).map_err(|_| "url_regex: the pattern is none here".to_owned())?;
    // Anybody can write a mail: only servers that are named are asked.
    let plain = text.replace('\\', "");
    let (before, rest) = plain.split_once("://").unwrap_or_default();
    let host: String = rest.chars().take_while(|sign| sign.is_ascii_alphanumeric() || ['.', '-', ':'].contains(sign)).collect();
    if !host.contains('.') || rest.chars().nth(host.chars().count()).is_some_and(|sign| sign != '/') {
        return Err("url_regex does not name the server: only servers that are named are asked for what a mail links to".into());
    }
    let host = if before.ends_with("https") || before.ends_with("https?") { host } else { format!("http://{host}") };
    section.set("links.pattern", text);
    section.set("links.hosts", vec![host]);
    if let (Some(user), Some(password)) = (parameters.text("http_username"), parameters.secret("http_password")) {
        section.set("links.http.user", user);
        section.set("links.http.password", password);
    }
    headers(parameters, section, "links.http.headers");
    parameters.pass(&["http_timeout_sec", "http_timeout_max_tries", "http_user_agent", "chunk_size", "extract_files"]);
    Ok(())
}

fn folder(parameters: &mut Parameters<'_>, section: &mut Section, _: &Reads<'_>) -> Result<(), String> {
    section.set("path", parameters.text("path").ok_or("it says no path")?);
    let ending = parameters.text("postfix").unwrap_or_else(|| ".csv".to_owned());
    section.set("files", format!("{}$", regex_escape(&ending)));
    let deletes = parameters.truth("delete_file") == Some(true);
    section.set("after", if deletes { "delete" } else { "keep" });
    parameters.take("chunk_size");
    Ok(())
}

fn stomp(parameters: &mut Parameters<'_>, section: &mut Section, _: &Reads<'_>) -> Result<(), String> {
    let server = parameters.text("server").ok_or("it says no server")?;
    let port = parameters.whole("port").unwrap_or(61614);
    section.set("url", format!("stomps://{server}:{port}"));
    let exchange = parameters.text("exchange").ok_or("it says no exchange")?;
    if is_placeholder(&exchange) {
        section.notes.push("say which destination, as the provider gave it".into());
    }
    section.set("destinations", vec![if is_placeholder(&exchange) { "/exchange/NAME/*.*.*.*".to_owned() } else { exchange }]);
    if let Some(ca) = parameters.text("ssl_ca_certificate") {
        section.set("tls.ca", ca);
    }
    let (certificate, key) = (parameters.text("ssl_client_certificate"), parameters.text("ssl_client_certificate_key"));
    let (user, has_password) = (parameters.text("username"), parameters.text("password").is_some());
    // By certificate unless it says otherwise.
    if parameters.truth("auth_by_ssl_client_certificate") != Some(false) {
        section.set("tls.certificate", certificate.unwrap_or_else(|| "client.pem".to_owned()));
        section.set("tls.key", key.unwrap_or_else(|| "client.key".to_owned()));
    } else if has_password {
        section.set("user", user.filter(|user| !is_placeholder(user)).unwrap_or_else(|| "NAME".to_owned()));
        let password = parameters.secret("password").ok_or("it says no password")?;
        section.set("password", password);
    }
    if let Some(milliseconds) = parameters.whole("heartbeat").filter(|milliseconds| *milliseconds >= 1000) {
        section.set("heart_beat", time::span_text(Duration::from_millis(milliseconds)));
    }
    Ok(())
}

fn tcp(parameters: &mut Parameters<'_>, section: &mut Section, _: &Reads<'_>) -> Result<(), String> {
    let (ip, port) = (parameters.text("ip").ok_or("it says no ip")?, parameters.whole("port").ok_or("it says no port")?);
    let ip = if ip == "localhost" { "127.0.0.1".to_owned() } else { ip };
    let listen: std::net::IpAddr = ip.parse().map_err(|_| format!("ip = {ip} is no address: say listen = \"ADDRESS:{port}\""))?;
    let port = u16::try_from(port).map_err(|_| format!("port = {port} is none"))?;
    section.set("listen", std::net::SocketAddr::new(listen, port).to_string());
    section.set("framing", "intelmq");
    Ok(())
}

fn misp(parameters: &mut Parameters<'_>, section: &mut Section, _: &Reads<'_>) -> Result<(), String> {
    let server = parameters.text("misp_url").ok_or("it says no misp_url")?;
    if server.contains('@') {
        return Err("its misp_url has a login in it: the key alone is sent".into());
    }
    section.set("server", server);
    let key = parameters.secret("misp_key").ok_or("it says no misp_key")?;
    section.set("key", key);
    if let Some(tag) = parameters.text("misp_tag_to_process").filter(|tag| !is_placeholder(tag)) {
        section.set("filter.tags", vec![tag]);
    }
    if parameters.text("misp_tag_processed").is_some() {
        section.notes.push("nothing is written to the server: what was taken in is remembered here, and no tag is put".into());
    }
    if parameters.truth("misp_verify") == Some(false) {
        section.lost.push("misp_verify = false: who a server is, is always checked; name its authority as ca = \"FILE.pem\"".into());
    }
    web(parameters, section);
    Ok(())
}

fn regex_escape(text: &str) -> String {
    regex::escape(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(given: &str, formatting: &str, expected: Result<&str, &str>, fill: &[(&str, Option<&str>)]) {
        let formatting: Json = serde_json::from_str(formatting).expect("JSON");
        match Address::of(given, Some(&formatting)) {
            Ok(address) => {
                assert_eq!(Ok(address.text.as_str()), expected);
                let found: Vec<_> = address.fill.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
                assert_eq!(found, fill);
            }
            Err(why) => assert_eq!(Err(why.as_str()), expected),
        }
    }

    #[test]
    fn a_login_is_what_stands_before_the_last_at() {
        let login = |given: &str| Address::of(given, None).expect("an address").login;
        let said = |user: &str, password: Option<&str>| Some((user.to_owned(), password.map(str::to_owned)));
        assert_eq!(login("https://user:p@ss@a.example/x@y"), said("user", Some("p@ss")));
        assert_eq!(login("https://TOKEN@a.example/"), said("TOKEN", None));
        assert_eq!(login("https://a.example/x@y"), None);
        assert_eq!(shown_address("https://user:p@ss@a.example/x?key=1"), "https://a.example/x?...");
        assert_eq!(shown_address("user:hush@a.example"), "***");
    }

    #[test]
    fn addresses_have_places_for_dates_and_secrets() {
        check("https://a.example/list.txt", "false", Ok("https://a.example/list.txt"), &[]);
        check("https://a.example/{time[%Y-%m-%d]}.gz", "true", Ok("https://a.example/{day}.gz"), &[]);
        check("https://a.example/{time[%Y/%m/%d]}", r#"{"days": -1}"#, Ok("https://a.example/{yesterday:%Y/%m/%d}"), &[]);
        check("https://a.example/{time[%Y%m%d]}", r#"{"days": -3}"#, Ok("https://a.example/{day-3:%Y%m%d}"), &[]);
        check(
            "https://a.example/{time[%H]}",
            "true",
            Err("its address has a time of day, {time[%H]}: only year, month and day can be put into one here"),
            &[],
        );
        check(
            "https://a.example/{time[%Y]}",
            r#"{"hours": -3}"#,
            Err("http_url_formatting = {\"hours\":-3}: only days can be counted back here"),
            &[],
        );
        check(
            "https://a.example/get?apikey=s3cret&list=x",
            "false",
            Ok("https://a.example/get?apikey={apikey}&list=x"),
            &[("apikey", Some("s3cret"))],
        );
        check(
            "https://a.example/data/0123456789abcdef0123456789abcdef/x.json",
            "false",
            Ok("https://a.example/data/{key}/x.json"),
            &[("key", Some("0123456789abcdef0123456789abcdef"))],
        );
        check(
            "https://a.example/0123456789abcdef0123456789abcdef/fedcba9876543210fedcba9876543210?key=abc&id=0123456789abcdef0123456789abcdef",
            "false",
            Ok("https://a.example/{key_2}/{key_3}?key={key}&id={id}"),
            &[
                ("key", Some("abc")),
                ("id", Some("0123456789abcdef0123456789abcdef")),
                ("key_2", Some("0123456789abcdef0123456789abcdef")),
                ("key_3", Some("fedcba9876543210fedcba9876543210")),
            ],
        );
        check("a.example/user:hush@x", "false", Err("its http_url is no address: it has no ://"), &[]);
        check("https://user:hu/sh@a.example/x", "false", Err("its http_url is no address: signs of its login have to be escaped"), &[]);
        check("https://a.example/{{ your API key }}/x", "false", Ok("https://a.example/{api_key}/x"), &[("api_key", None)]);
        check("https://a.example/__APIKEY__/x", "false", Ok("https://a.example/{apikey}/x"), &[("apikey", None)]);
        check("https://a.example/$certname/$certname_x", "false", Ok("https://a.example/{certname}/{certname}_x"), &[("certname", None)]);
        check("https://a.example/<CC>/, or https://b.example", "false", Err("its http_url is no address: give it one"), &[("cc", None)]);
    }
}
