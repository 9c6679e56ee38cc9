//! From a cell's text to a value: each type is parsed once, here, and has one canonical form.
//!
//! Text goes in as a slice and comes out as a slice: of the input where it was canonical already, which it
//! mostly is, else of the caller's buffer, so that a million rows allocate nothing. Reasons read after
//! `column "value": `.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use wide::u8x16;

use crate::chunk::{self, Chunk, among, is};
use crate::field::{Field, Type};
use crate::taxonomy;
use crate::tlp::Tlp;

/// Why a text is not a value of its field's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wrong(pub &'static str);

/// No text in an event is longer than this, in bytes.
pub const LONGEST_TEXT: usize = 64 * 1024;

/// The canonical form of a value whose column at rest is text.
///
/// The caller has dropped empty cells. `out` may be overwritten.
pub fn text<'a>(field: Field, given: &'a str, out: &'a mut String) -> Result<&'a str, Wrong> {
    if is_canonical(field, given.as_bytes()) { Ok(given) } else { made_canonical(field, given, out) }
}

/// [`text`], of what [`is_canonical`] did not tell.
pub fn made_canonical<'a>(field: Field, given: &'a str, out: &'a mut String) -> Result<&'a str, Wrong> {
    let definition = field.definition();
    let value = match definition.kind {
        Type::Text | Type::Base64 => plain(given, out),
        Type::Ascii => printable(plain(given, out))?,
        Type::LowerAscii => printable(replace(out, |out| out.extend(shown(given).map(|c| c.to_ascii_lowercase()))))?,
        Type::Lower if given.is_ascii() => replace(out, |out| out.extend(shown(given).map(|c| c.to_ascii_lowercase()))),
        Type::Upper if given.is_ascii() => replace(out, |out| out.extend(shown(given).map(|c| c.to_ascii_uppercase()))),
        Type::Lower => replace(out, |out| out.push_str(&shown(given).collect::<String>().to_lowercase())),
        Type::Upper => replace(out, |out| out.push_str(&shown(given).collect::<String>().to_uppercase())),
        Type::Ip => {
            let address = ip(given)?;
            replace(out, |out| write(out, address))
        }
        Type::Network => {
            let network = network(given)?;
            replace(out, |out| write(out, network))
        }
        Type::Fqdn => return fqdn(given, out),
        Type::Url => return url(given, out),
        Type::Md5 => return hash(given, 32, out),
        Type::Sha1 => return hash(given, 40, out),
        Type::Sha256 => return hash(given, 64, out),
        Type::Uuid => uuid(given, out)?,
        Type::Country => country(given, out)?,
        Type::Transport => one_of(given, TRANSPORTS.split(' '), Wrong("not a transport protocol"))?,
        Type::Severity => one_of(given, ["critical", "high", "medium", "low", "info"], Wrong("not a severity"))?,
        Type::Registry => one_of(given, ["AFRINIC", "APNIC", "ARIN", "LACNIC", "RIPE"], Wrong("not a regional internet registry"))?,
        Type::Tlp => Tlp::parse(given).ok_or(Wrong("not a TLP label"))?.name(),
        Type::ClassificationType => taxonomy::classification(given).ok_or(Wrong("not a classification type"))?.name,
        Type::Taxonomy => taxonomy::taxonomy(given).ok_or(Wrong("not a taxonomy"))?,
        Type::Json => given,
        Type::JsonObject => {
            if !given.starts_with('{') {
                return Err(Wrong("not a JSON object"));
            }
            given
        }
        Type::Integer | Type::Float | Type::Percent | Type::Boolean | Type::Asn | Type::Port | Type::Time => {
            unreachable!("not text at rest: the caller branches on the column's type")
        }
    };
    if value.len() > LONGEST_TEXT {
        return Err(Wrong("longer than 64 KiB"));
    }
    if definition.length != 0 && value.len() > definition.length && value.chars().count() > definition.length {
        return Err(Wrong("longer than its field allows"));
    }
    Ok(value)
}

/// Whether a text is surely canonical as it stands: nearly all are, and these are cheap to tell.
#[inline]
pub fn is_canonical(field: Field, text: &[u8]) -> bool {
    text.len() <= longest(field)
        && match field.kind() {
            Type::Text | Type::Base64 => is_shown(text),
            Type::Lower => all_are(LOWER, text),
            Type::LowerAscii => all_are(LOWER_PRINTABLE, text),
            Type::Country => text.len() == 2 && text.iter().all(is_of_code),
            Type::Transport => matches!(text, b"tcp" | b"udp" | b"icmp"),
            Type::Upper => all_are(UPPER, text),
            Type::Ip => ipv4(text).is_some(),
            Type::Fqdn => is_canonical_name(text),
            Type::Url => is_canonical_url(text),
            Type::Severity => matches!(text, b"critical" | b"high" | b"medium" | b"low" | b"info"),
            _ => false,
        }
}

