//! The token of the operations listener.

use std::sync::Arc;

use arc_swap::{ArcSwapOption, Guard};

use crate::config::SecretText;

/// The token of a listener, if it has one. It can be changed while the listener runs.
#[derive(Clone, Default)]
pub(crate) struct SharedToken(Arc<ArcSwapOption<SecretText>>);

impl SharedToken {
    pub(crate) fn new(token: Option<SecretText>) -> Self {
        Self(Arc::new(ArcSwapOption::from_pointee(token)))
    }

    pub(crate) fn current(&self) -> Guard<Option<Arc<SecretText>>> {
        self.0.load()
    }

    pub(crate) fn set(&self, token: Option<SecretText>) {
        self.0.store(token.map(Arc::new));
    }
}
