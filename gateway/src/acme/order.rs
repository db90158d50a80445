//! One order: validation of each domain, then the certificate.

use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, Error as ProtocolError, Identifier, NewOrder,
    Order, OrderStatus, RetryPolicy,
};
use signalbox_certs::ChallengeAnswer;
use tracing::warn;

use super::{
    AcmeState,
    directory_client::DirectoryClient,
    error::{AcmeError, is_unknown_account},
};
use crate::supervise::blocking;

/// How the authority is asked whether it has validated a domain, or issued the certificate.
const POLL: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(250))
    .backoff(1.5)
    .timeout(Duration::from_secs(120));

impl AcmeState {
    /// Orders a certificate, stores it and presents it.
    pub(super) async fn issue(&self) -> Result<(), AcmeError> {
        let client = DirectoryClient::new(self.config.ca.clone()).await?;
        let account = self.account(&client).await?;
        let mut order = self.order(&client, account).await?;
        let answers = self.answer(&mut order).await?;
        match order.poll_ready(&POLL).await {
            Ok(OrderStatus::Ready) => {}
            Ok(_) | Err(ProtocolError::Api(_)) => return Err(failed_validation(&mut order).await),
            Err(error) => return Err(AcmeError::of_request(error)),
        }
        drop(answers);
        let key = order.finalize().await.map_err(AcmeError::of_request)?;
        let chain = order.poll_certificate(&POLL).await.map_err(AcmeError::of_request)?;
        let (storage, certificates) = (self.storage.clone(), self.certificates.clone());
        let present = move || {
            storage.keep_certificate(&chain, &key)?;
            certificates.reload().map_err(AcmeError::Certificate)
        };
        blocking("ACME certificate", present).await
    }

    /// Begins an order. An account that the authority does not know any more is replaced.
    async fn order(&self, client: &DirectoryClient, account: Account) -> Result<Order, AcmeError> {
        let domains: Vec<_> = self.config.domains.iter().cloned().map(Identifier::Dns).collect();
        let new = NewOrder::new(&domains);
        match account.new_order(&new).await {
            Err(error) if is_unknown_account(&error) => {
                warn!(
                    "ACME account not found by the certificate authority; another one will be registered"
                );
                let account = self.new_account(client).await?;
                account.new_order(&new).await.map_err(AcmeError::of_request)
            }
            result => result.map_err(AcmeError::of_request),
        }
    }

    /// Answers the challenge of each domain that is not validated yet.
    async fn answer(&self, order: &mut Order) -> Result<Vec<ChallengeAnswer>, AcmeError> {
        let mut answers = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(AcmeError::of_request)?;
            let domain = authorization.identifier().to_string();
            match authorization.status {
                AuthorizationStatus::Valid => continue,
                AuthorizationStatus::Pending => {}
                _ => return Err(AcmeError::of_validation(domain, None)),
            }
            let challenge = authorization.challenge(ChallengeType::TlsAlpn01);
            let mut challenge = challenge.ok_or(AcmeError::NoChallenge)?;
            let digest = challenge.key_authorization().digest();
            answers.push(self.certificates.answer_challenge(&domain, digest.as_ref())?);
            challenge.set_ready().await.map_err(AcmeError::of_request)?;
        }
        Ok(answers)
    }
}

/// The reason for which an order has become invalid.
async fn failed_validation(order: &mut Order) -> AcmeError {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let Ok(mut authorization) = authorization else { continue };
        if authorization.refresh().await.is_err() {
            continue;
        }
        let problem =
            authorization.challenges.iter().find_map(|challenge| challenge.error.as_ref());
        if problem.is_some() || authorization.status == AuthorizationStatus::Invalid {
            return AcmeError::of_validation(authorization.identifier().to_string(), problem);
        }
    }
    AcmeError::Failed("the order has become invalid, without a reason".into())
}
