//! Every provider's form: one file, one function, one line here. None knows another.
//!
//! A form is asked for a day and hands out what the provider said of it, whenever it arrived. It remembers nothing:
//! a day's deliveries are the same whichever days were asked for before.

mod blocklist_de;
mod cins;
mod csv;
mod dshield;
mod feodotracker;
mod openphish;
mod phishtank;
mod shadowserver;
mod spamhaus;
mod threatfox;
pub(crate) mod tweetfeed;
mod urlhaus;

use crate::quarter::{Delivery, Quarter};

pub(crate) type Form = fn(&Quarter, i32) -> Vec<Delivery>;

pub(crate) const ALL: &[Form] = &[
    shadowserver::sinkhole::http,
    shadowserver::sinkhole::http6,
    shadowserver::brute_force::deliveries,
    shadowserver::amplification::deliveries,
    shadowserver::website::deliveries,
    shadowserver::scans::resolvers,
    shadowserver::scans::desktops,
    shadowserver::scans::certificates,
    shadowserver::scans::devices,
    feodotracker::deliveries,
    urlhaus::deliveries,
    threatfox::deliveries,
    openphish::deliveries,
    phishtank::deliveries,
    spamhaus::deliveries,
    dshield::deliveries,
    blocklist_de::deliveries,
    cins::deliveries,
    tweetfeed::deliveries,
];
