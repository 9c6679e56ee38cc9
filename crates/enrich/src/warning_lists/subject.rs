//! What a value is, and so which lists are asked about it.
//!
//! A list says what it is to be held against in MISP's types of attributes, of which there are many for one sort of value: where an
//! address came from and where one went to, with a port and without. Events have typed values, so that a few sorts are enough.

use std::net::IpAddr;

use ipnet::IpNet;

/// A value of an event's, in its canonical form, as it is at rest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    Address(IpAddr),
    Network(IpNet),
    /// In A-labels and lower case.
    Host(&'a str),
    Url(&'a str),
    /// MD5, SHA-1 or SHA-256 in lower-case hexadecimal digits: its length says which.
    Hash(&'a str),
    /// The number of an autonomous system.
    System(u32),
    /// A mail address, or an account that looks like one, in whatever letters.
    Mail(&'a str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    Address,
    Network,
    Host,
    Url,
    Md5,
    Sha1,
    Sha256,
    System,
    Mail,
}

use Subject::{Address, Host, Mail, Md5, Network, Sha1, Sha256, System, Url};

/// MISP's types of attributes that have values like ours. One of two parts, such as `domain|ip`, stands for each of them.
///
/// Certificates' fingerprints are hashes like those of files: no two things have one hash, so they are not told apart.
#[rustfmt::skip]
const ATTRIBUTES: &[(&str, &[Subject])] = &[
    ("AS",                      &[System]),
    ("dns-soa-email",           &[Mail]),
    ("domain",                  &[Host]),
    ("domain|ip",               &[Host, Address, Network]),
    ("email",                   &[Mail]),
    ("email-dst",               &[Mail]),
    ("email-reply-to",          &[Mail]),
    ("email-src",               &[Mail]),
    ("eppn",                    &[Mail]),
    ("filename|md5",            &[Md5]),
    ("filename|sha1",           &[Sha1]),
    ("filename|sha256",         &[Sha256]),
    ("hostname",                &[Host]),
    ("hostname|port",           &[Host]),
    ("ip-dst",                  &[Address, Network]),
    ("ip-dst|port",             &[Address, Network]),
    ("ip-src",                  &[Address, Network]),
    ("ip-src|port",             &[Address, Network]),
    ("jabber-id",               &[Mail]),
    ("link",                    &[Url]),
    ("malware-sample",          &[Md5]),
    ("md5",                     &[Md5]),
    ("sha1",                    &[Sha1]),
    ("sha256",                  &[Sha256]),
    ("target-email",            &[Mail]),
    ("uri",                     &[Url]),
    ("url",                     &[Url]),
    ("whois-registrant-email",  &[Mail]),
    ("x509-fingerprint-md5",    &[Md5]),
    ("x509-fingerprint-sha1",   &[Sha1]),
    ("x509-fingerprint-sha256", &[Sha256]),
];

/// A set of subjects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Subjects(u16);

impl Subjects {
    const ALL: Subjects = Subjects(u16::MAX);

    /// Of a list's `matching_attributes`. None at all stand for every one, as MISP has it; those that no value of ours has for none.
    pub(super) fn of(attributes: &[String]) -> Subjects {
        if attributes.is_empty() || attributes.iter().any(|attribute| attribute == "ALL") {
            return Subjects::ALL;
        }
        let known = ATTRIBUTES.iter().filter(|(name, _)| attributes.iter().any(|attribute| attribute == name));
        known.flat_map(|(_, subjects)| *subjects).fold(Subjects::default(), |all, subject| all.with(Subjects(1 << *subject as u16)))
    }

    pub(super) fn with(self, others: Subjects) -> Subjects {
        Subjects(self.0 | others.0)
    }

    pub fn has(self, subject: Subject) -> bool {
        self.0 & 1 << subject as u16 != 0
    }

    /// Whether the list is never asked, as it is about things that events do not have.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl Value<'_> {
    /// None of a hash of another length than those we know.
    pub fn subject(&self) -> Option<Subject> {
        Some(match self {
            Value::Address(_) => Address,
            Value::Network(_) => Network,
            Value::Host(_) => Host,
            Value::Url(_) => Url,
            Value::Hash(hash) => match hash.len() {
                32 => Md5,
                40 => Sha1,
                64 => Sha256,
                _ => return None,
            },
            Value::System(_) => System,
            Value::Mail(_) => Mail,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(attributes: &[&str], expected: &[Subject]) {
        let attributes: Vec<String> = attributes.iter().map(|attribute| (*attribute).to_owned()).collect();
        let found = Subjects::of(&attributes);
        let all = [Address, Network, Host, Url, Md5, Sha1, Sha256, System, Mail];
        assert_eq!(all.into_iter().filter(|subject| found.has(*subject)).collect::<Vec<_>>(), expected, "{attributes:?}");
    }

    #[test]
    fn attributes_stand_for_subjects() {
        check(&["ip-src", "ip-dst|port"], &[Address, Network]);
        check(&["domain", "hostname", "url"], &[Host, Url]);
        check(&["domain|ip"], &[Address, Network, Host]);
        check(&["md5", "filename|sha256", "sha512"], &[Md5, Sha256]);
        check(&["AS", "email-src"], &[System, Mail]);
        check(&["azure-application-id"], &[]);
        check(&[], &[Address, Network, Host, Url, Md5, Sha1, Sha256, System, Mail]);
        check(&["ALL"], &[Address, Network, Host, Url, Md5, Sha1, Sha256, System, Mail]);
    }
}
