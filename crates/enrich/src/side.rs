//! The two sides of an event, source and destination, with the fields that they have alike: every rule is
//! written once and runs for both.

use std::collections::BTreeSet;

use event::Field;

#[derive(Debug)]
pub(crate) struct Side {
    /// What the names of its fields start with.
    pub(crate) prefix: &'static str,
    pub(crate) account: Field,
    pub(crate) as_name: Field,
    pub(crate) asn: Field,
    pub(crate) cc: Field,
    pub(crate) city: Field,
    pub(crate) country: Field,
    pub(crate) domain_suffix: Field,
    pub(crate) fqdn: Field,
    pub(crate) ip: Field,
    pub(crate) latitude: Field,
    pub(crate) longitude: Field,
    pub(crate) network: Field,
    pub(crate) region: Field,
    /// No table tells it from the region; it belongs to the place all the same, and is emptied with it.
    pub(crate) state: Field,
    pub(crate) url: Field,
}

pub(crate) static SIDES: [Side; 2] = [
    Side {
        prefix: "source.",
        account: Field::SOURCE_ACCOUNT,
        as_name: Field::SOURCE_AS_NAME,
        asn: Field::SOURCE_ASN,
        cc: Field::SOURCE_GEOLOCATION_CC,
        city: Field::SOURCE_GEOLOCATION_CITY,
        country: Field::SOURCE_GEOLOCATION_COUNTRY,
        domain_suffix: Field::SOURCE_DOMAIN_SUFFIX,
        fqdn: Field::SOURCE_FQDN,
        ip: Field::SOURCE_IP,
        latitude: Field::SOURCE_GEOLOCATION_LATITUDE,
        longitude: Field::SOURCE_GEOLOCATION_LONGITUDE,
        network: Field::SOURCE_NETWORK,
        region: Field::SOURCE_GEOLOCATION_REGION,
        state: Field::SOURCE_GEOLOCATION_STATE,
        url: Field::SOURCE_URL,
    },
    Side {
        prefix: "destination.",
        account: Field::DESTINATION_ACCOUNT,
        as_name: Field::DESTINATION_AS_NAME,
        asn: Field::DESTINATION_ASN,
        cc: Field::DESTINATION_GEOLOCATION_CC,
        city: Field::DESTINATION_GEOLOCATION_CITY,
        country: Field::DESTINATION_GEOLOCATION_COUNTRY,
        domain_suffix: Field::DESTINATION_DOMAIN_SUFFIX,
        fqdn: Field::DESTINATION_FQDN,
        ip: Field::DESTINATION_IP,
        latitude: Field::DESTINATION_GEOLOCATION_LATITUDE,
        longitude: Field::DESTINATION_GEOLOCATION_LONGITUDE,
        network: Field::DESTINATION_NETWORK,
        region: Field::DESTINATION_GEOLOCATION_REGION,
        state: Field::DESTINATION_GEOLOCATION_STATE,
        url: Field::DESTINATION_URL,
    },
];

impl Side {
    /// Adds what a batch with these columns can learn about this side.
    pub(crate) fn can_fill(&self, columns: &[Field], fields: &mut BTreeSet<Field>) {
        let has = |field| columns.contains(&field);
        if has(self.url) {
            fields.extend([self.fqdn, self.ip]);
        }
        if has(self.url) || has(self.fqdn) {
            fields.insert(self.domain_suffix);
        }
        if has(self.url) || has(self.ip) || has(self.network) {
            fields.extend([self.cc, self.country, self.city, self.region, self.latitude, self.longitude]);
            fields.extend([self.asn, self.as_name]);
        }
    }

    /// Whether a table may replace what a feed states in this field.
    pub(crate) fn overrides(&self, field: Field) -> bool {
        let place = [self.cc, self.country, self.city, self.region, self.state, self.latitude, self.longitude];
        place.contains(&field) || [self.asn, self.as_name, self.domain_suffix].contains(&field)
    }
}
