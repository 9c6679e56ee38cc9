//! Which properties of which objects name a thing that somebody can look for, and how paths to them are written.

use std::borrow::Cow;

use super::pattern::{Path, Step};

/// What a property is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It names a thing.
    Thing,
    /// So it does, and it is an address, to which ports and protocols belong.
    Address(Side),
    /// It names a thing by a reference: in a pattern. In an object, the one that is referred to speaks for itself.
    Linked,
    /// It says more of an address.
    Port(Side),
    Protocol,
    /// The type of the object that a reference leads to.
    Kind(Side),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Source,
    Destination,
}

/// The key of any hash.
pub(super) const HASH: &str = "*";
/// Any of a list.
pub(super) const EACH: &str = "[*]";

/// Type, property step by step, role. All else that has a `value`, a type of somebody's own, is named by that.
pub(super) const KNOWN: &[(&str, &[&str], Role)] = {
    use Role::{Address, Kind, Linked, Port, Protocol, Thing};
    use Side::{Destination, Source};
    &[
        ("artifact", &["hashes", HASH], Thing),
        ("artifact", &["url"], Thing),
        ("autonomous-system", &["number"], Thing),
        ("directory", &["path"], Thing),
        ("domain-name", &["value"], Address(Destination)),
        ("domain-name", &["resolves_to_refs", EACH, "value"], Linked),
        ("email-addr", &["value"], Thing),
        ("email-message", &["from_ref", "value"], Thing),
        ("email-message", &["sender_ref", "value"], Thing),
        ("email-message", &["to_refs", EACH, "value"], Thing),
        ("email-message", &["subject"], Thing),
        ("email-message", &["message_id"], Thing),
        ("file", &["hashes", HASH], Thing),
        ("file", &["name"], Thing),
        ("file", &["parent_directory_ref", "path"], Linked),
        ("hostname", &["value"], Address(Destination)),
        ("ipv4-addr", &["value"], Address(Destination)),
        ("ipv4-addr", &["belongs_to_refs", EACH, "number"], Linked),
        ("ipv4-addr", &["resolves_to_refs", EACH, "value"], Linked),
        ("ipv6-addr", &["value"], Address(Destination)),
        ("ipv6-addr", &["belongs_to_refs", EACH, "number"], Linked),
        ("ipv6-addr", &["resolves_to_refs", EACH, "value"], Linked),
        ("mac-addr", &["value"], Thing),
        ("mutex", &["name"], Thing),
        ("network-traffic", &["src_ref", "value"], Address(Source)),
        ("network-traffic", &["dst_ref", "value"], Address(Destination)),
        ("network-traffic", &["src_ref", "type"], Kind(Source)),
        ("network-traffic", &["dst_ref", "type"], Kind(Destination)),
        ("network-traffic", &["src_port"], Port(Source)),
        ("network-traffic", &["dst_port"], Port(Destination)),
        ("network-traffic", &["protocols", EACH], Protocol),
        ("network-traffic", &["extensions", "http-request-ext", "request_value"], Thing),
        ("network-traffic", &["extensions", "http-request-ext", "request_header", "Host"], Thing),
        ("network-traffic", &["extensions", "http-request-ext", "request_header", "User-Agent"], Thing),
        ("process", &["command_line"], Thing),
        ("process", &["name"], Thing),
        ("process", &["image_ref", "hashes", HASH], Linked),
        ("process", &["image_ref", "name"], Linked),
        ("process", &["binary_ref", "hashes", HASH], Linked),
        ("process", &["binary_ref", "name"], Linked),
        ("software", &["cpe"], Thing),
        ("software", &["name"], Thing),
        ("url", &["value"], Thing),
        ("user-account", &["account_login"], Thing),
        ("user-account", &["user_id"], Thing),
        ("user-account", &["display_name"], Thing),
        ("windows-registry-key", &["key"], Thing),
        ("windows-registry-key", &["values", EACH, "name"], Thing),
        ("windows-registry-key", &["values", EACH, "data"], Thing),
        ("x509-certificate", &["hashes", HASH], Thing),
        ("x509-certificate", &["serial_number"], Thing),
        ("x509-certificate", &["subject"], Thing),
        ("x509-certificate", &["issuer"], Thing),
    ]
};

/// What a path of a pattern is to us.
pub(super) fn role(path: &Path<'_>) -> Option<Role> {
    let is_known = |steps: &[&str]| steps.len() == path.steps.len() && steps.iter().zip(&path.steps).all(|(known, step)| fits(known, step));
    match KNOWN.iter().find(|(kind, steps, _)| *kind == path.object && is_known(steps)) {
        Some((_, _, role)) => Some(*role),
        None => (is_known(&["value"])).then_some(Role::Thing),
    }
}

fn fits(known: &str, step: &Step<'_>) -> bool {
    match step {
        Step::Key(key) => known == HASH || known == key,
        Step::Index(_) | Step::Any => known == EACH || known == HASH,
    }
}

/// A path as the standard writes it: `hashes.'SHA-256'`, `values[*].name`.
pub(super) fn written<'s>(steps: impl IntoIterator<Item = &'s str>) -> String {
    let mut path = String::new();
    for step in steps {
        if step == EACH {
            path.push_str(step);
            continue;
        }
        if !path.is_empty() {
            path.push('.');
        }
        let is_plain = step.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && step.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if is_plain {
            path.push_str(step);
        } else {
            path.extend(["'", &step.replace('\\', "\\\\").replace('\'', "\\'"), "'"]);
        }
    }
    path
}

pub(super) fn written_path(path: &Path<'_>) -> String {
    let mut steps: Vec<Cow<'_, str>> = Vec::with_capacity(path.steps.len());
    for step in &path.steps {
        steps.push(match step {
            Step::Key(key) if steps.last().is_some_and(|last| last == "hashes") => Cow::Owned(hash_name(key).into_owned()),
            Step::Key(key) => Cow::Borrowed(key),
            Step::Index(_) | Step::Any => Cow::Borrowed(EACH),
        });
    }
    written(steps.iter().map(Cow::as_ref))
}

/// The standard's name of a hash; producers have all spellings of it.
pub(super) fn hash_name(given: &str) -> Cow<'_, str> {
    const NAMES: &[&str] = &[
        "MD5",
        "MD6",
        "SHA-1",
        "SHA-224",
        "SHA-256",
        "SHA-384",
        "SHA-512",
        "SHA3-224",
        "SHA3-256",
        "SHA3-384",
        "SHA3-512",
        "RIPEMD-160",
        "WHIRLPOOL",
        "SSDEEP",
        "TLSH",
        "IMPHASH",
    ];
    let letters = |name: &str| -> String { name.chars().filter(char::is_ascii_alphanumeric).collect() };
    let plain = letters(given);
    NAMES.iter().find(|name| letters(name).eq_ignore_ascii_case(&plain)).map_or(Cow::Borrowed(given), |name| Cow::Borrowed(*name))
}
