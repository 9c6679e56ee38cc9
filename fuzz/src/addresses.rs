//! Tables of addresses in the MMDB format, as a download may bring them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use enrich::mmdb::{self, About, RecordSize};
use enrich::{Part, Tables};

/// An address in the first sixteen bytes, a table in the rest.
pub(crate) fn fuzz(input: &[u8]) {
    let Some((address, table)) = input.split_first_chunk::<16>() else { return };
    let Ok(part) = Part::addresses("odd", table.to_vec()) else { return };
    let tables = Tables::of(vec![part.into()]);
    let v6 = Ipv6Addr::from(*address);
    let v4 = Ipv4Addr::from(*address.last_chunk::<4>().expect("four of sixteen"));
    for address in [IpAddr::V6(v6), IpAddr::V4(v4)] {
        assert_eq!(format!("{:?}", tables.answer(address)), format!("{:?}", tables.answer(address)));
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let table = |text: &str| text.parse::<toml::Table>().expect("TOML");
    let country =
        table("country = { iso_code = 'HK' }\ncity = { names = { en = 'Hong Kong' } }\nlocation = { latitude = 22.3, longitude = 114.2 }");
    let system = table("autonomous_system_number = 64496\nautonomous_system_organization = 'Example'");
    let records = vec![("192.0.2.0/24".parse().expect("a network"), country), ("2001:db8::/32".parse().expect("a network"), system)];
    let about = About { kind: "Odd", build_epoch: 1_772_517_600, record_size: RecordSize::Bits24 };
    let bytes = mmdb::write(&records, &about);
    let address = |tail: [u8; 4]| [[0; 12].as_slice(), &tail].concat();
    vec![[address([192, 0, 2, 1]), bytes.clone()].concat(), [address([0, 0, 0, 0]), bytes].concat()]
}
