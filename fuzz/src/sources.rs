//! What mail servers and senders of mails say. The files are pipeline's own, taken from there one by one: the room as a whole has
//! the store. They lie here as they lie there, since they say by it who may see what.

pub(crate) mod imap;
pub(crate) mod mail;