/// What a byte may stand in as it is: a bit for each of the classes below.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 128 {
        let letter = byte as u8;
        if !is_hidden(letter) {
            classes[byte] |= if letter.is_ascii_uppercase() { 0 } else { LOWER };
            classes[byte] |= if letter.is_ascii_lowercase() { 0 } else { UPPER };
        }
        if is_printable(letter) && !letter.is_ascii_uppercase() {
            classes[byte] |= LOWER_PRINTABLE;
        }
        if matches!(letter, b'!' | b'#'..=b';' | b'=' | b'?'..=b'_' | b'a'..=b'~') {
            classes[byte] |= URL;
        }
        byte += 1;
    }
    classes
};
/// ASCII without capital letters.
const LOWER: u8 = 1;
/// ASCII without small letters.
const UPPER: u8 = 2;
/// The path, query or fragment of a URL.
const URL: u8 = 4;
/// What can be shown of ASCII, without capital letters.
const LOWER_PRINTABLE: u8 = 8;

/// Without an early way out: most texts are short, and most are what is asked.
#[inline]
fn all_are(class: u8, text: &[u8]) -> bool {
    text.iter().fold(class, |all, byte| all & CLASSES[usize::from(*byte)]) != 0
}

/// Up to which length a text without control characters is a value of the field as it stands.
pub fn longest_as_it_is(field: Field) -> usize {
    if matches!(field.kind(), Type::Text | Type::Base64) { longest(field) } else { 0 }
}

/// How many bytes are surely not too many for the field.
#[inline]
fn longest(field: Field) -> usize {
    match field.definition().length {
        0 => LONGEST_TEXT,
        length => length,
    }
}

/// Clears the buffer, lets `fill` write to it, and hands out what it holds.
fn replace(out: &mut String, fill: impl FnOnce(&mut String)) -> &str {
    out.clear();
    fill(out);
    out
}

fn write(out: &mut String, value: impl std::fmt::Display) {
    write!(out, "{value}").expect("a string takes any text");
}

/// A control character that no reader can show.
const fn is_hidden(byte: u8) -> bool {
    byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r') || byte == 0x7f
}

const fn is_printable(byte: u8) -> bool {
    matches!(byte, b' '..=b'~')
}

fn printable(text: &str) -> Result<&str, Wrong> {
    if text.bytes().all(is_printable) { Ok(text) } else { Err(Wrong("not ASCII that can be shown")) }
}

/// What a country's code is made of: IntelMQ's rule, by which there are more than ISO's.
fn is_of_code(byte: &u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

fn country<'a>(given: &str, out: &'a mut String) -> Result<&'a str, Wrong> {
    let code = replace(out, |out| out.push_str(&given.to_ascii_uppercase()));
    if code.len() == 2 && code.as_bytes().iter().all(is_of_code) { Ok(code) } else { Err(Wrong("not a country's code")) }
}

/// Letters and digits in groups of 8, 4, 4, 4 and 12, in lower case.
fn uuid<'a>(given: &str, out: &'a mut String) -> Result<&'a str, Wrong> {
    let is_group = |group: &str, length| group.len() == length && group.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let mut groups = given.split('-');
    let is_whole = [8, 4, 4, 4, 12].into_iter().all(|length| groups.next().is_some_and(|group| is_group(group, length)));
    if is_whole && groups.next().is_none() {
        Ok(replace(out, |out| out.push_str(&given.to_ascii_lowercase())))
    } else {
        Err(Wrong("not a UUID"))
    }
}

/// The protocols that IntelMQ's data format knows, by IANA's keywords.
const TRANSPORTS: &str = "\
    ip icmp igmp ggp ipencap st2 tcp cbt egp igp bbn-rcc nvp nvp-ii pup argus emcon xnet chaos udp mux dcn hmp prm xns-idp \
    trunk-1 trunk-2 leaf-1 leaf-2 rdp irtp iso-tp4 netblt mfe-nsp merit-inp sep 3pc idpr xtp ddp idpr-cmtp tp++ il ipv6 \
    sdrp ipv6-route ipv6-frag idrp rsvp gre mhrp bna esp ah i-nlsp swipe narp mobile tlsp skip ipv6-icmp ipv6-nonxt \
    ipv6-opts cftp sat-expak kryptolan rvd ippc sat-mon visa ipcv cpnx cphb wsn pvp br-sat-mon sun-nd wb-mon wb-expak \
    iso-ip vmtp secure-vmtp vines ttp nsfnet-igp dgp tcf eigrp ospf sprite-rpc larp mtp ax.25 ipip micp scc-sp etherip \
    encap gmtp ifmp pnni pim aris scps qnx a/n ipcomp snp compaq-peer ipx-in-ip vrrp pgm l2tp ddx iatp st srp uti smp sm \
    ptp isis fire crtp crdup sscopmce iplt sps pipe sctp fc divert";

