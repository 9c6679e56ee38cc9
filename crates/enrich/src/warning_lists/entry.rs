//! An entry in the form in which values are at rest: a list may have capitals, U-labels, addresses written at length.

use std::borrow::Cow;

use event::{Field, value};
use ipnet::{IpNet, Ipv4Net};

const NOT_A_NAME: &str = "not a host name";
const NOT_A_NETWORK: &str = "not a network";

/// Of a list of whole values: what the entry looks like says what it is. One that is nothing of ours stays as it is.
///
/// A number is that of a system only where the list is about them.
pub(super) fn text(given: &str, about_systems: bool) -> Cow<'_, str> {
    if is_name(given) {
        return Cow::Borrowed(given);
    }
    if about_systems && let Ok(number) = value::asn(given) {
        return Cow::Owned(number.to_string());
    }
    match () {
        () if given.contains("://") => url(given),
        () if given.contains('@') => Cow::Owned(given.to_lowercase()),
        () if given.contains('/') => network(given).map_or(Cow::Borrowed(given), |network| Cow::Owned(network.to_string())),
        // It is no name's, as it has nothing before it: a list of whole values that has it means something else.
        () if given.starts_with('.') => Cow::Borrowed(given),
        () => name(given).unwrap_or(Cow::Borrowed(given)),
    }
}

fn url(given: &str) -> Cow<'_, str> {
    let mut out = String::new();
    value::text(Field::SOURCE_URL, given, &mut out).map_or(Cow::Borrowed(given), |url| Cow::Owned(url.to_owned()))
}

/// Of a list of host names: in A-labels and lower case, with one dot at the start if it had any. Names that no event can have,
/// of one label or with a dash at the start, are none the less what others may be below.
pub(super) fn name(given: &str) -> Result<Cow<'_, str>, String> {
    if is_name(given) {
        return Ok(Cow::Borrowed(given));
    }
    if let Ok(address) = value::ip(given) {
        return Ok(Cow::Owned(address.to_string()));
    }
    let name = idna::domain_to_ascii(given.trim_matches('.')).map_err(|_| NOT_A_NAME)?;
    let is_in_name = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
    if name.is_empty() || !name.bytes().all(is_in_name) {
        return Err(NOT_A_NAME.to_owned());
    }
    Ok(Cow::Owned(if given.starts_with('.') { format!(".{name}") } else { name }))
}

/// Most entries of most lists of names, which are millions.
fn is_name(given: &str) -> bool {
    value::is_canonical(Field::SOURCE_FQDN, given.as_bytes())
}

/// Of a list of substrings: in small letters, and where it has letters beyond ASCII also with its labels as host names have them, as
/// it may be part of a name.
pub(super) fn parts(given: &str) -> impl Iterator<Item = String> {
    let labels = || given.split('.').map(|label| if label.is_empty() { Ok(String::new()) } else { idna::domain_to_ascii(label) });
    let as_name = (!given.is_ascii()).then(|| labels().collect::<Result<Vec<_>, _>>().ok()).flatten();
    [Some(given.to_ascii_lowercase()), as_name.map(|labels| labels.join("."))].into_iter().flatten()
}

/// Of a list of networks: an address is a network of one. One with bits beyond its prefix may be meant as either.
///
/// IPv4 that is written as IPv6 is IPv4, as it is everywhere.
pub(super) fn network(given: &str) -> Result<IpNet, String> {
    if let Ok(IpNet::V6(mapped)) = given.parse::<IpNet>()
        && let (Some(address), Some(prefix)) = (mapped.addr().to_ipv4_mapped(), mapped.prefix_len().checked_sub(96))
    {
        return whole(IpNet::V4(Ipv4Net::new(address, prefix).map_err(|_| NOT_A_NETWORK)?));
    }
    let network = value::network(given).map_err(|wrong| wrong.0)?;
    let written = given.split('/').next().and_then(|address| value::ip(address.trim()).ok());
    whole(IpNet::new(written.unwrap_or(network.addr()), network.prefix_len()).map_err(|_| NOT_A_NETWORK)?)
}

fn whole(network: IpNet) -> Result<IpNet, String> {
    if network.trunc() == network { Ok(network) } else { Err("an address with a prefix, not a network".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_text(given: &str, expected: &str) {
        assert_eq!(text(given, false), expected, "{given}");
    }

    #[test]
    fn whole_values_are_as_they_are_at_rest() {
        check_text("example.com", "example.com");
        check_text("EXAMPLE.com.", "example.com");
        check_text("bücher.example", "xn--bcher-kva.example");
        check_text("AAA", "aaa");
        check_text(".example.com", ".example.com");
        check_text("2001:DB8::1", "2001:db8::1");
        check_text("2001:DB8::/32", "2001:db8::/32");
        check_text("http://Example.com/A", "http://example.com/A");
        check_text("D41D8CD98F00B204E9800998ECF8427E", "d41d8cd98f00b204e9800998ecf8427e");
        check_text("Someone@Example.com", "someone@example.com");
        check_text("Some Words", "Some Words");
        assert_eq!(text("AS64496", true), "64496");
        assert_eq!(text("64496", true), "64496");
    }

    #[track_caller]
    fn check_name(given: &str, expected: &str) {
        assert_eq!(name(given).as_deref().map_err(String::as_str), if expected.is_empty() { Err(NOT_A_NAME) } else { Ok(expected) });
    }

    #[test]
    fn names_are_in_a_labels() {
        check_name("example.com", "example.com");
        check_name("..Example.COM.", ".example.com");
        check_name(".bücher.example", ".xn--bcher-kva.example");
        check_name("香港", "xn--j6w193g");
        check_name("com", "com");
        check_name("-a_b.example", "-a_b.example");
        check_name("192.0.2.1", "192.0.2.1");
        check_name("2001:DB8::1", "2001:db8::1");
        check_name("a b.example", "");
        check_name("...", "");
    }

    #[test]
    fn a_substring_may_be_part_of_a_name() {
        assert_eq!(parts("/Example").collect::<Vec<_>>(), ["/example"]);
        assert_eq!(parts(".bücher.").collect::<Vec<_>>(), [".bücher.", ".xn--bcher-kva."]);
    }

    #[track_caller]
    fn check_network(given: &str, expected: Result<&str, &str>) {
        let found = network(given).map(|network| network.to_string());
        assert_eq!(found.as_deref().map_err(String::as_str), expected, "{given}");
    }

    #[test]
    fn networks_are_whole() {
        const HAS_BITS: Result<&str, &str> = Err("an address with a prefix, not a network");
        check_network("192.0.2.0/24", Ok("192.0.2.0/24"));
        check_network("192.0.2.0/255.255.255.0", Ok("192.0.2.0/24"));
        check_network("192.0.2.1", Ok("192.0.2.1/32"));
        check_network("2001:DB8::/32", Ok("2001:db8::/32"));
        check_network("::ffff:192.0.2.1", Ok("192.0.2.1/32"));
        check_network("::ffff:192.0.2.0/120", Ok("192.0.2.0/24"));
        check_network("::ffff:0:0/96", Ok("0.0.0.0/0"));
        check_network("::/0", Ok("::/0"));
        check_network("192.0.2.1/24", HAS_BITS);
        check_network("::ffff:192.0.2.1/120", HAS_BITS);
        check_network("192.0.2.0/33", Err(NOT_A_NETWORK));
        check_network("example.com", Err(NOT_A_NETWORK));
    }
}
