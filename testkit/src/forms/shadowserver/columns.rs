//! The headers of the reports, in runs that several share.

pub(super) const SCAN: &[&str] = &[
    "timestamp", "severity", "ip", "protocol", "port", "hostname", "tag", "asn", "geo", "region", "city", "naics", "hostname_source", "sector",
];
pub(super) const FROM: &[&str] = &[
    "timestamp", "protocol", "src_ip", "src_port", "src_asn", "src_geo", "src_region", "src_city", "src_hostname", "src_naics", "src_sector",
    "device_vendor", "device_type", "device_model", "severity",
];
pub(super) const TO: &[&str] =
    &["dst_ip", "dst_port", "dst_asn", "dst_geo", "dst_region", "dst_city", "dst_hostname", "dst_naics", "dst_sector"];
pub(super) const SEEN: &[&str] = &["public_source", "infection", "family", "tag", "application", "version", "event_id"];

pub(super) const BRUTE_FORCE: &[&str] = &[
    "service", "start_time", "end_time", "client_version", "username", "password", "payload_url", "payload_md5", "vulnerability_enum",
    "vulnerability_id", "vulnerability_class", "vulnerability_score", "vulnerability_severity", "vulnerability_version", "target_vendor",
    "target_product", "target_class",
];
pub(super) const AMPLIFICATION: &[&str] = &["request", "count", "bytes", "end_time", "duration", "avg_pps", "max_pps"];

pub(super) const WEBSITE: &[&str] = &[
    "application", "url", "http_host", "category", "system", "detected_since", "server", "redirect_target", "cc_url", "family", "status",
    "account", "detail", "public_source",
];

pub(super) const CERTIFICATE: &[&str] = &[
    "cert_length", "subject_common_name", "issuer_common_name", "cert_issue_date", "cert_expiration_date", "sha1_fingerprint",
    "cert_serial_number",
];
pub(super) const KEYS: &[&str] = &["signature_algorithm", "key_algorithm"];
pub(super) const FINGERPRINTS: &[&str] = &["sha256_fingerprint", "sha512_fingerprint", "md5_fingerprint"];
pub(super) const NAMES: &[&str] = &[
    "subject_organization_name", "subject_organization_unit_name", "subject_country", "subject_state_or_province_name",
    "subject_locality_name", "subject_street_address", "subject_postal_code", "subject_surname", "subject_given_name",
    "subject_email_address", "subject_business_category", "subject_serial_number", "issuer_organization_name",
    "issuer_organization_unit_name", "issuer_country", "issuer_state_or_province_name", "issuer_locality_name", "issuer_street_address",
    "issuer_postal_code", "issuer_surname", "issuer_given_name", "issuer_email_address", "issuer_business_category", "issuer_serial_number",
];
pub(super) const PAGE: &[&str] = &[
    "http_response_type", "http_code", "http_reason", "content_type", "http_connection", "www_authenticate", "set_cookie", "server_type",
    "content_length", "transfer_encoding", "http_date", "cert_valid", "self_signed", "cert_expired", "browser_trusted", "validation_level",
    "browser_error", "tlsv13_support", "tlsv13_cipher",
];