/// Without an early way out, so that the compiler looks at many bytes together.
fn is_shown(text: &[u8]) -> bool {
    text.iter().fold(true, |all, byte| all & !is_hidden(*byte))
}

fn shown(text: &str) -> impl Iterator<Item = char> {
    text.chars().filter(|c| !c.is_ascii() || !is_hidden(*c as u8))
}

/// Free text: as it is, less NUL and its kin.
fn plain<'a>(given: &'a str, out: &'a mut String) -> &'a str {
    if is_shown(given.as_bytes()) { given } else { replace(out, |out| out.extend(shown(given))) }
}

fn one_of(given: &str, words: impl IntoIterator<Item = &'static str>, wrong: Wrong) -> Result<&'static str, Wrong> {
    words.into_iter().find(|word| word.eq_ignore_ascii_case(given)).ok_or(wrong)
}

/// An IPv4 or IPv6 address, defanged or not; an IPv4-mapped one is IPv4.
pub fn ip(given: &str) -> Result<IpAddr, Wrong> {
    const WRONG: Wrong = Wrong("not an IP address");
    if let Some(address) = ipv4(given.as_bytes()) {
        return Ok(IpAddr::V4(address));
    }
    if let Some(address) = padded_ipv4(given.as_bytes()) {
        return Ok(IpAddr::V4(address));
    }
    let text = refang(given);
    let text = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(&text);
    Ok(text.parse::<IpAddr>().map_err(|_| WRONG)?.to_canonical())
}

/// Dotted decimal without leading zeros, which has one way to be written: the standard library's rule, without a branch that depends on where the dots are.
#[inline]
pub fn ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    // How much two and three digits count, and what is the least without a zero at the start.
    const OF_DIGITS: [(u16, u16, u16); 3] = [(0, 0, 0), (10, 0, 10), (10, 100, 100)];
    if !(7..=15).contains(&text.len()) {
        return None;
    }
    let mut padded = [0; 16];
    padded[..text.len()].copy_from_slice(text);
    let digits = u8x16::new(padded) - u8x16::splat(b'0');
    let is_dot = digits.simd_eq(u8x16::splat(b'.'.wrapping_sub(b'0')));
    let is_digit = digits.simd_eq(digits.min(u8x16::splat(9)));
    if (is_dot | is_digit).to_bitmask() != (1 << text.len()) - 1 {
        return None;
    }
    // Any number is read as the three digits that end where it ends, of which those before it do not count.
    let mut places = [0; 19];
    places[3..].copy_from_slice(&digits.to_array());
    let (mut octets, mut ends, mut start) = ([0; 4], is_dot.to_bitmask() | 1 << text.len(), 0);
    for octet in &mut octets {
        let end = ends.trailing_zeros() as usize;
        let [hundreds, tens, ones] = *places.get(end..)?.first_chunk()?;
        let (ten, hundred, least) = *OF_DIGITS.get((end - start).wrapping_sub(1))?;
        let number = u16::from(hundreds) * hundred + u16::from(tens) * ten + u16::from(ones);
        if number < least {
            return None;
        }
        *octet = u8::try_from(number).ok()?;
        (ends, start) = (ends & (ends - 1), end + 1);
    }
    (ends == 0).then(|| Ipv4Addr::from(octets))
}

/// Four octets of exactly three digits, `192.000.002.001`: a fixed-width column, and so decimal. Any other leading
/// zero could be octal, and is no address.
fn padded_ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    if text.len() != 15 {
        return None;
    }
    let mut octets = [0u8; 4];
    for (octet, digits) in octets.iter_mut().zip(text.chunks(4)) {
        let number = std::str::from_utf8(digits.get(..3)?).ok()?;
        if digits.get(3).is_some_and(|dot| *dot != b'.') || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *octet = number.parse().ok()?;
    }
    Some(Ipv4Addr::from(octets))
}

/// A network in CIDR form, its host bits cleared; an address alone is a network of one.
pub fn network(given: &str) -> Result<ipnet::IpNet, Wrong> {
    const WRONG: Wrong = Wrong("not a network");
    let text = refang(given);
    match text.split_once('/') {
        Some((address, prefix)) => {
            let address = ip(address.trim()).map_err(|_| WRONG)?;
            let network = match ip(prefix.trim()) {
                Ok(mask) => ipnet::IpNet::with_netmask(address, mask).map_err(|_| WRONG)?,
                Err(_) => ipnet::IpNet::new(address, prefix.trim().parse().map_err(|_| WRONG)?).map_err(|_| WRONG)?,
            };
            Ok(network.trunc())
        }
        None => Ok(ip(&text).map_err(|_| WRONG)?.into()),
    }
}

