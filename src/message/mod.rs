//! The nouns: what travels, what is kept, how it can end. Verbs live in the rooms.

pub mod certificate;
pub mod connection;
pub mod encryption;
pub mod failure;
pub mod forwarding;
pub mod interim;
pub mod key;
pub mod own_fields;
pub mod path;
pub mod ran;
pub mod refusal;
pub mod request;
pub mod response;
pub mod stored;
pub mod tier;
pub mod timeline;
pub mod verdict;
