//! The networks of all lists: the address space cut where one begins or ends, and for each piece the lists that hold it.
//!
//! [`crate::prefixes`] tells the most specific network; here every list that has one counts, so a piece has its answer at once. Pieces
//! that touch and have one answer are one, and a piece of IPv4 takes eight bytes.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::list::{Entries, WarningList};

#[derive(Debug)]
pub(super) struct Networks {
    v4: Pieces<u32>,
    v6: Pieces<u128>,
    /// Each set of lists once, in order.
    sets: Vec<Vec<u16>>,
}

/// From each start to the next.
#[derive(Debug)]
struct Pieces<N> {
    starts: Vec<N>,
    /// The place in `sets`.
    sets: Vec<u32>,
}

/// Where a list's network begins, or is over.
type Edge<N> = (N, u16, Turn);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    Begins,
    IsOver,
}

impl Networks {
    pub(super) fn of(lists: &[Arc<WarningList>]) -> Networks {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (number, list) in lists.iter().enumerate() {
            let Entries::Networks(networks) = &list.entries else { continue };
            for network in networks {
                match network {
                    IpNet::V4(network) => {
                        let (first, last) = (u32::from(network.network()), u32::from(network.broadcast()));
                        edges(number, first, last.checked_add(1), &mut v4);
                    }
                    IpNet::V6(network) => {
                        let (first, last) = (u128::from(network.network()), u128::from(network.broadcast()));
                        edges(number, first, last.checked_add(1), &mut v6);
                    }
                }
            }
        }
        let mut numbers = HashMap::from([(Vec::new(), 0)]);
        let (v4, v6) = (pieces(v4, lists.len(), &mut numbers), pieces(v6, lists.len(), &mut numbers));
        let mut sets = vec![Vec::new(); numbers.len()];
        for (set, number) in numbers {
            sets[number as usize] = set;
        }
        Networks { v4, v6, sets }
    }

    /// The lists that hold the address.
    pub(super) fn find(&self, address: IpAddr) -> &[u16] {
        let set = match address {
            IpAddr::V4(address) => self.v4.at(u32::from(address)),
            IpAddr::V6(address) => self.v6.at(u128::from(address)),
        };
        &self.sets[set as usize]
    }

    /// The lists that hold every address of the network, by one entry or by several.
    pub(super) fn find_whole(&self, network: IpNet) -> Vec<u16> {
        let sets = match network {
            IpNet::V4(network) => self.v4.within(network.network().into(), network.broadcast().into()),
            IpNet::V6(network) => self.v6.within(network.network().into(), network.broadcast().into()),
        };
        let mut sets = sets.iter().map(|set| &self.sets[*set as usize]);
        let mut all = sets.next().cloned().unwrap_or_default();
        for set in sets {
            if all.is_empty() {
                break;
            }
            all.retain(|list| set.contains(list));
        }
        all
    }
}

fn edges<N>(list: usize, first: N, after: Option<N>, edges: &mut Vec<Edge<N>>) {
    edges.push((first, list as u16, Turn::Begins));
    edges.extend(after.map(|after| (after, list as u16, Turn::IsOver)));
}

/// One sweep over all edges, that counts how many networks of each list it is inside of.
fn pieces<N: Copy + Default + Ord>(mut edges: Vec<Edge<N>>, lists: usize, numbers: &mut HashMap<Vec<u16>, u32>) -> Pieces<N> {
    edges.sort_unstable();
    let mut pieces = Pieces { starts: vec![N::default()], sets: vec![0] };
    let (mut inside, mut open) = (vec![0_u32; lists], Vec::new());
    for chunk in edges.chunk_by(|one, next| one.0 == next.0) {
        for (_, list, turn) in chunk {
            match turn {
                Turn::Begins => inside[usize::from(*list)] += 1,
                Turn::IsOver => inside[usize::from(*list)] -= 1,
            }
            let place = open.binary_search(list);
            match (place, inside[usize::from(*list)]) {
                (Err(place), 1..) => open.insert(place, *list),
                (Ok(place), 0) => drop(open.remove(place)),
                _ => (),
            }
        }
        let set = match numbers.get(&open) {
            Some(set) => *set,
            None => {
                let set = numbers.len() as u32;
                numbers.insert(open.clone(), set);
                set
            }
        };
        pieces.push(chunk[0].0, set);
    }
    pieces.starts.shrink_to_fit();
    pieces.sets.shrink_to_fit();
    pieces
}

impl<N: Copy + Ord> Pieces<N> {
    fn push(&mut self, start: N, set: u32) {
        if self.starts.last() == Some(&start) {
            self.starts.pop();
            self.sets.pop();
        }
        if self.sets.last() != Some(&set) {
            self.starts.push(start);
            self.sets.push(set);
        }
    }

    /// The first piece starts at zero, so there is one for every address.
    fn place(&self, address: N) -> usize {
        self.starts.partition_point(|start| *start <= address) - 1
    }

    fn at(&self, address: N) -> u32 {
        self.sets[self.place(address)]
    }

    fn within(&self, first: N, last: N) -> &[u32] {
        &self.sets[self.place(first)..=self.place(last)]
    }
}