/// Undoes what people do to keep an indicator from being clicked: `hxxp`, `[.]`, `(.)`, `{.}`, `[:]`, `[dot]`.
pub fn refang(given: &str) -> Cow<'_, str> {
    let bracketed = given.bytes().any(|byte| matches!(byte, b'[' | b'(' | b'{'));
    let mut text = Cow::Borrowed(given);
    if bracketed {
        const PAIRS: [(&str, &str); 16] = [
            ("[.]", "."),
            ("(.)", "."),
            ("{.}", "."),
            ("[.", "."),
            (".]", "."),
            ("[dot]", "."),
            ("(dot)", "."),
            ("{dot}", "."),
            ("[DOT]", "."),
            ("(DOT)", "."),
            ("{DOT}", "."),
            ("[:]", ":"),
            ("[://]", "://"),
            ("[:", ":"),
            ("[/]", "/"),
            ("[@]", "@"),
        ];
        // An IPv6 literal's brackets are its own.
        let literal = given.contains("[:") && given.contains(':') && given.matches(':').count() > 2;
        // What was undone may lie in brackets itself.
        for pass in 0.. {
            let before = text.len();
            for (fanged, plain) in PAIRS {
                if text.contains(fanged) && !(literal && fanged == "[:") {
                    text = Cow::Owned(text.replace(fanged, plain));
                }
            }
            match text.len() == before {
                true => break,
                false if pass == MOST_BRACKETS => return Cow::Borrowed(given),
                false => {}
            }
        }
    }
    match fanged_scheme(&text) {
        true => Cow::Owned(format!("http{}", text.get(4..).unwrap_or_default())),
        false => text,
    }
}

/// Brackets around brackets; what lies in more was not written by people, and stays as it is.
const MOST_BRACKETS: usize = 8;

/// `hxxp:`, `hXXps:` and their kin; a host name may well begin with the same letters.
fn fanged_scheme(text: &str) -> bool {
    let lower = text.as_bytes().get(..6).unwrap_or_default().to_ascii_lowercase();
    let rest = ["hxxp", "hxtp", "htxp"].iter().find_map(|fanged| lower.strip_prefix(fanged.as_bytes()));
    rest.is_some_and(|rest| rest.starts_with(b":") || rest.starts_with(b"s:"))
}

/// A host name in A-labels, lower case, without the root's dot. Underscores are let pass: real names have them.
fn fqdn<'a>(given: &'a str, out: &'a mut String) -> Result<&'a str, Wrong> {
    const WRONG: Wrong = Wrong("not a host name");
    let text = refang(given.trim());
    let text = text.strip_suffix('.').unwrap_or(&text);
    if text.contains([':', '/', '@', ' ']) || ip(text).is_ok() {
        return Err(WRONG);
    }
    let name = idna::domain_to_ascii(text).map_err(|_| WRONG)?;
    if !is_canonical_name(name.as_bytes()) {
        return Err(WRONG);
    }
    Ok(replace(out, |out| out.push_str(&name)))
}

/// At least two labels of lower-case letters, digits, `-` and `_`, the last one no number.
fn is_canonical_name(name: &[u8]) -> bool {
    if name.len() <= Chunk::LENGTH {
        return begins_with_name(&Chunk::of(name), name.len());
    }
    let labels = || name.split(|byte| *byte == b'.');
    name.len() <= 253 && labels().all(is_label) && !labels().next_back().unwrap_or_default().iter().all(u8::is_ascii_digit)
}

fn is_label(label: &[u8]) -> bool {
    let ends = [label.first(), label.last()];
    let is_in_name = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
    (1..=63).contains(&label.len()) && !ends.contains(&Some(&b'-')) && label.iter().all(is_in_name)
}

/// The same of the first bytes of a chunk, by masks.
#[inline]
fn begins_with_name(chunk: &Chunk, length: usize) -> bool {
    let name = chunk::first(length);
    let is_word = |bytes| among(bytes, b'a'..=b'z') | is(bytes, b'_') | is(bytes, b'-');
    let dots = chunk.places(|bytes| is(bytes, b'.')) & name;
    let ends = chunk.places(|bytes| is(bytes, b'.') | is(bytes, b'-'));
    let words = chunk.places(is_word) & name;
    let all = chunk.places(|bytes| is_word(bytes) | among(bytes, b'0'..=b'9') | is(bytes, b'.'));
    let ends_of_labels = dots << 1 | 1 | dots >> 1 | name & !(name >> 1);
    // Of two masks the one whose last bit comes later is the greater: behind the last dot there is more than digits.
    dots != 0 && words > dots && all & name == name && ends & name & ends_of_labels == 0
}

/// A URL as the URL standard writes it; `http` where no scheme is stated. What only that shows to be defanged, such as a host with
/// brackets from other alphabets, is undone as well.
fn url<'a>(given: &'a str, out: &'a mut String) -> Result<&'a str, Wrong> {
    let mut written = as_the_standard_has_it(given)?;
    for _ in 0..MOST_BRACKETS {
        let Cow::Owned(plain) = refang_url(&written) else { break };
        written = as_the_standard_has_it(&plain)?;
    }
    Ok(replace(out, |out| out.push_str(&written)))
}

