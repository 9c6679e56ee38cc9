//! The Reference Security Incident Taxonomy, version 1003 (CC0, <https://github.com/enisaeu/Reference-Security-Incident-Taxonomy-Task-Force>),
//! and the types that IntelMQ adds to it. A type decides its taxonomy.

/// One classification type.
#[derive(Debug, PartialEq, Eq)]
pub struct Classification {
    /// RSIT's name where it has one.
    pub name: &'static str,
    pub taxonomy: &'static str,
    /// Other spellings in use: IntelMQ's, older versions'.
    pub also: &'static [&'static str],
}

impl Classification {
    /// The word that IntelMQ understands: it spells one type the American way.
    pub fn intelmq_name(&self) -> &'static str {
        match self.name {
            "unauthorised-use-of-resources" => "unauthorized-use-of-resources",
            name => name,
        }
    }
}

const fn of(taxonomy: &'static str, name: &'static str, also: &'static [&'static str]) -> Classification {
    Classification { name, taxonomy, also }
}

pub static CLASSIFICATIONS: &[Classification] = &[
    of("abusive-content", "harmful-speech", &[]),
    of("abusive-content", "spam", &[]),
    of("abusive-content", "violence", &[]),
    of("availability", "ddos", &[]),
    of("availability", "dos", &[]),
    of("availability", "misconfiguration", &[]),
    of("availability", "outage", &[]),
    of("availability", "sabotage", &[]),
    of("fraud", "copyright", &[]),
    of("fraud", "masquerade", &[]),
    of("fraud", "phishing", &[]),
    of("fraud", "unauthorised-use-of-resources", &["unauthorized-use-of-resources"]),
    of("information-content-security", "data-leak", &["leak"]),
    of("information-content-security", "data-loss", &["dropzone"]),
    of("information-content-security", "unauthorised-information-access", &["unauthorized-information-access"]),
    of("information-content-security", "unauthorised-information-modification", &["unauthorized-information-modification"]),
    of("information-gathering", "scanner", &[]),
    of("information-gathering", "sniffing", &[]),
    of("information-gathering", "social-engineering", &[]),
    of("intrusion-attempts", "brute-force", &[]),
    of("intrusion-attempts", "exploit", &[]),
    of("intrusion-attempts", "ids-alert", &[]),
    of("intrusions", "application-compromise", &[]),
    of("intrusions", "burglary", &[]),
    of("intrusions", "privileged-account-compromise", &[]),
    of("intrusions", "system-compromise", &["compromised", "defacement", "backdoor"]),
    of("intrusions", "unprivileged-account-compromise", &[]),
    of("malicious-code", "c2-server", &["c&c", "c2server"]),
    of("malicious-code", "infected-system", &["botnet drone", "ransomware"]),
    of("malicious-code", "malware-configuration", &[]),
    of("malicious-code", "malware-distribution", &[]),
    of("other", "blacklist", &["blocklist"]),
    of("other", "dga-domain", &["dga domain"]),
    of("other", "malware", &[]),
    of("other", "other", &["unknown"]),
    of("other", "proxy", &[]),
    of("other", "tor", &[]),
    of("other", "undetermined", &[]),
    of("test", "test", &[]),
    of("vulnerable", "ddos-amplifier", &[]),
    of("vulnerable", "information-disclosure", &[]),
    of("vulnerable", "potentially-unwanted-accessible", &[]),
    of("vulnerable", "vulnerable-system", &["vulnerable client", "vulnerable service"]),
    of("vulnerable", "weak-crypto", &[]),
];

/// The type with this name, in any spelling.
pub fn classification(name: &str) -> Option<&'static Classification> {
    let is = |word: &&str| word.eq_ignore_ascii_case(name);
    CLASSIFICATIONS.iter().find(|row| is(&row.name) || row.also.iter().any(is))
}

/// The taxonomy with this name.
pub fn taxonomy(name: &str) -> Option<&'static str> {
    CLASSIFICATIONS.iter().map(|row| row.taxonomy).find(|taxonomy| taxonomy.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_once() {
        assert_eq!(CLASSIFICATIONS.len(), 44);
        for row in CLASSIFICATIONS {
            assert!(std::ptr::eq(classification(row.name).expect("just listed"), row));
        }
        assert_eq!(classification("C2-Server").map(|row| row.taxonomy), Some("malicious-code"));
        assert_eq!(classification("unauthorized-use-of-resources").map(|row| row.name), Some("unauthorised-use-of-resources"));
    }
}
