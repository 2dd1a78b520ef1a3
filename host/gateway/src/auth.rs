//! Who calls. The one place where a [`Principal`] is made: from an API key that the store knows, or from the token
//! that this run of the gateway left in the home for the person at the machine.

use crate::key::{KeyText, KeyUse, results_named};
use crate::problem::Problem;
use crate::{GatewayError, OperatorToken};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use parking_lot::Mutex;
use sophon_executor::Results;
use sophon_store::{KeyRow, Store};
use sophon_types::{Digest, KeyId, Principal, TenantId, UserId};
use std::collections::HashMap;
use std::str::FromStr;
use std::sync::{Arc, Weak};
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
    /// What was shown, to look later whether it still counts.
    pub(crate) shown: Shown,
}

/// What a caller showed: not the key, but what it is known by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown {
    purpose: KeyUse,
    digest: Digest,
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

#[cfg(test)]
impl Caller {
    /// A caller with a key that no store knows.
    pub(crate) fn stranger(tenant: &str, user: &str) -> Self {
        let (tenant, user) = (tenant.parse().unwrap(), user.parse().unwrap());
        Self {
            principal: Principal { tenant, user, key: KeyId::from_bytes([1; 16]), role: sophon_types::Role::Agent },
            standing: Standing::Key,
            results: Results::Text,
            shown: Shown { purpose: KeyUse::Api, digest: Digest::of(b"") },
        }
    }
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
    known: Mutex<KnownKeys>,
    asked: Mutex<HashMap<Digest, Weak<Turn>>>,
}

/// Held by the one request that asks the store for a key, while others with the same key wait for what it finds.
type Turn = tokio::sync::Mutex<()>;

/// The keys that were valid when they were last looked up, or made here.
#[derive(Debug, Default)]
struct KnownKeys {
    keys: HashMap<Digest, Known>,
    /// Rises with every key that is forgotten: what was read before then is not remembered.
    generation: u64,
}

#[derive(Debug, Clone)]
struct Known {
    principal: Principal,
    results: Results,
    since: Instant,
}

impl Known {
    fn of(row: &KeyRow, since: Instant) -> Self {
        let principal = Principal { tenant: row.tenant.clone(), user: row.user.clone(), key: row.id, role: row.role };
        Self { principal, results: results_named(&row.results), since }
    }
}

impl KnownKeys {
    /// What may be believed of a key.
    fn believed(&self, digest: &Digest) -> Option<Known> {
        self.keys.get(digest).filter(|known| known.since.elapsed() < BELIEVED).cloned()
    }

    /// Remembers what was read in `generation`, unless a key was forgotten meanwhile: it could be this one.
    fn remember(&mut self, generation: u64, digest: Digest, known: Known) {
        if self.generation != generation {
            return;
        }
        if self.keys.len() >= REMEMBERED {
            self.keys.retain(|_digest, known| known.since.elapsed() < BELIEVED);
        }
        if self.keys.len() < REMEMBERED {
            self.keys.insert(digest, known);
        }
    }

    fn forget(&mut self, is_it: impl Fn(&Known) -> bool) {
        self.generation += 1;
        self.keys.retain(|_digest, known| !is_it(known));
    }
}

impl Authenticator {
    /// Knows the keys of `store`, and `operator`.
    pub(crate) fn new(store: Store, operator: &OperatorToken) -> Self {
        let (known, asked) = (Mutex::default(), Mutex::default());
        Self { store, operator: operator.digest(), operator_key: operator.key(), known, asked }
    }

    /// The caller of a request. `may_guess` is asked before the store is, for a key that was not valid here before: a
    /// flood of wrong keys is refused without costing a read each.
    pub(crate) async fn authenticate(
        &self,
        headers: &HeaderMap,
        may_guess: impl FnOnce() -> Result<(), GatewayError> + Send,
    ) -> Result<Caller, Problem> {
        let (purpose, key) = bearer(headers)?;
        let digest = key.digest();
        drop(key);
        match purpose {
            KeyUse::Operator if digest == self.operator => self.operator(headers, digest).map_err(Problem::from),
            KeyUse::Operator => Err(GatewayError::KeyInvalid.into()),
            KeyUse::Api => self.key(digest, may_guess).await,
        }
    }

    /// The present generation of what is known, for [`Self::made`].
    pub(crate) fn generation(&self) -> u64 {
        self.known.lock().generation
    }

    /// Knows a key that was made since `generation`, so that its first use is not taken for a guess.
    pub(crate) fn made(&self, generation: u64, row: &KeyRow) {
        self.known.lock().remember(generation, row.secret_digest, Known::of(row, Instant::now()));
    }

    /// Forgets what is known of a key.
    pub(crate) fn forget(&self, id: KeyId) {
        self.known.lock().forget(|known| known.principal.key == id);
    }

