//! State that all gateways share, apart from sessions.

/// State of the whole gateway that the other gateways need. Messages to one gateway arrive in order;
/// some are repeated in an [export](SharedState::export).
pub trait SharedState: Send + Sync {
    /// The whole state, in messages of at most some hundred kilobytes, for a gateway that may not
    /// know it.
    fn export(&self) -> Vec<Vec<u8>>;

    /// Applies a message of another gateway: one that it has [announced](crate::Cluster::announce),
    /// or a part of its export. `false` if the message is malformed.
    fn apply(&self, message: &[u8]) -> bool;
}

/// No shared state.
impl SharedState for () {
    fn export(&self) -> Vec<Vec<u8>> {
        Vec::new()
    }

    fn apply(&self, _: &[u8]) -> bool {
        true
    }
}
