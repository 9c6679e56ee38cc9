//! Host names: taken from a URL where a row has no other, and their public suffix.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringArray, StringBuilder};
use arrow::compute::is_not_null;
use event::{Field, value};

use crate::domain::public_suffix;
use crate::draft::Draft;
use crate::side::Side;

/// Who a URL speaks to.
#[derive(Debug, PartialEq)]
pub(crate) enum Host<'a> {
    Name(&'a str),
    Address(&'a str),
}

impl<'a> Host<'a> {
    /// The host of a canonical URL; `out` may be overwritten.
    pub(crate) fn of(url: &'a str, out: &'a mut String) -> Option<Host<'a>> {
        let host = value::url_host(url)?;
        // Few names end in a digit, so that most are not tried as an address first.
        if (host.ends_with(|end: char| end.is_ascii_digit()) || host.contains(':')) && value::ip(host).is_ok() {
            return value::text(Field::SOURCE_IP, host, out).ok().map(Host::Address);
        }
        value::text(Field::SOURCE_FQDN, host, out).ok().map(Host::Name)
    }
}

/// Fills host name and address from the URL, and the public suffix from the host name.
pub(crate) fn fill(side: &Side, draft: &mut Draft<'_>) {
    if let Some(urls) = draft.text(side.url) {
        let (names, addresses) = hosts(urls, [draft.text(side.fqdn), draft.text(side.ip)]);
        draft.fill(side.fqdn, names);
        draft.fill(side.ip, addresses);
    }
    if let Some(names) = draft.text(side.fqdn) {
        let suffixes = suffixes(names);
        let known = is_not_null(&suffixes).expect("every array tells its nulls");
        draft.replace(side.domain_suffix, &known, suffixes);
    }
}

/// Names and addresses out of URLs, where a row does not state both itself.
fn hosts(urls: &StringArray, stated: [Option<&StringArray>; 2]) -> (ArrayRef, ArrayRef) {
    let states_both = |row: usize| stated.iter().all(|column| column.is_some_and(|column| column.is_valid(row)));
    let mut names = StringBuilder::with_capacity(urls.len(), urls.len() * 16);
    let mut addresses = StringBuilder::with_capacity(urls.len(), 0);
    let mut out = String::new();
    for (row, url) in urls.iter().enumerate() {
        let host = url.filter(|_| !states_both(row)).and_then(|url| Host::of(url, &mut out));
        let (name, address) = match host {
            Some(Host::Name(name)) => (Some(name), None),
            Some(Host::Address(address)) => (None, Some(address)),
            None => (None, None),
        };
        names.append_option(name);
        addresses.append_option(address);
    }
    (Arc::new(names.finish()), Arc::new(addresses.finish()))
}

fn suffixes(names: &StringArray) -> ArrayRef {
    let mut suffixes = StringBuilder::with_capacity(names.len(), names.len() * 4);
    // Feeds list many paths of one host in a row.
    let mut last = ("", None);
    for name in names {
        let Some(name) = name else {
            suffixes.append_null();
            continue;
        };
        if name != last.0 {
            last = (name, public_suffix(name));
        }
        suffixes.append_option(last.1);
    }
    Arc::new(suffixes.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, expected: Option<Host<'_>>) {
        assert_eq!(Host::of(url, &mut String::new()), expected, "{url}");
    }

    #[test]
    fn hosts_are_names_or_addresses() {
        check("http://example.com/x@y", Some(Host::Name("example.com")));
        check("https://user@EXAMPLE.com:8080/", Some(Host::Name("example.com")));
        check("http://192.0.2.1:80/bin", Some(Host::Address("192.0.2.1")));
        check("http://[2001:db8::1]:80/", Some(Host::Address("2001:db8::1")));
        check("http://example.x1/", Some(Host::Name("example.x1")));
        check("http://localhost/", None);
        check("mailto:someone", None);
    }
}
