//! The WebSocket protocol of the vendor's browser SDK (`@opentok/client`), as far as signaling needs
//! it: binary [frames](frame) that carry JSON [requests](Request) and [messages](message).
//!
//! It is an independent implementation, written from a description of the SDK's behaviour. Like
//! `signalbox-protocol`, this crate opens no socket, spawns no task and reads no clock. It only
//! translates: a signal, a presence event or an answer into bytes ([`message`]), and bytes into what
//! a client asks for ([`ClientFrame`]).

mod client;
pub mod frame;
mod json_fields;
pub mod message;
mod receipt;
mod request;
mod uri;

pub use self::{
    client::{ClientFault, ClientFrame, Request, TRANSACTION_BYTES},
    receipt::Receipt,
    request::{Action, CreateConnection, Refusal},
};
