//! The fields of an event: names, types and limits of IntelMQ's data format 3.5
//! (<https://docs.intelmq.org/latest/user/event/>), in one table that documentation, storage and checks read.
//!
//! A field's place in the table is part of every event's id, so the order is a persisted format: new fields
//! go at the end, and none is ever removed.

use std::fmt;

/// How a field's text is understood, and what its canonical form is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    Text,
    /// ASCII that can be shown.
    Ascii,
    Lower,
    /// The same in lower case.
    LowerAscii,
    Upper,
    Integer,
    Float,
    /// 0 to 100.
    Percent,
    Boolean,
    Asn,
    Ip,
    Network,
    Port,
    Fqdn,
    Url,
    Time,
    Md5,
    Sha1,
    Sha256,
    Uuid,
    Country,
    Transport,
    Severity,
    Registry,
    Tlp,
    ClassificationType,
    Taxonomy,
    Base64,
    Json,
    JsonObject,
}

/// One row of the table.
#[derive(Debug)]
pub struct Definition {
    /// IntelMQ's name, such as `source.ip`.
    pub name: &'static str,
    /// The column's name at rest, such as `source_ip`.
    pub column: &'static str,
    pub kind: Type,
    /// The longest value in characters; 0 where there is no limit but that of a cell.
    pub length: usize,
    pub about: &'static str,
}

/// A field of an event, by its place in [`FIELDS`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Field(u8);

