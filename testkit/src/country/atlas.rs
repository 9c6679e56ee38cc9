//! Who is where: the systems, the places, and the networks between them. A table to be read from top to bottom.

use super::{Network, Purpose};
use Purpose::{Homes, Hosting, Mobile, Offices};

#[derive(Debug)]
pub struct System {
    /// Of documentation: 64496 to 64511 and 65536 to 65551.
    pub number: u32,
    pub name: &'static str,
    pub domain: &'static str,
    /// What Shadowserver writes of its trade.
    pub naics: &'static str,
    pub sector: &'static str,
}

#[derive(Debug)]
pub struct Place {
    pub country: &'static str,
    pub country_name: &'static str,
    pub region: &'static str,
    pub city: &'static str,
    pub latitude: f64,
    pub longitude: f64,
}

const COMMUNICATIONS: (&str, &str) = ("517311", "Communications, Service Provider, and Hosting Service");
const CLOUD: (&str, &str) = ("518210", "Information Technology");
const EDUCATION: (&str, &str) = ("611310", "Education");
const GOVERNMENT: (&str, &str) = ("921190", "Government");
const FINANCE: (&str, &str) = ("522110", "Financial Services");
const TRANSPORT: (&str, &str) = ("488310", "Transportation Systems");
const HEALTH: (&str, &str) = ("622110", "Healthcare and Public Health");
const UNKNOWN: (&str, &str) = ("0", "");

static SYSTEMS: &[System] = &[
    // Marisle's.
    system(64496, "Harbour Telecom", "harbourtelecom.xm", COMMUNICATIONS),
    system(64497, "Lanternline Mobile", "lanternline.xm", COMMUNICATIONS),
    system(64498, "Northlight University", "northlight.xm", EDUCATION),
    system(64499, "Eastquay Hosting", "eastquay.xm", CLOUD),
    system(64500, "Government of Marisle", "gov.xm", GOVERNMENT),
    system(64501, "Saltmarsh Cable", "saltmarsh.xm", COMMUNICATIONS),
    system(64502, "Meridian Savings Bank", "meridiansavings.xm", FINANCE),
    system(64503, "Harbour Port Authority", "port.xm", TRANSPORT),
    system(64504, "Lowfield Hospitals", "lowfieldhospitals.xm", HEALTH),
    system(64505, "Beacon Cloud", "beaconcloud.xm", CLOUD),
    system(64506, "Tidal Fibre", "tidalfibre.xm", COMMUNICATIONS),
    system(64507, "Marisle Schools Network", "schools.xm", EDUCATION),
    // The neighbours'.
    system(65536, "Tarnwold Telecom", "tarnwoldtelecom.example", COMMUNICATIONS),
    system(65537, "Pinecrest Hosting", "pinecresthosting.example", CLOUD),
    system(65538, "Oversound Cable", "oversoundcable.example", COMMUNICATIONS),
    system(65539, "Straithe Data Centre", "straithedata.example", CLOUD),
    system(65540, "Farholm Net", "farholmnet.example", COMMUNICATIONS),
    // Everybody else's.
    system(65545, "Far Carrier", "farcarrier.example", UNKNOWN),
    system(65546, "Open Water Hosting", "openwaterhosting.example", CLOUD),
    system(65551, "Deepwater Sinkhole Research", "deepwater.example", UNKNOWN),
];

const fn system(number: u32, name: &'static str, domain: &'static str, trade: (&'static str, &'static str)) -> System {
    System { number, name, domain, naics: trade.0, sector: trade.1 }
}

static PLACES: &[Place] = &[
    place("XM", "Marisle", "Harbour Province", "Harbour Town", 46.10, -28.40),
    place("XM", "Marisle", "Harbour Province", "Eastquay", 46.05, -28.02),
    place("XM", "Marisle", "Northern Province", "Northlight", 46.42, -28.31),
    place("XM", "Marisle", "Southern Province", "Saltmarsh", 45.88, -28.55),
    place("XM", "Marisle", "Southern Province", "Lowfield", 45.95, -28.30),
    place("XT", "Tarnwold", "Upper Tarnwold", "Pinecrest", 47.90, -31.20),
    place("XO", "Oversound", "Sound", "Straithe", 44.60, -26.70),
    place("XF", "Farholm", "Farholm", "Far Harbour", 42.30, -35.10),
    place("XW", "Elsewhere", "Elsewhere", "Open Water", 35.00, -45.00),
];

