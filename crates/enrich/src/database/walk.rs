//! The way down a table's tree for an IPv4 address. The reader's own way starts at the root for each address;
//! this one starts sixteen bits below it, where most of the tree's memory is not yet touched, and so costs a third.

use maxminddb::Metadata;

/// Bits that one look into the list of starts takes.
const SKIPPED: u32 = 16;

/// Zeros between tree and records.
const SEPARATOR: usize = 16;

#[derive(Debug)]
pub(crate) struct Walk {
    record_size: u16,
    nodes: usize,
    /// For each value of the first bits, the branch that they lead to.
    starts: Vec<u32>,
}

impl Walk {
    /// Of a table that the reader has found sound.
    pub(crate) fn of(table: &[u8], about: &Metadata) -> Walk {
        let mut walk = Walk { record_size: about.record_size, nodes: about.node_count as usize, starts: vec![0] };
        if about.ip_version == 6 {
            // IPv4 is under ninety-six zeros.
            walk.starts = vec![(0..96).fold(0, |from, _| walk.branch(table, from, 0))];
        }
        for _ in 0..SKIPPED {
            walk.starts = walk.starts.iter().flat_map(|start| [0, 1].map(|bit| walk.branch(table, *start, bit))).collect();
        }
        walk
    }

    /// The offset of the address's record, if it has one.
    pub(crate) fn offset(&self, table: &[u8], address: u32) -> Option<usize> {
        let mut branch = self.starts[(address >> (32 - SKIPPED)) as usize];
        let mut bits = address << SKIPPED;
        for _ in SKIPPED..32 {
            if branch as usize >= self.nodes {
                break;
            }
            branch = self.branch(table, branch, (bits >> 31) as usize);
            bits <<= 1;
        }
        // The number of nodes itself means that there is nothing, and is less than the separator beyond.
        (branch as usize).checked_sub(self.nodes + SEPARATOR)
    }

    /// Where this bit leads from a branch; a branch that is no node leads to itself.
    fn branch(&self, table: &[u8], from: u32, bit: usize) -> u32 {
        let node = from as usize;
        if node >= self.nodes {
            return from;
        }
        let bytes = |at: usize| <[u8; 4]>::try_from(&table[at..at + 4]).expect("four bytes");
        // The separator's zeros follow the last node, so that four bytes are always there.
        match (self.record_size, bit) {
            (24, _) => u32::from_be_bytes(bytes(node * 6 + bit * 3)) >> 8,
            (28, 0) => {
                let [one, two, three, both] = bytes(node * 7);
                u32::from_be_bytes([both >> 4, one, two, three])
            }
            (28, _) => u32::from_be_bytes(bytes(node * 7 + 3)) & 0x0fff_ffff,
            _ => u32::from_be_bytes(bytes(node * 8 + bit * 4)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use maxminddb::Reader;

    use super::*;
    use crate::mmdb::{self, About, RecordSize};

    /// Every address around the edges of these networks, found as the reader finds it.
    #[track_caller]
    fn check(networks: &[&str]) {
        let record = |number: usize| format!("number = {number}").parse().expect("TOML");
        let records: Vec<_> =
            networks.iter().enumerate().map(|(number, text)| (text.parse().expect("a network"), record(number))).collect();
        for record_size in [RecordSize::Bits24, RecordSize::Bits28, RecordSize::Bits32] {
            let table = mmdb::write(&records, &About { kind: "Test", build_epoch: 0, record_size });
            let reader = Reader::from_source(&table).expect("a table");
            let walk = Walk::of(&table, reader.metadata());
            for (network, _) in &records {
                let (ipnet::IpNet::V4(network), around) = (network, [-1i64, 0, 1]) else { continue };
                for edge in [network.network(), network.broadcast()] {
                    for address in around.iter().filter_map(|step| u32::try_from(i64::from(u32::from(edge)) + step).ok()) {
                        let expected = reader.lookup(IpAddr::V4(Ipv4Addr::from(address))).expect("IPv4").offset();
                        assert_eq!(walk.offset(&table, address), expected, "{} at {record_size:?}", Ipv4Addr::from(address));
                    }
                }
            }
        }
    }

    #[test]
    fn it_leads_where_the_readers_does() {
        check(&[
            "192.0.2.0/24",
            "192.0.2.128/25",
            "192.0.2.130/32",
            "10.0.0.0/8",
            "172.16.0.0/16",
            "172.17.0.0/17",
            "0.0.0.0/32",
            "255.255.255.255/32",
        ]);
        check(&["192.0.2.0/24", "192.0.2.130/32", "10.0.0.0/8", "2001:db8::/32"]);
        check(&["0.0.0.0/0"]);
        check(&["10.0.0.0/8", "::/0"]);
    }
}