fn as_the_standard_has_it(given: &str) -> Result<String, Wrong> {
    const WRONG: Wrong = Wrong("not a URL");
    if given.len() > LONGEST_TEXT {
        return Err(Wrong("longer than 64 KiB"));
    }
    // The standard passes over these; told apart, a scheme would not be what it was.
    let given = given.trim_matches(|c: char| c <= ' ' || c.is_whitespace());
    let broken = || given.chars().filter(|c| !matches!(c, '\t' | '\n' | '\r')).collect::<String>();
    let given = if given.contains(['\t', '\n', '\r']) { Cow::Owned(broken()) } else { Cow::Borrowed(given) };
    let text = refang_url(&given);
    let parsed = match url::Url::parse(&text) {
        Ok(parsed) if parsed.has_host() || text.contains("://") => parsed,
        // `example.com:8080/login` has no scheme, though it looks as if it had: schemes have no dots.
        Ok(parsed) if !parsed.scheme().contains('.') => return Err(WRONG),
        // A path on a host that is not said; `//example.com/login` says it.
        Err(url::ParseError::RelativeUrlWithoutBase) if text.starts_with('/') && !text.starts_with("//") => return Err(WRONG),
        Ok(_) | Err(url::ParseError::RelativeUrlWithoutBase) => {
            let bare = text.trim_start_matches('/');
            // Without a scheme a host comes first, and no address of mail or sentence.
            let host = bare.split(['/', '?', '#']).next().unwrap_or_default();
            if host.contains(|c: char| c == '@' || c.is_whitespace()) {
                return Err(WRONG);
            }
            url::Url::parse(&format!("http://{bare}")).map_err(|_| WRONG)?
        }
        Err(_) => return Err(WRONG),
    };
    let host = parsed.host_str().unwrap_or_default();
    if host.is_empty() || !(host.contains('.') || host.contains(':')) {
        return Err(WRONG);
    }
    let mut written = String::new();
    write_url(&mut written, &parsed, &text);
    Ok(written)
}

/// Whether a URL is written already as [`write_url`] would: nearly all are, and reading one by the standard's rules
/// costs as much as the rest of its row.
fn is_canonical_url(given: &[u8]) -> bool {
    let Some(rest) = given.strip_prefix(b"http://").or_else(|| given.strip_prefix(b"https://")) else { return false };
    let chunk = Chunk::of(rest);
    let slash = match chunk.places(|bytes| is(bytes, b'/')) {
        0 => rest.iter().position(|byte| *byte == b'/'),
        slashes => Some(slashes.trailing_zeros() as usize),
    };
    let Some(slash) = slash else { return false };
    // No port and nobody's name: these have rules of their own.
    let (host, tail) = rest.split_at(slash);
    let is_name = if slash < Chunk::LENGTH { begins_with_name(&chunk, slash) } else { is_canonical_name(host) };
    // Labels that begin with `xn--` may not be what they say.
    let is_punycode = || host.contains(&b'-') && host.windows(4).any(|part| part == b"xn--");
    let plain = is_name && !is_punycode() || ipv4(host).is_some();
    plain && all_are(URL, tail)
}

/// Scheme and host as the standard writes them; path and query as they were said, since `/.%2e/.%2e/bin/sh`
/// says more to its owner than `/bin/sh`.
fn write_url(out: &mut String, parsed: &url::Url, given: &str) {
    out.push_str(&parsed[..url::Position::BeforePath]);
    // The standard takes any number of strokes, of either sort, for the two before the host.
    let after_scheme =
        given.split_once(':').filter(|(scheme, _)| scheme.eq_ignore_ascii_case(parsed.scheme())).map_or(given, |(_, rest)| rest);
    let tail = after_scheme.trim_start_matches(['/', '\\']);
    let tail = tail.find(['/', '?', '#', '\\']).and_then(|place| tail.get(place..)).unwrap_or_default();
    if !tail.starts_with('/') {
        out.push('/');
    }
    for c in tail.strip_prefix('\\').unwrap_or(tail).chars() {
        match c {
            c if c.is_ascii() && all_are(URL, &[c as u8]) => out.push(c),
            _ => c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| {
                write!(out, "%{byte:02X}").expect("a string takes any text");
            }),
        }
    }
}

/// Defanging is undone in scheme and host only: a path may well hold `[.]`.
fn refang_url(given: &str) -> Cow<'_, str> {
    let scheme = given.find([':', '/', '?', '#', '\\']).filter(|end| given.get(*end..).is_some_and(|rest| rest.starts_with(':')));
    let after_scheme = scheme.and_then(|end| given.get(end + 1..)).unwrap_or(given);
    let host = after_scheme.trim_start_matches([']', '/', '\\']);
    let tail = host.find(['/', '?', '#', '\\']).and_then(|end| host.get(end..)).unwrap_or_default();
    let head = given.strip_suffix(tail).unwrap_or(given);
    match refang(head) {
        Cow::Borrowed(_) => Cow::Borrowed(given),
        Cow::Owned(head) => Cow::Owned(head + tail),
    }
}