macro_rules! fields {
    ($($constant:ident, $name:literal, $column:literal, $kind:ident, $length:literal, $about:literal;)*) => {
        #[derive(Clone, Copy)]
        #[expect(non_camel_case_types, clippy::upper_case_acronyms, reason = "only counts the rows of the table")]
        enum Place { $($constant),* }

        impl Field {
            $(#[doc = $about] pub const $constant: Field = Field(Place::$constant as u8);)*
        }

        /// All fields, in the order that ids depend on.
        pub static FIELDS: &[Definition] = &[$(Definition {
            name: $name, column: $column, kind: Type::$kind, length: $length, about: $about,
        }),*];
    };
}

fields! {
    CLASSIFICATION_IDENTIFIER, "classification.identifier", "classification_identifier", Text, 0, "the problem in the words of its field, such as openresolver or a family";
    CLASSIFICATION_TAXONOMY, "classification.taxonomy", "classification_taxonomy", Taxonomy, 0, "the RSIT class";
    CLASSIFICATION_TYPE, "classification.type", "classification_type", ClassificationType, 0, "the RSIT type, or one of IntelMQ's own";
    COMMENT, "comment", "comment", Text, 0, "free text of an analyst";
    CONSTITUENCY, "constituency", "constituency", Text, 0, "the constituency, where several share a system";
    DESTINATION_ABUSE_CONTACT, "destination.abuse_contact", "destination_abuse_contact", Lower, 0, "destination: mail addresses for abuse, separated by commas";
    DESTINATION_ACCOUNT, "destination.account", "destination_account", Text, 0, "destination: an account or a mail address";
    DESTINATION_ALLOCATED, "destination.allocated", "destination_allocated", Time, 0, "destination: when the network was allocated";
    DESTINATION_AS_NAME, "destination.as_name", "destination_as_name", Text, 0, "destination: name of the AS";
    DESTINATION_ASN, "destination.asn", "destination_asn", Asn, 0, "destination: AS number";
    DESTINATION_DOMAIN_SUFFIX, "destination.domain_suffix", "destination_domain_suffix", Lower, 0, "destination: the public suffix of the host name";
    DESTINATION_FQDN, "destination.fqdn", "destination_fqdn", Fqdn, 0, "destination: host name, in A-labels";
    DESTINATION_GEOLOCATION_CC, "destination.geolocation.cc", "destination_geolocation_cc", Country, 2, "destination: ISO 3166 country code";
    DESTINATION_GEOLOCATION_CITY, "destination.geolocation.city", "destination_geolocation_city", Text, 0, "destination: city";
    DESTINATION_GEOLOCATION_COUNTRY, "destination.geolocation.country", "destination_geolocation_country", Text, 0, "destination: country, in words";
    DESTINATION_GEOLOCATION_LATITUDE, "destination.geolocation.latitude", "destination_geolocation_latitude", Float, 0, "destination: degrees north";
    DESTINATION_GEOLOCATION_LONGITUDE, "destination.geolocation.longitude", "destination_geolocation_longitude", Float, 0, "destination: degrees east";
    DESTINATION_GEOLOCATION_REGION, "destination.geolocation.region", "destination_geolocation_region", Text, 0, "destination: region";
    DESTINATION_GEOLOCATION_STATE, "destination.geolocation.state", "destination_geolocation_state", Text, 0, "destination: state";
    DESTINATION_IP, "destination.ip", "destination_ip", Ip, 0, "destination: address";
    DESTINATION_LOCAL_HOSTNAME, "destination.local_hostname", "destination_local_hostname", Text, 0, "destination: name inside its network";
    DESTINATION_LOCAL_IP, "destination.local_ip", "destination_local_ip", Ip, 0, "destination: address inside its network";
    DESTINATION_NETWORK, "destination.network", "destination_network", Network, 0, "destination: network in CIDR form";
    DESTINATION_PORT, "destination.port", "destination_port", Port, 0, "destination: port, 0 to 65535";
    DESTINATION_REGISTRY, "destination.registry", "destination_registry", Registry, 0, "destination: regional internet registry";
    DESTINATION_REVERSE_DNS, "destination.reverse_dns", "destination_reverse_dns", Fqdn, 0, "destination: name by reverse DNS; proves no ownership";
    DESTINATION_TOR_NODE, "destination.tor_node", "destination_tor_node", Boolean, 0, "destination: whether it was a Tor node";
    DESTINATION_URL, "destination.url", "destination_url", Url, 0, "destination: URL";
    DESTINATION_URLPATH, "destination.urlpath", "destination_urlpath", Text, 0, "destination: path of a URL alone";
    EVENT_DESCRIPTION_TARGET, "event_description.target", "event_description_target", Text, 0, "who was attacked, such as the imitated brand";
    EVENT_DESCRIPTION_TEXT, "event_description.text", "event_description_text", Text, 0, "what happened, in free text";
    EVENT_DESCRIPTION_URL, "event_description.url", "event_description_url", Url, 0, "where it is described";
    EVENT_HASH, "event_hash", "event_hash", Upper, 40, "a hash that another system gave it";
    EXTRA, "extra", "extra", JsonObject, 0, "everything else that was said, as one JSON object";
    FEED_ACCURACY, "feed.accuracy", "feed_accuracy", Percent, 0, "how much to trust the feed, in percent";
    FEED_CODE, "feed.code", "feed_code", Text, 100, "the feed's short name elsewhere";
    FEED_DOCUMENTATION, "feed.documentation", "feed_documentation", Text, 0, "where the feed is described";
    FEED_NAME, "feed.name", "feed_name", Text, 0, "the feed's name for people";
    FEED_PROVIDER, "feed.provider", "feed_provider", Text, 0, "the provider's name for people";
    FEED_URL, "feed.url", "feed_url", Url, 0, "where the feed was fetched";
    MALWARE_HASH_MD5, "malware.hash.md5", "malware_hash_md5", Md5, 0, "MD5 of the sample, hexadecimal";
    MALWARE_HASH_SHA1, "malware.hash.sha1", "malware_hash_sha1", Sha1, 0, "SHA-1 of the sample, hexadecimal";
    MALWARE_HASH_SHA256, "malware.hash.sha256", "malware_hash_sha256", Sha256, 0, "SHA-256 of the sample, hexadecimal";
    MALWARE_NAME, "malware.name", "malware_name", LowerAscii, 0, "the family, lower case";
    MALWARE_VERSION, "malware.version", "malware_version", Ascii, 0, "the family's version";
    MISP_ATTRIBUTE_UUID, "misp.attribute_uuid", "misp_attribute_uuid", Uuid, 36, "UUID of the MISP attribute";
    MISP_EVENT_UUID, "misp.event_uuid", "misp_event_uuid", Uuid, 36, "UUID of the MISP event";
    OUTPUT, "output", "output", Json, 0, "what another system wants sent on";
    PRODUCT_FULL_NAME, "product.full_name", "product_full_name", Text, 0, "vendor, name and version in one";
    PRODUCT_NAME, "product.name", "product_name", Lower, 0, "the affected product";
    PRODUCT_VENDOR, "product.vendor", "product_vendor", Lower, 0, "its vendor";
    PRODUCT_VERSION, "product.version", "product_version", Lower, 0, "its version";
    PRODUCT_VULNERABILITIES, "product.vulnerabilities", "product_vulnerabilities", Lower, 0, "CVE identifiers, separated by commas";
    PROTOCOL_APPLICATION, "protocol.application", "protocol_application", LowerAscii, 100, "such as http or rdp";
    PROTOCOL_TRANSPORT, "protocol.transport", "protocol_transport", Transport, 11, "tcp, udp, icmp and their kin";
    RAW, "raw", "raw", Base64, 0, "the row as it came; kept with the report, not with the event";
    RTIR_ID, "rtir_id", "rtir_id", Integer, 0, "ticket number in RTIR";
    SCREENSHOT_URL, "screenshot_url", "screenshot_url", Url, 0, "a picture of it";
    SEVERITY, "severity", "severity", Severity, 0, "critical, high, medium, low or info";
    SOURCE_ABUSE_CONTACT, "source.abuse_contact", "source_abuse_contact", Lower, 0, "source: mail addresses for abuse, separated by commas";
    SOURCE_ACCOUNT, "source.account", "source_account", Text, 0, "source: an account or a mail address";
    SOURCE_ALLOCATED, "source.allocated", "source_allocated", Time, 0, "source: when the network was allocated";
    SOURCE_AS_NAME, "source.as_name", "source_as_name", Text, 0, "source: name of the AS";
    SOURCE_ASN, "source.asn", "source_asn", Asn, 0, "source: AS number";
    SOURCE_DOMAIN_SUFFIX, "source.domain_suffix", "source_domain_suffix", Lower, 0, "source: the public suffix of the host name";
    SOURCE_FQDN, "source.fqdn", "source_fqdn", Fqdn, 0, "source: host name, in A-labels";
    SOURCE_GEOLOCATION_CC, "source.geolocation.cc", "source_geolocation_cc", Country, 2, "source: ISO 3166 country code";
    SOURCE_GEOLOCATION_CITY, "source.geolocation.city", "source_geolocation_city", Text, 0, "source: city";
    SOURCE_GEOLOCATION_COUNTRY, "source.geolocation.country", "source_geolocation_country", Text, 0, "source: country, in words";
    SOURCE_GEOLOCATION_CYMRU_CC, "source.geolocation.cymru_cc", "source_geolocation_cymru_cc", Country, 2, "source: country code by Team Cymru";
    SOURCE_GEOLOCATION_GEOIP_CC, "source.geolocation.geoip_cc", "source_geolocation_geoip_cc", Country, 2, "source: country code by MaxMind";
    SOURCE_GEOLOCATION_LATITUDE, "source.geolocation.latitude", "source_geolocation_latitude", Float, 0, "source: degrees north";
    SOURCE_GEOLOCATION_LONGITUDE, "source.geolocation.longitude", "source_geolocation_longitude", Float, 0, "source: degrees east";
    SOURCE_GEOLOCATION_REGION, "source.geolocation.region", "source_geolocation_region", Text, 0, "source: region";
    SOURCE_GEOLOCATION_STATE, "source.geolocation.state", "source_geolocation_state", Text, 0, "source: state";
    SOURCE_IP, "source.ip", "source_ip", Ip, 0, "source: address";
    SOURCE_LOCAL_HOSTNAME, "source.local_hostname", "source_local_hostname", Text, 0, "source: name inside its network";
    SOURCE_LOCAL_IP, "source.local_ip", "source_local_ip", Ip, 0, "source: address inside its network";
    SOURCE_NETWORK, "source.network", "source_network", Network, 0, "source: network in CIDR form";
    SOURCE_PORT, "source.port", "source_port", Port, 0, "source: port, 0 to 65535";
    SOURCE_REGISTRY, "source.registry", "source_registry", Registry, 0, "source: regional internet registry";
    SOURCE_REVERSE_DNS, "source.reverse_dns", "source_reverse_dns", Fqdn, 0, "source: name by reverse DNS; proves no ownership";
    SOURCE_TOR_NODE, "source.tor_node", "source_tor_node", Boolean, 0, "source: whether it was a Tor node";
    SOURCE_URL, "source.url", "source_url", Url, 0, "source: URL";
    SOURCE_URLPATH, "source.urlpath", "source_urlpath", Text, 0, "source: path of a URL alone";
    STATUS, "status", "status", Text, 0, "online, offline and the like, in the feed's words";
    TIME_OBSERVATION, "time.observation", "time_observation", Time, 0, "when it was received, UTC";
    TIME_SOURCE, "time.source", "time_source", Time, 0, "when it was seen, UTC";
    TLP, "tlp", "tlp", Tlp, 0, "who may see it";
}

/// The fields that IntelMQ's other message, the report, has too.
pub const REPORT_FIELDS: [Field; 10] = [
    Field::EXTRA,
    Field::FEED_ACCURACY,
    Field::FEED_CODE,
    Field::FEED_DOCUMENTATION,
    Field::FEED_NAME,
    Field::FEED_PROVIDER,
    Field::FEED_URL,
    Field::RAW,
    Field::RTIR_ID,
    Field::TIME_OBSERVATION,
];

impl Field {
    /// The field with IntelMQ's name, if there is one.
    pub fn named(name: &str) -> Option<Field> {
        // The table is sorted by name but for what was added later, and is searched while tables load only.
        FIELDS.iter().position(|definition| definition.name == name).map(|place| Field(place as u8))
    }

    pub fn all() -> impl Iterator<Item = Field> {
        (0..FIELDS.len()).map(|place| Field(place as u8))
    }

    pub fn definition(self) -> &'static Definition {
        &FIELDS[self.0 as usize]
    }

    pub fn name(self) -> &'static str {
        self.definition().name
    }

    pub fn column(self) -> &'static str {
        self.definition().column
    }

    pub fn kind(self) -> Type {
        self.definition().kind
    }

    /// The place in [`FIELDS`], from 0.
    pub fn place(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for Field {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl fmt::Debug for Field {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_fields_is_part_of_every_id_and_stays() {
        let names: Vec<_> = FIELDS.iter().map(|definition| definition.name).collect();
        assert_eq!(names.len(), 89);
        assert_eq!((names[0], names[32], names[88]), ("classification.identifier", "event_hash", "tlp"));
        let mut first = names.clone();
        first.sort_unstable();
        assert_eq!(names, first, "the first 89 are in the order of the alphabet; later ones follow as they came");
    }

    #[test]
    fn names_columns_and_constants_agree() {
        for field in Field::all() {
            assert_eq!(Field::named(field.name()), Some(field));
            assert_eq!(field.column(), field.name().replace('.', "_"));
        }
        assert_eq!(Field::SOURCE_IP.name(), "source.ip");
        assert_eq!(Field::named("source.nonsense"), None);
    }
}
