//! Indicators in prose: each address, name, URL, hash or CVE that a text mentions is a row, defanged or not.
//!
//! Which words are taken is a matter of what is safe to say. Addresses, URLs and hashes look like nothing else. A bare name may be
//! a file or a signature: names are taken where somebody defanged them, or where the table asks for all and the name has a public
//! suffix.

use std::io::{self, Read};

use event::value;
use memchr::memmem;

use super::decode::Decoded;
use super::gather::Gathered;
use super::lines::LineReader;
use crate::rows::Rows;
use crate::table::Prose as Format;

/// No more of a line is kept as a row's context, in bytes.
const LONGEST_CONTEXT: usize = 500;

/// Public suffixes that names of files end with more often than names of hosts.
const ENDINGS: &[&str] = &["app", "bat", "cab", "com.exe", "java", "md", "mov", "pl", "ps", "py", "rs", "sh", "so", "zip"];

pub(super) struct Prose {
    format: Format,
    lines: LineReader,
    /// What is left of the line that was read last.
    found: std::vec::IntoIter<(&'static str, String)>,
}

impl Prose {
    pub(super) fn new(format: Format) -> Prose {
        Prose { format, lines: LineReader::default(), found: Vec::new().into_iter() }
    }

    pub(super) fn next_rows<R: Read>(&mut self, input: &mut Decoded<R>) -> io::Result<Option<Rows>> {
        let mut rows = Gathered::default();
        if self.found.len() == 0 && !self.lines.fill(input, &mut rows)? {
            return Ok(None);
        }
        while !rows.is_full() {
            if let Some((kind, word)) = self.found.next() {
                let (number, line) = self.lines.last();
                let line = line.trim();
                let context = line.get(..line.floor_char_boundary(LONGEST_CONTEXT)).unwrap_or_default();
                rows.push(number, context, [("type", kind), ("value", word.as_str()), ("context", context)]);
            } else if let Some((_, line)) = self.lines.next() {
                self.found = indicators(line, &self.format).into_iter();
            } else {
                break;
            }
        }
        Ok(Some(rows.finish()))
    }
}

/// What a line mentions, in its order, each once.
fn indicators(line: &str, format: &Format) -> Vec<(&'static str, String)> {
    let mut found: Vec<(&'static str, String)> = Vec::new();
    for word in
        line.split(|sign: char| sign.is_whitespace() || matches!(sign, '<' | '>' | '"' | '\'' | '`' | '|' | ';' | '\u{201c}' | '\u{201d}'))
    {
        for word in parts(word) {
            let word = bare(word);
            if let Some(kind) =
                kind_of(word, format).filter(|kind| format.find.is_empty() || format.find.iter().any(|wanted| wanted == kind))
                && !found.iter().any(|(known, text)| *known == kind && text == word)
            {
                found.push((kind, word.to_owned()));
            }
        }
    }
    found
}

/// A word between commas is a word, but in a URL a comma may be its own.
fn parts(word: &str) -> impl Iterator<Item = &str> {
    let is_url = memmem::find(word.as_bytes(), b"://").is_some() || memmem::find(word.as_bytes(), b"[:]").is_some();
    word.split(move |sign| sign == ',' && !is_url)
}

/// A word without the signs of the sentence around it. Brackets that belong to it stay: `192.0.2[.]1`, `(a)`.
fn bare(word: &str) -> &str {
    let mut word = word;
    loop {
        let before = word;
        word = word.trim_end_matches(['.', ',', ':', '!', '?', '*', '_']).trim_start_matches(['.', ',', ':', '*', '_', '-']);
        for (open, close) in [('(', ')'), ('[', ']'), ('{', '}')] {
            // Pairs around the whole word, or one half of a pair that began in another word.
            let opens = word.matches(open).count();
            let closes = word.matches(close).count();
            if word.starts_with(open) && (opens > closes || word.ends_with(close) && opens == closes && opens == 1) {
                word = word.strip_prefix(open).unwrap_or(word);
            }
            if word.ends_with(close) && word.matches(close).count() > word.matches(open).count() {
                word = word.strip_suffix(close).unwrap_or(word);
            }
        }
        if word == before {
            return word;
        }
    }
}

fn kind_of(word: &str, format: &Format) -> Option<&'static str> {
    // The shortest is AS1, and no kind has other signs at its start.
    if word.len() < 3 || word.len() > value::LONGEST_TEXT {
        return None;
    }
    if let Some(kind) = kind_of_hash(word) {
        return Some(kind);
    }
    if starts_with(word, "CVE-") {
        let number = word.get(4..)?.split_once('-')?;
        let is_number = |text: &str, least: usize| text.len() >= least && text.bytes().all(|byte| byte.is_ascii_digit());
        return (is_number(number.0, 4) && is_number(number.1, 4)).then_some("cve");
    }
    if starts_with(word, "AS") && word.get(2..).is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit())) {
        return value::asn(word).is_ok().then_some("asn");
    }
    let plain = value::refang(word);
    let is_defanged = plain != word;
    let plain = plain.as_ref();
    if let Some((scheme, rest)) = plain.split_once("://") {
        let is_scheme = ["http", "https", "ftp", "ftps", "tcp", "ws", "wss"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
        return (is_scheme && !rest.is_empty()).then_some("url");
    }
    if let Some((network, _)) = plain.split_once('/')
        && value::ip(network).is_ok()
        && value::network(plain).is_ok()
    {
        return Some("network");
    }
    if value::ip(plain).is_ok() && (plain.contains('.') || plain.matches(':').count() >= 2) {
        return Some("ip");
    }
    if let Some((address, port)) = plain.rsplit_once(':')
        && value::ipv4(address.as_bytes()).is_some()
        && value::port(port).is_ok()
    {
        return Some("ip:port");
    }
    if let Some((account, host)) = plain.split_once('@') {
        return (!account.is_empty() && is_name(host)).then_some("email");
    }
    let (host, path) = plain.split_once('/').map_or((plain, None), |(host, path)| (host, Some(path)));
    let is_host = is_name(host) && (is_defanged || format.bare && !is_file(host));
    match path {
        None => is_host.then_some("domain"),
        // A path alone is a URL that somebody left the scheme off.
        Some(_) => (is_host && is_defanged).then_some("url"),
    }
}