/// The host of a canonical URL, if it is a name.
pub fn url_host(canonical: &str) -> Option<&str> {
    let rest = canonical.split_once("://")?.1;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if host.starts_with('[') {
        return host.split_once(']').and_then(|(address, _)| address.strip_prefix('['));
    }
    Some(host.split_once(':').map_or(host, |(host, _)| host))
}

fn hash<'a>(given: &'a str, digits: usize, out: &'a mut String) -> Result<&'a str, Wrong> {
    let wrong = Wrong(match digits {
        32 => "not an MD5 hash",
        40 => "not a SHA-1 hash",
        _ => "not a SHA-256 hash",
    });
    let text = given.trim();
    if text.len() != digits || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(wrong);
    }
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Ok(replace(out, |out| out.push_str(&text.to_ascii_lowercase())));
    }
    Ok(text)
}

/// Nine digits at most and nothing else, which most numbers are, at a fraction of the general rule's cost.
#[inline]
fn digits(text: &str) -> Option<u32> {
    if text.is_empty() || text.len() > 9 {
        return None;
    }
    text.bytes().try_fold(0, |number, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then(|| number * 10 + u32::from(digit))
    })
}

/// A whole number, as it is written by people and by spreadsheets (`42`, `+42`, `42.0`).
#[inline]
pub fn integer(given: &str) -> Result<i64, Wrong> {
    match digits(given) {
        Some(number) => Ok(number.into()),
        None => long_integer(given),
    }
}

fn long_integer(given: &str) -> Result<i64, Wrong> {
    let text = given.trim();
    text.strip_suffix(".0").unwrap_or(text).parse().map_err(|_| Wrong("not a whole number"))
}

#[inline]
pub fn port(given: &str) -> Result<i32, Wrong> {
    integer(given).ok().and_then(|port| u16::try_from(port).ok()).map(i32::from).ok_or(Wrong("not a port"))
}

/// `64496`, `AS64496` or `1.10` (RFC 5396's asdot).
#[inline]
pub fn asn(given: &str) -> Result<i64, Wrong> {
    const WRONG: Wrong = Wrong("not an AS number");
    let number = match digits(given) {
        Some(number) => number,
        None => long_asn(given).ok_or(WRONG)?,
    };
    // 0 is reserved (RFC 7607): sources write it for "unknown".
    if number == 0 { Err(WRONG) } else { Ok(number.into()) }
}

fn long_asn(given: &str) -> Option<u32> {
    let text = given.trim();
    let digits = match text.as_bytes() {
        [b'A' | b'a', b'S' | b's', ..] => text.get(2..).unwrap_or_default().trim_start(),
        _ => text,
    };
    match digits.split_once('.') {
        Some((high, "0")) if high.len() > 3 => high.parse().ok(),
        Some((high, low)) => {
            let (high, low): (u16, u16) = (high.parse().ok()?, low.parse().ok()?);
            Some(u32::from(high) << 16 | u32::from(low))
        }
        None => digits.parse().ok(),
    }
}

pub fn float(given: &str) -> Result<f64, Wrong> {
    given.trim().parse().ok().filter(|number: &f64| number.is_finite()).ok_or(Wrong("not a number"))
}

pub fn percent(given: &str) -> Result<f64, Wrong> {
    float(given.trim().trim_end_matches('%')).ok().filter(|n| (0.0..=100.0).contains(n)).ok_or(Wrong("not a percentage"))
}

