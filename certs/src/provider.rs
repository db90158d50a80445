//! The crypto provider. Two providers in one process make rustls' plain `builder()` panic, so every
//! configuration in this crate names its provider and none relies on the process default.

use std::sync::{Arc, LazyLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};

/// The crypto provider of the whole product: aws-lc-rs with rustls' default suites and groups.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));
    PROVIDER.clone()
}

/// Makes [`provider`] the default of the process, for libraries that do not take a provider.
///
/// Call it first in `main`. The first default of a process stays, so calling it again is harmless.
pub fn install_provider() {
    // The error carries the provider that was installed first; nothing can be done about it.
    let _ = CryptoProvider::clone(&provider()).install_default();
}
