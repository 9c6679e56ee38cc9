//! What a person or a machine may do. Commands and pages reach stored data through here only: every function takes
//! the actor first, so that neither permission nor audit can be forgotten.

mod actor;
mod alarms;
mod audit;
mod backup;
pub mod botnet;
pub mod compare;
mod configuration;
mod desk;
mod feeds;
mod health;
mod history;
mod intake;
mod maintenance;
mod queries;
mod run;
mod tables;
mod upkeep;
mod warnings;

pub use actor::{Action, Actor, Role};
pub use backup::{restore, verify_backup};
pub use configuration::{Configuration, ConfigurationFile, Places, Retention, masked};
pub use desk::{Desk, Opening, catalog, feed_folders, tables};
pub use enrich::{Dated, Kind as TableKind};
pub use feeds::{UpdatedFeeds, feeds_batch};
pub use health::HealthReport;
pub use history::{History, Imported};
pub use pipeline::eventdb::EventDb;
pub use pipeline::{
    Clock, Enrichment, HandedIn, Input, NotKept, Of, Outcome, Peeked, Planned, Pushing, Queue, Reread, Secret, Source, Tally, Tls, Unread,
    What, Worker, fetch, find, open as open_delivery, pick, read, require,
};
pub use queries::{Sql, collect, each_batch, write_parquet};
pub use run::plans;
pub use store::{Access, Answer, Delivery, Limits, Progress, days_of_text, days_text};
pub use tables::{Bundled, Installed};
pub use upkeep::KEPT_VERSIONS;
