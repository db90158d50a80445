//! The account at a certificate authority.

use instant_acme::{Account, AccountBuilder, NewAccount};
use tracing::info;

use super::{AcmeState, directory_client::DirectoryClient, error::AcmeError};
use crate::supervise::blocking;

impl AcmeState {
    /// The stored account, or a new one, which is stored.
    pub(super) async fn account(&self, client: &DirectoryClient) -> Result<Account, AcmeError> {
        let storage = self.storage.clone();
        let stored = blocking("ACME account", move || storage.load_account()).await?;
        match stored {
            Some(stored) => {
                builder(client).from_credentials(stored).await.map_err(AcmeError::of_request)
            }
            None => self.new_account(client).await,
        }
    }

    /// Registers an account, and stores it.
    pub(super) async fn new_account(&self, client: &DirectoryClient) -> Result<Account, AcmeError> {
        let contact: Vec<_> = self.config.contact.iter().map(|it| format!("mailto:{it}")).collect();
        let contact: Vec<_> = contact.iter().map(String::as_str).collect();
        let new = NewAccount {
            contact: &contact,
            terms_of_service_agreed: self.config.terms_of_service_agreed,
            only_return_existing: false,
        };
        let created = builder(client).create(&new, self.config.directory.clone(), None).await;
        let (account, credentials) = created.map_err(AcmeError::of_request)?;
        let storage = self.storage.clone();
        blocking("ACME account", move || storage.keep_account(&credentials)).await?;
        info!(directory = self.config.directory, "ACME account registered");
        Ok(account)
    }
}

fn builder(client: &DirectoryClient) -> AccountBuilder {
    Account::builder_with_http(Box::new(client.clone()))
}