    async fn key(
        &self,
        digest: Digest,
        may_guess: impl FnOnce() -> Result<(), GatewayError> + Send,
    ) -> Result<Caller, Problem> {
        let (believed, was_valid) = {
            let known = self.known.lock();
            (known.believed(&digest), known.keys.contains_key(&digest))
        };
        let known = match believed {
            Some(known) => known,
            None => {
                if !was_valid {
                    may_guess()?;
                }
                self.look_up_once(digest).await?
            }
        };
        let shown = Shown { purpose: KeyUse::Api, digest };
        Ok(Caller { principal: known.principal, standing: Standing::Key, results: known.results, shown })
    }

    /// Whether what was shown before is still good. What cannot be looked up is not.
    pub(crate) async fn is_still_valid(&self, shown: &Shown) -> bool {
        match shown.purpose {
            KeyUse::Operator => shown.digest == self.operator,
            KeyUse::Api => self.key(shown.digest, || Ok(())).await.is_ok(),
        }
    }

    /// Asks the store, unless somebody else with the same key does so already: when a key that many connections use is
    /// no longer believed, they must not all stand in line for the store, where others wait too.
    async fn look_up_once(&self, digest: Digest) -> Result<Known, Problem> {
        let turn = self.turn(digest);
        let _first = turn.lock().await;
        let found_meanwhile = self.known.lock().believed(&digest);
        match found_meanwhile {
            Some(known) => Ok(known),
            None => self.look_up(digest).await,
        }
    }

    fn turn(&self, digest: Digest) -> Arc<Turn> {
        let mut asked = self.asked.lock();
        if let Some(turn) = asked.get(&digest).and_then(Weak::upgrade) {
            return turn;
        }
        asked.retain(|_digest, turn| turn.strong_count() > 0);
        let turn = Arc::new(Turn::default());
        asked.insert(digest, Arc::downgrade(&turn));
        turn
    }

    async fn look_up(&self, digest: Digest) -> Result<Known, Problem> {
        // Both taken before the store is asked: a key revoked meanwhile is not remembered, and none for longer.
        let (since, generation) = (Instant::now(), self.generation());
        let row = self.store.keys().by_digest(&digest).await?;
        let Some(row) = row.filter(|row| row.revoked_at.is_none()) else {
            self.known.lock().keys.remove(&digest);
            return Err(GatewayError::KeyInvalid.into());
        };
        let known = Known::of(&row, since);
        self.known.lock().remember(generation, digest, known.clone());
        Ok(known)
    }

    /// The operator may act in any tenant and for any user of it: the whole home is theirs anyway.
    fn operator(&self, headers: &HeaderMap, digest: Digest) -> Result<Caller, GatewayError> {
        let tenant = named::<TenantId>(headers, "x-sophon-tenant")?;
        let user = named::<UserId>(headers, "x-sophon-user")?;
        let standing = if tenant.is_some() { Standing::OperatorIn } else { Standing::Operator };
        let own = OperatorToken::principal(self.operator_key);
        let principal = Principal { tenant: tenant.unwrap_or(own.tenant), user: user.unwrap_or(own.user), ..own };
        let shown = Shown { purpose: KeyUse::Operator, digest };
        Ok(Caller { principal, standing, results: Results::Structured, shown })
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

    #[tokio::test]
    async fn attack_44_a_key_is_looked_up_once_however_many_ask() {
        let world = crate::fixtures::World::new().await;
        let authenticator = world.gateway.authenticator();
        // Not in the store: whoever asked it would be refused.
        let key = KeyText::mint(KeyUse::Api, &CountingEntropy::default());
        let headers = HeaderMap::from_iter([(AUTHORIZATION, format!("Bearer {}", key.expose()).parse().unwrap())]);
        let turn = authenticator.turn(key.digest());
        let first = turn.lock().await;
        let asking = (0..50).map(|_| authenticator.authenticate(&headers, || Ok(())));
        let mut asking = Box::pin(futures::future::join_all(asking));
        assert!(futures::poll!(&mut asking).is_pending(), "they ask although somebody does already");
        let principal = OperatorToken::principal(KeyId::mint(&CountingEntropy::default()));
        let found = Known { principal, results: Results::Text, since: Instant::now() };
        let generation = authenticator.generation();
        authenticator.known.lock().remember(generation, key.digest(), found);
        drop(first);
        assert!(asking.await.iter().all(Result::is_ok));
        drop(turn);
        drop(authenticator.turn(Digest::of(b"another")));
        assert_eq!(authenticator.asked.lock().len(), 1, "nothing is kept of those that are answered");
    }

    #[test]
    fn a_key_that_was_revoked_while_it_was_read_is_not_remembered() {
        let id = KeyId::mint(&CountingEntropy::default());
        let known = |since| Known { principal: OperatorToken::principal(id), results: Results::Text, since };
        let mut keys = KnownKeys::default();
        let (digest, other) = (Digest::of(b"one"), Digest::of(b"two"));
        let before = keys.generation;
        keys.forget(|known| known.principal.key == id);
        keys.remember(before, digest, known(Instant::now()));
        assert!(keys.believed(&digest).is_none(), "the row was read before the key was revoked");
        keys.remember(keys.generation, other, known(Instant::now()));
        assert!(keys.believed(&other).is_some());
        keys.forget(|known| known.principal.key == id);
        assert!(keys.believed(&other).is_none());
    }
}