pub fn boolean(given: &str) -> Result<bool, Wrong> {
    const YES: [&str; 5] = ["true", "1", "yes", "y", "enabled"];
    const NO: [&str; 5] = ["false", "0", "no", "n", "disabled"];
    let is = |words: [&str; 5]| words.iter().any(|word| word.eq_ignore_ascii_case(given));
    match () {
        () if is(YES) => Ok(true),
        () if is(NO) => Ok(false),
        () => Err(Wrong("neither true nor false")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(field: Field, pairs: &[(&str, &str)]) {
        for (given, expected) in pairs {
            let mut out = String::new();
            let found = text(field, given, &mut out).unwrap_or_else(|wrong| wrong.0);
            assert_eq!(found, *expected, "{field} of {given:?}");
        }
    }

    #[test]
    fn addresses_have_one_form() {
        check(
            Field::SOURCE_IP,
            &[
                ("192.0.2.1", "192.0.2.1"),
                ("192.0.2[.]1", "192.0.2.1"),
                ("2001:DB8:0:0::1", "2001:db8::1"),
                ("[2001:db8::1]", "2001:db8::1"),
                ("::ffff:192.0.2.1", "192.0.2.1"),
                ("192.000.002.001", "192.0.2.1"),
                ("192.0.2.01", "not an IP address"),
                ("192.0.2", "not an IP address"),
                ("192.0.2.1/32", "not an IP address"),
                ("example.com", "not an IP address"),
            ],
        );
    }

    /// Many texts that are nearly right: the letters of `from` in any order that a number can say.
    fn texts(from: &[u8]) -> impl Iterator<Item = Vec<u8>> {
        (0..200_000_u64).map(|seed| {
            let mut number = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
            let mut next = || {
                number ^= number << 13;
                number ^= number >> 7;
                number ^= number << 17;
                number as usize
            };
            (0..next() % 18).map(|_| from[next() % from.len()]).collect()
        })
    }

    #[test]
    fn an_ipv4_address_is_what_the_standard_library_says() {
        let octets: Vec<String> = (0..=300).map(|number| number.to_string()).chain(["", "00", "01", "1000"].map(str::to_owned)).collect();
        let at_each_place =
            |octet: &String| [format!("{octet}.7.7.7"), format!("7.{octet}.7.7"), format!("7.7.{octet}.7"), format!("7.7.7.{octet}")];
        let whole = octets.iter().flat_map(at_each_place);
        let nearly = texts(b"0125.99..1").map(|text| String::from_utf8(text).expect("ASCII"));
        let mut addresses = 0;
        for text in whole.chain(nearly) {
            let expected = text.parse::<Ipv4Addr>().ok();
            addresses += usize::from(expected.is_some());
            assert_eq!(ipv4(text.as_bytes()), expected, "{text:?}");
        }
        assert!(addresses > 1500, "{addresses}");
    }

    /// What [`is_canonical_name`] says, a byte after the other.
    fn is_name(name: &[u8]) -> bool {
        let (mut length, mut labels, mut digits_only, mut last) = (0, 1, true, b'.');
        for &byte in name {
            match byte {
                b'.' if length > 0 && last != b'-' => (length, labels, digits_only) = (0, labels + 1, true),
                b'-' if length > 0 => (length, digits_only) = (length + 1, false),
                b'a'..=b'z' | b'_' => (length, digits_only) = (length + 1, false),
                b'0'..=b'9' => length += 1,
                _ => return false,
            }
            last = byte;
            if length > 63 {
                return false;
            }
        }
        name.len() <= 253 && labels > 1 && length > 0 && last != b'-' && !digits_only
    }

    #[test]
    fn a_name_by_masks_is_one_byte_by_byte() {
        let mut names = 0;
        for (number, text) in texts(b"ab9-._x.Z0").enumerate() {
            // Some stand behind so much that they end where a chunk does, or are too long for one.
            let long = [&b"a".repeat(number % 5), b"label.".repeat(number % 16).as_slice(), &text].concat();
            for name in [text, long, b"a".repeat(number % 70)] {
                let found = is_canonical_name(&name);
                names += usize::from(found);
                assert_eq!(found, is_name(&name), "{:?}", String::from_utf8_lossy(&name));
            }
        }
        assert!(names > 10_000, "{names}");
    }

    #[test]
    fn networks_lose_their_host_bits() {
        check(
            Field::SOURCE_NETWORK,
            &[
                ("192.0.2.77/24", "192.0.2.0/24"),
                ("192.0.2.77", "192.0.2.77/32"),
                ("2001:db8::1/32", "2001:db8::/32"),
                ("192.0.2.0/255.255.255.0", "192.0.2.0/24"),
                ("192.0.2.0/33", "not a network"),
            ],
        );
    }

    #[test]
    fn host_names_are_written_in_a_labels() {
        check(
            Field::SOURCE_FQDN,
            &[
                ("example.com", "example.com"),
                ("EXAMPLE.com.", "example.com"),
                ("www[.]example[.]com", "www.example.com"),
                ("bücher.example", "xn--bcher-kva.example"),
                ("政府.香港", "xn--mxtq1m.xn--j6w193g"),
                ("_dmarc.example.com", "_dmarc.example.com"),
                ("localhost", "not a host name"),
                ("192.0.2.1", "not a host name"),
                ("example.com:80", "not a host name"),
                ("-a.example", "not a host name"),
            ],
        );
    }

    #[test]
    fn urls_are_written_as_the_standard_has_them() {
        check(
            Field::SOURCE_URL,
            &[
                ("http://Example.COM:80/a b", "http://example.com/a%20b"),
                ("hxxps://example[.]com/x[.]php", "https://example.com/x[.]php"),
                ("hxxp[://]192.0.2.1/bin", "http://192.0.2.1/bin"),
                ("example.com/login", "http://example.com/login"),
                ("example.com:8080/login", "http://example.com:8080/login"),
                ("http://[2001:db8::1]:8080/", "http://[2001:db8::1]:8080/"),
                ("http://bücher.example/", "http://xn--bcher-kva.example/"),
                ("ftp://example.com/f", "ftp://example.com/f"),
                ("https://example.com?id=1", "https://example.com/?id=1"),
                ("http://example.com/cgi-bin/.%2e/.%2e/bin/sh", "http://example.com/cgi-bin/.%2e/.%2e/bin/sh"),
                ("http://example.com/香港", "http://example.com/%E9%A6%99%E6%B8%AF"),
                ("mailto:someone@example.com", "not a URL"),
                ("http://", "not a URL"),
                ("nonsense", "not a URL"),
                ("someone@example.com", "not a URL"),
                ("seen at example.com/login", "not a URL"),
                ("example.com/~a@b c", "http://example.com/~a@b%20c"),
                ("/index.php?id=1", "not a URL"),
                ("//example.com/login", "http://example.com/login"),
                ("http:/example.com/login?u=http://foo.example/x", "http://example.com/login?u=http://foo.example/x"),
                ("hxxp:\\\\example[.]com\\a", "http://example.com/a"),
                ("\u{10}hxxp://example[.]com/a\u{1}", "http://example.com/a"),
                ("ht\ntp://example.com/a\tb", "http://example.com/ab"),
                ("HTTP://example.com", "http://example.com/"),
                ("https:/user(.)name@example[.]com/a[.]b", "https://user.name@example.com/a[.]b"),
                ("hxxp://a({.})example[.]com/", "http://a.example.com/"),
                ("hxxp://example([.])com?q=[.]", "http://example.com/?q=[.]"),
                ("hxxp://example[DOT]com/", "http://example.com/"),
                ("http://a.example（dOt）com/", "http://a.example.com/"),
            ],
        );
    }

    #[test]
    fn words_and_limits() {
        let no_code = "not a country's code";
        check(
            Field::SOURCE_GEOLOCATION_CC,
            &[("hk", "HK"), ("A1", "A1"), ("HKG", no_code), ("D", no_code), ("--", no_code), ("é", no_code)],
        );
        let no_protocol = "not a transport protocol";
        check(Field::PROTOCOL_TRANSPORT, &[("TCP", "tcp"), ("ipv6-icmp", "ipv6-icmp"), ("6", no_protocol), ("unknown", no_protocol)]);
        check(Field::MALWARE_NAME, &[("Win.Mirai", "win.mirai"), ("übel", "not ASCII that can be shown"), ("a\0b", "ab")]);
        check(Field::MALWARE_VERSION, &[("1.0 Beta", "1.0 Beta"), ("β", "not ASCII that can be shown")]);
        check(
            Field::MISP_EVENT_UUID,
            &[
                ("5A1B2C3D-0000-4000-8000-0123456789AB", "5a1b2c3d-0000-4000-8000-0123456789ab"),
                ("5a1b2c3d-0000-4000-8000-0123456789a", "not a UUID"),
                ("5a1b2c3d-0000-4000-8000-0123456789ab-", "not a UUID"),
            ],
        );
        check(Field::MALWARE_NAME, &[("Mirai", "mirai"), ("a\0b", "ab"), ("A\0B", "ab")]);
        check(Field::PRODUCT_NAME, &[("É\0", "é")]);
        check(
            Field::MALWARE_HASH_MD5,
            &[("D41D8CD98F00B204E9800998ECF8427E", "d41d8cd98f00b204e9800998ecf8427e"), ("d41d8", "not an MD5 hash")],
        );
        check(
            Field::CLASSIFICATION_TYPE,
            &[("c2-server", "c2-server"), ("blocklist", "blacklist"), ("nonsense", "not a classification type")],
        );
        check(Field::TLP, &[("TLP:WHITE", "clear"), ("amber+strict", "amber+strict"), ("puce", "not a TLP label")]);
    }

    #[test]
    fn numbers() {
        assert_eq!(asn("AS64496"), Ok(64496));
        assert_eq!(asn("1.10"), Ok(65546));
        assert_eq!(asn("64496.0"), Ok(64496));
        assert_eq!(asn("0"), Err(Wrong("not an AS number")));
        assert_eq!(asn("4294967296"), Err(Wrong("not an AS number")));
        assert_eq!(port("443"), Ok(443));
        assert_eq!(port("65536"), Err(Wrong("not a port")));
        assert_eq!(percent("95%"), Ok(95.0));
        assert_eq!(boolean("Enabled"), Ok(true));
        assert_eq!(float("nan"), Err(Wrong("not a number")));
    }

    #[test]
    fn the_host_of_a_url() {
        assert_eq!(url_host("http://user:pass@example.com:8080/x@y"), Some("example.com"));
        assert_eq!(url_host("http://[2001:db8::1]:80/"), Some("2001:db8::1"));
    }
}
