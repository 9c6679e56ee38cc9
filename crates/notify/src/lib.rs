//! Who must hear of what, and how. What there is to say is made here, purely; an output is one file.

mod alarm;
mod mail;
mod webhook;

pub use alarm::{News, Trouble};
pub use mail::{Mail, Security, Server};
pub use webhook::Webhook;
