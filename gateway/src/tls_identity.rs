//! The certificate of a gateway, and the secret of its keys: from the files of the operator, or with
//! ACME from its storage.

use signalbox_certs::Certificates;

use crate::{
    acme::AcmeStorage,
    config::Config,
    error::BindError,
    secret::{self, SecretError},
};

/// The certificate, which with ACME may have to be issued first.
pub(crate) fn certificates(
    config: &Config,
    storage: Option<&AcmeStorage>,
) -> Result<Certificates, BindError> {
    if let Some(storage) = storage {
        return Ok(Certificates::issued(storage.certificate()));
    }
    let (Some(certificate), Some(key)) = (&config.tls.certificate, &config.tls.key) else {
        return Err(BindError::Config(config.check()));
    };
    Certificates::load(certificate.clone(), key.clone()).map_err(BindError::Certificate)
}

/// The secret from which keys are derived ([`crate::keys`]).
pub(crate) fn secret(config: &Config, storage: Option<&AcmeStorage>) -> Result<Vec<u8>, BindError> {
    if let Some(path) = &config.resume.state_file {
        return Ok(secret::load_or_create(path)?);
    }
    // The key of an issued certificate changes with it.
    if let Some(storage) = storage {
        let path = storage.secret();
        let failed = |source| SecretError::Create { path: path.clone(), source };
        storage.create().map_err(failed)?;
        return Ok(secret::load_or_create(&path)?);
    }
    match &config.tls.key {
        Some(key) => std::fs::read(key).map_err(BindError::Key),
        None => Err(BindError::Config(config.check())),
    }
}
