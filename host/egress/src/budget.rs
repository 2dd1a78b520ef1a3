//! How often destinations are spoken to: asked for each request of a skill, redirects included, before anybody is asked to
//! approve it and before a secret is opened. Who counts is plugged in.

use crate::admit::AllowedRequest;
use crate::error::{Denial, HttpError};
use sophon_types::Principal;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Counts requests to a host.
pub trait DestinationBudget: Send + Sync {
    /// Counts one request on behalf of `principal`.
    ///
    /// # Errors
    /// How long until the next one is let out.
    fn take(&self, principal: &Principal, host: &str) -> Result<(), Duration>;
}

/// The place where a budget is plugged in; without one nothing is counted.
#[derive(Default)]
pub(crate) struct Budget(OnceLock<Arc<dyn DestinationBudget>>);

impl Budget {
    pub(crate) fn plug(&self, budget: Arc<dyn DestinationBudget>) {
        if self.0.set(budget).is_err() {
            tracing::warn!("destinations are bounded already; the first budget stays");
        }
    }

    pub(crate) fn take(&self, principal: &Principal, allowed: &AllowedRequest) -> Result<(), HttpError> {
        let Some(budget) = self.0.get() else { return Ok(()) };
        let host = allowed.checked_url().host().to_string();
        budget.take(principal, &host).map_err(|wait| {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            Denial::new("destination_rate_limited", format_args!("too many requests to {host}"))
                .hint(format!(
                    "try again in {} s; [[rate_limit.destinations]] in sophon.toml sets the pace",
                    seconds.max(1)
                ))
                .into()
        })
    }
}
