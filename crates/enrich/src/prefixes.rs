//! A set of networks, asked for the most specific one that holds an address or a smaller network.
//!
//! Networks nest or are apart, so the address space falls into ranges with one innermost network each: sorted
//! starts and a binary search, which is a few cache lines where a trie of bits is a chain of pointers.

use std::net::IpAddr;

use ipnet::IpNet;

#[derive(Clone, Debug, Default)]
pub(crate) struct Prefixes {
    networks: Vec<IpNet>,
    /// For each network the one around it.
    around: Vec<Option<usize>>,
    v4: Ranges,
    v6: Ranges,
}

#[derive(Clone, Debug, Default)]
struct Ranges {
    starts: Vec<u128>,
    /// The innermost network from the same place of `starts` on.
    innermost: Vec<Option<usize>>,
}

impl Prefixes {
    pub(crate) fn of(networks: Vec<IpNet>) -> Prefixes {
        let mut prefixes = Prefixes { around: vec![None; networks.len()], networks, ..Prefixes::default() };
        let mut order: Vec<usize> = (0..prefixes.networks.len()).collect();
        order.sort_by_key(|place| (first(prefixes.networks[*place]), prefixes.networks[*place].prefix_len()));
        let (v4, v6): (Vec<usize>, Vec<usize>) = order.into_iter().partition(|place| matches!(prefixes.networks[*place], IpNet::V4(_)));
        prefixes.v4 = prefixes.flatten(&v4);
        prefixes.v6 = prefixes.flatten(&v6);
        prefixes
    }

    /// One sweep over networks sorted by start, outer ones first, that keeps those it is inside of.
    fn flatten(&mut self, order: &[usize]) -> Ranges {
        let mut ranges = Ranges::default();
        let mut inside: Vec<usize> = Vec::new();
        for &place in order {
            let start = first(self.networks[place]);
            self.leave(&mut inside, Some(start), &mut ranges);
            self.around[place] = inside.last().copied();
            inside.push(place);
            ranges.push(start, Some(place));
        }
        self.leave(&mut inside, None, &mut ranges);
        ranges
    }

    /// Drops the networks that end before this start, all without one.
    fn leave(&self, inside: &mut Vec<usize>, start: Option<u128>, ranges: &mut Ranges) {
        while let Some(&place) = inside.last() {
            let end = last(self.networks[place]);
            if start.is_some_and(|start| start <= end) {
                return;
            }
            inside.pop();
            if let Some(next) = end.checked_add(1) {
                ranges.push(next, inside.last().copied());
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.networks.is_empty()
    }

    /// The place, in the list given at first, of the longest prefix that holds all of this network.
    pub(crate) fn find(&self, network: IpNet) -> Option<usize> {
        let ranges = if matches!(network, IpNet::V4(_)) { &self.v4 } else { &self.v6 };
        let after = ranges.starts.partition_point(|start| *start <= first(network));
        let mut found = ranges.innermost[after.checked_sub(1)?];
        while let Some(place) = found
            && self.networks[place].prefix_len() > network.prefix_len()
        {
            found = self.around[place];
        }
        found
    }
}

impl Ranges {
    fn push(&mut self, start: u128, innermost: Option<usize>) {
        if self.starts.last() == Some(&start) {
            self.starts.pop();
            self.innermost.pop();
        }
        self.starts.push(start);
        self.innermost.push(innermost);
    }
}

fn first(network: IpNet) -> u128 {
    number(network.network())
}

fn last(network: IpNet) -> u128 {
    number(network.broadcast())
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(networks: &[&str], asked: &str, expected: Option<&str>) {
        let list = networks.iter().map(|text| text.parse().expect("a network")).collect();
        let asked = event::value::network(asked).expect("a network");
        let found = Prefixes::of(list).find(asked).map(|place| networks[place]);
        assert_eq!(found, expected, "{asked}");
    }

    #[test]
    fn the_most_specific_network_is_found() {
        const LIST: &[&str] = &[
            "198.51.100.0/24",
            "192.0.2.0/24",
            "192.0.2.0/25",
            "192.0.2.64/26",
            "192.0.2.66/32",
            "192.0.2.192/26",
            "255.255.255.0/24",
            "2001:db8::/32",
            "2001:db8:1::/48",
            "::/1",
        ];
        check(LIST, "192.0.2.1", Some("192.0.2.0/25"));
        check(LIST, "192.0.2.65", Some("192.0.2.64/26"));
        check(LIST, "192.0.2.66", Some("192.0.2.66/32"));
        check(LIST, "192.0.2.67", Some("192.0.2.64/26"));
        check(LIST, "192.0.2.130", Some("192.0.2.0/24"));
        check(LIST, "192.0.2.255", Some("192.0.2.192/26"));
        check(LIST, "192.0.3.0", None);
        check(LIST, "1.2.3.4", None);
        check(LIST, "198.51.100.255", Some("198.51.100.0/24"));
        check(LIST, "198.51.101.0", None);
        check(LIST, "255.255.255.255", Some("255.255.255.0/24"));
        check(LIST, "2001:db8:1::1", Some("2001:db8:1::/48"));
        check(LIST, "2001:db8:2::1", Some("2001:db8::/32"));
        check(LIST, "2001:db9::1", Some("::/1"));
        check(LIST, "ffff::1", None);
        check(&[], "192.0.2.1", None);
    }

    #[test]
    fn a_network_is_found_only_in_one_that_holds_all_of_it() {
        const LIST: &[&str] = &["192.0.2.0/24", "192.0.2.0/25", "2001:db8::/48"];
        check(LIST, "192.0.2.0/26", Some("192.0.2.0/25"));
        check(LIST, "192.0.2.0/25", Some("192.0.2.0/25"));
        check(LIST, "192.0.2.0/24", Some("192.0.2.0/24"));
        check(LIST, "192.0.2.0/23", None);
        check(LIST, "2001:db8::/32", None);
    }
}
