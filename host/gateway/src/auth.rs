//! Who calls. The one place where a [`Principal`] is made: from an API key that the store knows, or from the token
//! that this run of the gateway left in the home for the person at the machine.

use crate::key::{KeyText, KeyUse, results_named};
use crate::problem::Problem;
use crate::{GatewayError, OperatorToken};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use parking_lot::Mutex;
use sophon_executor::Results;
use sophon_store::Store;
use sophon_types::{Digest, KeyId, Principal, TenantId, UserId};
use std::collections::HashMap;
use std::str::FromStr;
use std::time::{Duration, Instant};

/// How long an answer of the store is believed. A revoked key is forgotten at once; this bounds what another
/// process on the same store could revoke.
const BELIEVED: Duration = Duration::from_secs(5);
/// The most keys that are remembered.
const REMEMBERED: usize = 4096;

/// An authenticated caller.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// Who calls.
    pub(crate) principal: Principal,
    /// How the key was shown.
    pub(crate) standing: Standing,
    /// Whether results may leave as data beside the wrapped text.
    pub(crate) results: Results,
}

/// What stands behind a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// An API key.
    Key,
    /// The person at the machine, who named no tenant: the whole home.
    Operator,
    /// The person at the machine, in one tenant.
    OperatorIn,
}

impl Standing {
    pub(crate) fn is_operator(self) -> bool {
        self != Self::Key
    }
}

/// Reads `Authorization` and knows the keys.
#[derive(Debug)]
pub(crate) struct Authenticator {
    store: Store,
    operator: Digest,
    operator_key: KeyId,
    known: Mutex<HashMap<Digest, Known>>,
}

#[derive(Debug, Clone)]
struct Known {
    principal: Principal,
    results: Results,
    since: Instant,
}

impl Authenticator {
    /// Knows the keys of `store`, and `operator`.
    pub(crate) fn new(store: Store, operator: &OperatorToken) -> Self {
        Self { store, operator: operator.digest(), operator_key: operator.key(), known: Mutex::new(HashMap::new()) }
    }

    /// The caller of a request.
    pub(crate) async fn authenticate(&self, headers: &HeaderMap) -> Result<Caller, Problem> {
        let (purpose, key) = bearer(headers)?;
        let digest = key.digest();
        drop(key);
        match purpose {
            KeyUse::Operator if digest == self.operator => self.operator(headers).map_err(Problem::from),
            KeyUse::Operator => Err(GatewayError::KeyInvalid.into()),
            KeyUse::Api => self.key(digest).await,
        }
    }

    /// Forgets what is known of a key.
    pub(crate) fn forget(&self, id: KeyId) {
        self.known.lock().retain(|_digest, known| known.principal.key != id);
    }

    async fn key(&self, digest: Digest) -> Result<Caller, Problem> {
        let remembered = self.known.lock().get(&digest).filter(|known| known.since.elapsed() < BELIEVED).cloned();
        let known = match remembered {
            Some(known) => known,
            None => self.look_up(digest).await?,
        };
        Ok(Caller { principal: known.principal, standing: Standing::Key, results: known.results })
    }

    async fn look_up(&self, digest: Digest) -> Result<Known, Problem> {
        // Taken before the store is asked: a key revoked meanwhile is believed for less long, not for longer.
        let since = Instant::now();
        let row = self.store.keys().by_digest(&digest).await?;
        let Some(row) = row.filter(|row| row.revoked_at.is_none()) else {
            self.known.lock().remove(&digest);
            return Err(GatewayError::KeyInvalid.into());
        };
        let results = results_named(&row.results);
        let principal = Principal { tenant: row.tenant, user: row.user, key: row.id, role: row.role };
        let known = Known { principal, results, since };
        let mut remembered = self.known.lock();
        if remembered.len() >= REMEMBERED {
            remembered.retain(|_digest, known| known.since.elapsed() < BELIEVED);
        }
        if remembered.len() < REMEMBERED {
            remembered.insert(digest, known.clone());
        }
        Ok(known)
    }

    /// The operator may act in any tenant and for any user of it: the whole home is theirs anyway.
    fn operator(&self, headers: &HeaderMap) -> Result<Caller, GatewayError> {
        let tenant = named::<TenantId>(headers, "x-sophon-tenant")?;
        let user = named::<UserId>(headers, "x-sophon-user")?;
        let standing = if tenant.is_some() { Standing::OperatorIn } else { Standing::Operator };
        let own = OperatorToken::principal(self.operator_key);
        let principal = Principal { tenant: tenant.unwrap_or(own.tenant), user: user.unwrap_or(own.user), ..own };
        Ok(Caller { principal, standing, results: Results::Structured })
    }
}

/// The key of the one `Authorization: Bearer …` of a request (RFC 6750, section 2.1).
fn bearer(headers: &HeaderMap) -> Result<(KeyUse, KeyText), GatewayError> {
    let mut sent = headers.get_all(AUTHORIZATION).iter();
    let value = sent.next().ok_or(GatewayError::KeyMissing)?;
    if sent.next().is_some() {
        return Err(GatewayError::KeyInvalid);
    }
    let text = value.to_str().map_err(|_not_ascii| GatewayError::KeyInvalid)?;
    let (scheme, key) = text.split_once(' ').ok_or(GatewayError::KeyInvalid)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(GatewayError::KeyInvalid);
    }
    KeyText::read(key.trim_matches(' ')).ok_or(GatewayError::KeyInvalid)
}

fn named<T: FromStr>(headers: &HeaderMap, header: &'static str) -> Result<Option<T>, GatewayError>
where
    T::Err: std::fmt::Display,
{
    let Some(value) = headers.get(header) else { return Ok(None) };
    let wrong = |message: String| GatewayError::ParameterInvalid { place: header, message };
    let text = value.to_str().map_err(|_not_ascii| wrong("is not plain ASCII".into()))?;
    text.parse().map(Some).map_err(|error: T::Err| wrong(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::CountingEntropy;

    #[test]
    fn only_one_well_formed_bearer_key_is_read() {
        let key = KeyText::mint(KeyUse::Api, &CountingEntropy::default());
        let read = |values: &[String]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, value.parse().unwrap());
            }
            bearer(&headers).map(|(_, key)| key.digest()).map_err(|error| sophon_types::Fault::code(&error))
        };
        let good = format!("Bearer {}", key.expose());
        assert_eq!(read(std::slice::from_ref(&good)), Ok(key.digest()));
        assert_eq!(read(&[good.replace("Bearer", "bearer")]), Ok(key.digest()));
        assert_eq!(read(&[]), Err("key_missing"));
        for bad in [
            vec![good.clone(), good.clone()],
            vec![key.expose().to_owned()],
            vec![good.replace("Bearer", "Basic")],
            vec!["Bearer".to_owned()],
            vec!["Bearer sk_x".to_owned()],
        ] {
            assert_eq!(read(&bad), Err("key_invalid"), "{} values", bad.len());
        }
    }
}
