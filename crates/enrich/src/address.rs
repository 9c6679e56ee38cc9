//! Where an address is and whose network it is in: each set of fields from one source, whole.
//!
//! A row is answered by the number of its answer; columns are then gathered from the few hundred different
//! answers of a batch, which is far cheaper than writing a text for every row.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array, Int64Array, StringArray, UInt32Array, new_null_array};
use arrow::compute::{is_not_null, take};
use event::value;
use ipnet::IpNet;

use crate::database::{Answer, AutonomousSystem, KeyHasher, Place};
use crate::draft::Draft;
use crate::side::Side;
use crate::tables::{Source, Tables};

/// Fills a side's place and AS, and hands out the addresses that it asked about, one a row, or none at all.
pub(crate) fn fill(tables: &Tables, side: &Side, draft: &mut Draft<'_>) -> Vec<Option<IpNet>> {
    let networks = networks(side, draft);
    let answers = Answers::about(tables, &networks);
    answers.fill_places(side, draft);
    answers.fill_systems(side, draft);
    networks
}

/// What to ask about: the address, else the network, which has an answer where one record holds all of it.
fn networks(side: &Side, draft: &Draft<'_>) -> Vec<Option<IpNet>> {
    let mut networks = Vec::new();
    if let Some(addresses) = draft.text(side.ip) {
        networks.extend(parsed(addresses, |text| value::ip(text).ok().map(IpNet::from)));
    }
    let Some(stated) = draft.text(side.network) else { return networks };
    networks.resize(draft.batch.num_rows(), None);
    for (network, stated) in networks.iter_mut().zip(stated) {
        *network = network.or_else(|| stated.and_then(|text| value::network(text).ok()));
    }
    networks
}

/// Each text parsed, the same one after itself not again.
fn parsed(texts: &StringArray, parse: fn(&str) -> Option<IpNet>) -> impl Iterator<Item = Option<IpNet>> {
    let mut last = (None, None);
    texts.iter().map(move |text| {
        if text != last.0 {
            last = (text, text.and_then(parse));
        }
        last.1
    })
}

/// The answers for a batch: each once, and for each row the places of two of them.
struct Answers<'t> {
    sources: Vec<Source<'t>>,
    distinct: Vec<Arc<Answer>>,
    /// By source and the source's key.
    numbers: Vec<HashMap<usize, u32, BuildHasherDefault<KeyHasher>>>,
    places: Vec<Option<u32>>,
    systems: Vec<Option<u32>>,
}

impl<'t> Answers<'t> {
    fn about(tables: &'t Tables, networks: &[Option<IpNet>]) -> Answers<'t> {
        let sources: Vec<Source<'_>> = tables.sources().collect();
        let mut answers = Answers {
            numbers: vec![HashMap::default(); sources.len()],
            sources,
            distinct: Vec::new(),
            places: Vec::with_capacity(networks.len()),
            systems: Vec::with_capacity(networks.len()),
        };
        let mut last = (None, (None, None));
        for network in networks {
            if *network != last.0 {
                last = (*network, network.map_or((None, None), |network| answers.ask(network)));
            }
            answers.places.push(last.1.0);
            answers.systems.push(last.1.1);
        }
        answers
    }

    /// The numbers of the answers that tell this network's place and its AS.
    fn ask(&mut self, network: IpNet) -> (Option<u32>, Option<u32>) {
        let (mut place, mut system) = (None, None);
        for number in 0..self.sources.len() {
            let source = self.sources[number];
            let (wants_place, wants_system) = (place.is_none() && source.has_places(), system.is_none() && source.has_systems());
            if !wants_place && !wants_system {
                continue;
            }
            let Some(key) = source.find(network) else { continue };
            let distinct = &mut self.distinct;
            let found = *self.numbers[number].entry(key).or_insert_with(|| {
                distinct.push(source.answer(key, network));
                distinct.len() as u32 - 1
            });
            let answer = &self.distinct[found as usize];
            if wants_place && answer.place.is_some() {
                place = Some(found);
            }
            if wants_system && answer.system.is_some() {
                system = Some(found);
            }
        }
        (place, system)
    }

    fn fill_places(&self, side: &Side, draft: &mut Draft<'_>) {
        let set = Set::of(&self.places, &self.distinct, |answer| answer.place.as_ref());
        set.fill(draft, side.cc, |places: &[Option<&Place>]| text(places, |place| Some(&place.cc)));
        set.fill(draft, side.country, |places| text(places, |place| place.country.as_deref()));
        set.fill(draft, side.region, |places| text(places, |place| place.region.as_deref()));
        set.fill(draft, side.state, |places| text(places, |_| None));
        set.fill(draft, side.city, |places| text(places, |place| place.city.as_deref()));
        set.fill(draft, side.latitude, |places| number(places, |place| place.latitude));
        set.fill(draft, side.longitude, |places| number(places, |place| place.longitude));
    }

    fn fill_systems(&self, side: &Side, draft: &mut Draft<'_>) {
        let set = Set::of(&self.systems, &self.distinct, |answer| answer.system.as_ref());
        set.fill(draft, side.asn, |systems: &[Option<&AutonomousSystem>]| {
            Arc::new(Int64Array::from_iter(systems.iter().map(|system| system.map(|system| i64::from(system.number)))))
        });
        set.fill(draft, side.as_name, |systems| text(systems, |system| system.name.as_deref()));
    }
}

/// One set of fields, for all rows.
struct Set<'a, T> {
    distinct: Vec<Option<&'a T>>,
    /// For each row the place in `distinct`.
    rows: UInt32Array,
}

impl<'a, T> Set<'a, T> {
    fn of(rows: &[Option<u32>], distinct: &'a [Arc<Answer>], part: fn(&Answer) -> Option<&T>) -> Set<'a, T> {
        Set { distinct: distinct.iter().map(|answer| part(answer)).collect(), rows: rows.iter().copied().collect() }
    }

    /// Sets one field of the set where any is known. A field that the table lacks becomes empty, and no column
    /// is added for it.
    fn fill(&self, draft: &mut Draft<'_>, field: event::Field, column: impl Fn(&[Option<&'a T>]) -> ArrayRef) {
        if self.rows.null_count() == self.rows.len() {
            return;
        }
        let values = column(&self.distinct);
        let is_empty = values.null_count() == values.len();
        if is_empty && draft.column(field).is_none() {
            return;
        }
        let ours = match is_empty {
            true => new_null_array(values.data_type(), self.rows.len()),
            false => take(&values, &self.rows, None).expect("rows are places in the values"),
        };
        draft.replace(field, &is_not_null(&self.rows).expect("every array tells its nulls"), ours);
    }
}

fn text<'a, T>(values: &[Option<&'a T>], field: fn(&'a T) -> Option<&'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter(values.iter().map(|value| value.and_then(field))))
}

fn number<T>(values: &[Option<&T>], field: fn(&T) -> Option<f64>) -> ArrayRef {
    Arc::new(Float64Array::from_iter(values.iter().map(|value| value.and_then(field))))
}