const fn place(
    country: &'static str,
    country_name: &'static str,
    region: &'static str,
    city: &'static str,
    latitude: f64,
    longitude: f64,
) -> Place {
    Place { country, country_name, region, city, latitude, longitude }
}

const NETWORKS: &[(&str, u32, Purpose, &str)] = &[
    ("240.16.0.0/15", 64496, Homes, "Harbour Town"),
    ("240.18.0.0/16", 64496, Homes, "Northlight"),
    ("240.20.0.0/18", 64496, Offices, "Harbour Town"),
    ("240.20.64.0/18", 64496, Offices, "Eastquay"),
    ("240.24.0.0/21", 64497, Mobile, "Harbour Town"),
    ("240.24.8.0/22", 64497, Mobile, "Saltmarsh"),
    ("198.18.0.0/17", 64498, Offices, "Northlight"),
    ("198.18.128.0/19", 64499, Hosting, "Eastquay"),
    ("198.18.160.0/20", 64499, Hosting, "Eastquay"),
    ("198.18.176.0/20", 64499, Hosting, "Eastquay"),
    ("198.18.192.0/19", 64500, Offices, "Harbour Town"),
    ("240.28.0.0/16", 64501, Homes, "Saltmarsh"),
    ("240.29.0.0/16", 64501, Homes, "Lowfield"),
    ("198.18.224.0/22", 64502, Offices, "Harbour Town"),
    ("198.18.228.0/22", 64503, Offices, "Harbour Town"),
    ("198.18.232.0/22", 64504, Offices, "Lowfield"),
    ("198.19.0.0/18", 64505, Hosting, "Eastquay"),
    // The cloud's second site is across the border: its AS is ours, its place is not.
    ("198.19.64.0/18", 64505, Hosting, "Pinecrest"),
    ("240.32.0.0/15", 64506, Homes, "Eastquay"),
    // This one moves: see MOVES.
    ("240.34.0.0/16", 64506, Homes, "Saltmarsh"),
    ("198.18.240.0/20", 64507, Offices, "Northlight"),
    ("2001:db8:1000::/40", 64496, Homes, "Harbour Town"),
    ("2001:db8:1100::/40", 64497, Mobile, "Harbour Town"),
    ("2001:db8:1200::/40", 64498, Offices, "Northlight"),
    ("2001:db8:1300::/40", 64505, Hosting, "Eastquay"),
    ("2001:db8:1400::/40", 64506, Homes, "Saltmarsh"),
    ("241.0.0.0/10", 65536, Homes, "Pinecrest"),
    ("198.19.128.0/18", 65537, Hosting, "Pinecrest"),
    ("241.64.0.0/10", 65538, Homes, "Straithe"),
    ("198.19.192.0/19", 65539, Hosting, "Straithe"),
    ("241.128.0.0/10", 65540, Homes, "Far Harbour"),
    ("242.0.0.0/8", 65545, Homes, "Open Water"),
    ("243.0.0.0/10", 65546, Hosting, "Open Water"),
    ("2001:db8:2000::/40", 65536, Homes, "Pinecrest"),
    ("2001:db8:3000::/40", 65545, Homes, "Open Water"),
    ("203.0.113.0/24", 65551, Hosting, "Open Water"),
];

/// Networks that are sold in the middle of the quarter, and to whom.
const MOVES: &[(&str, u32)] = &[("240.34.0.0/16", 64496)];

pub(super) fn networks() -> Vec<Network> {
    let network = |(prefix, number, purpose, city): &(&'static str, u32, Purpose, &str)| Network {
        prefix: prefix.parse().expect("a network"),
        system: system_of(*number),
        moved_to: MOVES.iter().find(|(moved, _)| moved == prefix).map(|(_, number)| system_of(*number)),
        purpose: *purpose,
        place: PLACES.iter().find(|place| place.city == *city).expect("a place above"),
    };
    NETWORKS.iter().map(network).collect()
}

fn system_of(number: u32) -> &'static System {
    SYSTEMS.iter().find(|system| system.number == number).expect("a system above")
}