fn starts_with(word: &str, prefix: &str) -> bool {
    word.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

fn kind_of_hash(word: &str) -> Option<&'static str> {
    let kind = match word.len() {
        32 => "md5",
        40 => "sha1",
        64 => "sha256",
        128 => "sha512",
        _ => return None,
    };
    let is_hash = word.bytes().all(|byte| byte.is_ascii_hexdigit()) && word.bytes().any(|byte| byte.is_ascii_digit());
    is_hash.then_some(kind)
}

/// Whether it is a host's name under a public suffix.
fn is_name(text: &str) -> bool {
    let labels = || text.trim_end_matches('.').split('.');
    let is_label = |label: &str| {
        let inner = |sign: char| sign.is_alphanumeric() || matches!(sign, '-' | '_');
        !label.is_empty() && label.len() <= 63 && label.chars().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    let lower = text.to_lowercase();
    let suffix = || psl::suffix(lower.trim_end_matches('.').as_bytes()).is_some_and(|suffix| suffix.is_known());
    labels().count() >= 2 && labels().all(is_label) && suffix()
}

/// Whether a name of two parts is rather a file's.
fn is_file(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    lower.split_once('.').is_some_and(|(_, ending)| ENDINGS.contains(&ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, bare: bool, expected: &[&str]) {
        let found = indicators(line, &Format { bare, find: Vec::new() });
        let found: Vec<String> = found.iter().map(|(kind, word)| format!("{kind} {word}")).collect();
        assert_eq!(found, expected, "{line}");
    }

    #[test]
    fn what_a_sentence_mentions_is_found() {
        check("The bot at 192.0.2.1 talks to 198.51.100[.]7:8080.", false, &["ip 192.0.2.1", "ip:port 198.51.100[.]7:8080"]);
        check("(see hxxps://bad[.]example[.]org/a,b?x=(1)).", false, &["url hxxps://bad[.]example[.]org/a,b?x=(1)"]);
        check(
            "bad[.]example[.]com, worse(dot)example(dot)com and good.example.com",
            false,
            &["domain bad[.]example[.]com", "domain worse(dot)example(dot)com"],
        );
        check("good.example.com readme.md setup.sh 1.2", true, &["domain good.example.com"]);
        check(
            "Mail from <clerk@example.org> of AS64496: CVE-2021-44228!",
            false,
            &["email clerk@example.org", "asn AS64496", "cve CVE-2021-44228"],
        );
        check("d41d8cd98f00b204e9800998ecf8427e", false, &["md5 d41d8cd98f00b204e9800998ecf8427e"]);
        check(
            "networks 192.0.2.0/24; [2001:db8::1], 2001:db8::/32",
            false,
            &["network 192.0.2.0/24", "ip 2001:db8::1", "network 2001:db8::/32"],
        );
        check("12:30:15 on 2026-03-01, v1.2.3, 10:20", false, &[]);
        check("bad[.]example[.]org/login 192.0.2.1 192.0.2.1", false, &["url bad[.]example[.]org/login", "ip 192.0.2.1"]);
    }
}
