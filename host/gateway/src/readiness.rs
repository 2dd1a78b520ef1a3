//! Whether the parts below can serve calls. Asked by supervisors without a key, so an answer is kept for a moment:
//! nobody can make the database busy by asking.

use crate::Gateway;
use std::time::{Duration, Instant};

/// How long an answer is kept.
const KEPT: Duration = Duration::from_secs(1);
/// How long the store may take.
const WITHIN: Duration = Duration::from_secs(5);

/// The last answer.
#[derive(Debug, Default)]
pub(crate) struct Readiness(tokio::sync::Mutex<Option<(Instant, Result<(), String>)>>);

impl Gateway {
    /// Whether calls can be served; else what is wrong.
    pub(crate) async fn readiness(&self) -> Result<(), String> {
        let mut last = self.last_readiness().0.lock().await;
        if let Some((at, answer)) = &*last
            && at.elapsed() < KEPT
        {
            return answer.clone();
        }
        let answer = match tokio::time::timeout(WITHIN, self.store().ready()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                tracing::error!(%error, "the store is not ready");
                Err("the store does not work".to_owned())
            }
            Err(_elapsed) => Err("the store does not answer".to_owned()),
        };
        *last = Some((Instant::now(), answer.clone()));
        answer
    }
}
