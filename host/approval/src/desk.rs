//! The desk: where questions wait, and where a person's decision takes effect.
//!
//! ```text
//! pending ──▶ approved ──▶ (begins once)
//!    ├──────▶ rejected
//!    ├──────▶ expired      (approved ones too, where they do not begin in time)
//!    └──────▶ cancelled
//! ```
//!
//! Every step is durable before it has an effect, stands in the audit log in the same transaction, and is taken from one
//! state only, so that of two who decide at the same time one is told that it is decided already.

mod decision;

use crate::gate::needs_two;
use crate::question::Sealed;
use crate::{Answer, Change, DeskError, Gate, Kind, Question, Stale, Status, changes};
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sophon_audit::{Action, AuditLog, Outcome, Record};
use sophon_store::{ApprovalFilter, ApprovalRow, Begun, CallRow, Store};
use sophon_types::{ApprovalId, CanonicalJson, Digest, Entropy, Principal, Role, TenantId, Timestamp, UserId};
use sophon_vault::{Vault, VaultError};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Bytes of arguments that are kept while a person decides.
const MOST_BYTES: usize = 256 << 10;
/// How many questions of one tenant wait for each that one user may have.
const USERS: usize = 10;
/// What the vault seals for.
const QUESTION: &str = "approval-question";
const DECISION: &str = "approval-decision";
/// How long a decided question is kept, with its arguments.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// What the desk is made of.
pub struct DeskParts {
    /// The store.
    pub store: Store,
    /// The audit log.
    pub audit: AuditLog,
    /// The vault, which seals what waits.
    pub vault: Vault,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// The gate, whose policy it follows.
    pub gate: Gate,
}

/// The desk. Cheap to clone; every clone is the same one.
#[derive(Clone)]
pub struct Desk(Arc<Inner>);

struct Inner {
    parts: DeskParts,
    open: Mutex<HashMap<ApprovalId, Open>>,
}

/// A question that waits.
struct Open {
    subject: String,
    tenant: TenantId,
    user: UserId,
    expires_at: Timestamp,
    told: watch::Sender<Option<Told>>,
    /// Held by whoever decides.
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// What became of a question, for whoever waits for it.
#[derive(Debug, Clone)]
pub enum Told {
    /// A person said yes.
    Approved(Box<Answer>),
    /// It will not be.
    Over(Status),
}

/// What is told of a question that was decided while nobody was told ([`Desk::untold`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Untold {
    /// That it is over.
    Over,
    /// A yes as well: a person gives it again.
    Yes,
}

/// What became of asking.
#[derive(Debug)]
pub enum Asked {
    /// The question waits.
    New(Waiting),
    /// The call has a twin with the same idempotency key; nothing was asked.
    Twin(Box<CallRow>),
}

/// A question that waits for its answer.
#[derive(Debug)]
pub struct Waiting {
    /// Its id.
    pub id: ApprovalId,
    /// Until when.
    pub expires_at: Timestamp,
    told: watch::Receiver<Option<Told>>,
}

impl Waiting {
    /// What becomes of it; nothing, where the desk is gone.
    pub async fn answer(&mut self) -> Option<Told> {
        self.told.wait_for(Option::is_some).await.ok().and_then(|told| told.clone())
    }
}

/// A question with everything that is to be known about it.
#[derive(Debug, Clone)]
pub struct Card {
    /// Its row.
    pub row: ApprovalRow,
    /// What was asked.
    pub question: Question,
    /// The yes, where there is one (of two, the first).
    pub answer: Option<Answer>,
    /// Where it stands.
    pub status: Status,
}

impl Card {
    /// What an answer is bound to: the arguments as they stand, edited where somebody has.
    #[must_use]
    pub fn fingerprint(&self) -> Digest {
        self.answer.as_ref().map_or(self.row.fingerprint, |answer| answer.sealed.fingerprint)
    }

    /// The arguments as they stand, as canonical text.
    #[must_use]
    pub fn arguments(&self) -> &str {
        self.answer.as_ref().map_or(self.question.arguments(), Answer::arguments)
    }
}

/// What a person decides.
#[derive(Debug, Clone)]
pub enum Decision {
    /// Yes; with these arguments, where the person has changed them (validated and assessed by the caller).
    Approve {
        /// The edited arguments.
        edited: Option<CanonicalJson>,
        /// The fingerprint of the card that the person saw; needed to agree to what another person has edited.
        seen: Option<Digest>,
    },
    /// No.
    Reject {
        /// Why.
        reason: Option<String>,
    },
}

/// Which questions to list.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// In this state only.
    pub status: Option<Status>,
    /// Asked before this.
    pub before: Option<Timestamp>,
    /// At most so many.
    pub limit: u32,
}

/// Takes a question that could not be asked off the desk again.
struct Reserved<'d> {
    desk: &'d Desk,
    id: Option<ApprovalId>,
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.desk.0.open.lock().remove(&id);
        }
    }
}

impl Desk {
    /// Opens the desk with everything that waited when the host last stopped.
    ///
    /// # Errors
    /// [`DeskError`] where the store cannot be read.
    pub async fn open(parts: DeskParts) -> Result<Self, DeskError> {
        let rows = parts.store.approvals().open().await?;
        let desk = Self(Arc::new(Inner { parts, open: Mutex::default() }));
        for row in rows {
            desk.0.open.lock().insert(row.id, Open::of(&row));
        }
        Ok(desk)
    }

    /// The questions that wait or have been approved and not begun, the oldest first.
    ///
    /// # Errors
    /// [`DeskError`] where the store cannot be read.
    pub async fn unsettled(&self) -> Result<Vec<ApprovalRow>, DeskError> {
        Ok(self.0.parts.store.approvals().open().await?)
    }

    /// Waits for the answer to a question that is on the desk; one that is approved already, too.
    #[must_use]
    pub fn wait_for(&self, id: ApprovalId) -> Option<Waiting> {
        let open = self.0.open.lock();
        let waiting = open.get(&id)?;
        Some(Waiting { id, expires_at: waiting.expires_at, told: waiting.told.subscribe() })
    }

    /// Tells whoever waits of a yes that was given before a restart.
    pub fn tell_again(&self, answer: Answer) {
        self.tell(answer.id(), Told::Approved(Box::new(answer)));
    }

    /// A question's id and end, for a call or plan that waits.
    #[must_use]
    pub fn of_subject(&self, subject: &str) -> Option<(ApprovalId, Timestamp)> {
        let open = self.0.open.lock();
        open.iter().find(|(_, open)| open.subject == subject).map(|(id, open)| (*id, open.expires_at))
    }

    /// Asks. `call` is the row of the call that waits for the answer; `record` has the call's identity.
    ///
    /// # Errors
    /// [`DeskError::TooMany`], [`DeskError::TooLarge`], or what the store, the vault or the log say; nothing waits then.
    pub async fn ask(
        &self,
        question: Question,
        call: Option<CallRow>,
        record: Record,
        now: Timestamp,
    ) -> Result<Asked, DeskError> {
        let parts = &self.0.parts;
        if question.arguments().len() > MOST_BYTES {
            return Err(DeskError::TooLarge(question.arguments().len(), MOST_BYTES));
        }
        let id = ApprovalId::mint(&*parts.entropy);
        let fingerprint = question.fingerprint(question.arguments_digest());
        let row = self.row(id, &question, fingerprint, now)?;
        let told = {
            let mut open = self.0.open.lock();
            self.room(&open, &row)?;
            let waiting = Open::of(&row);
            let told = waiting.told.subscribe();
            open.insert(id, waiting);
            told
        };
        let mut reserved = Reserved { desk: self, id: Some(id) };
        let subject = call.as_ref().map(|call| call.id);
        if let Begun::Existing(twin) = parts.store.approvals().ask(row, call, now).await? {
            return Ok(Asked::Twin(twin));
        }
        let record = record
            .then(Action::ApprovalRequest, Outcome::Intent)
            .risk(question.risk())
            .detail("approval", id.to_string())
            .detail("kind", question.kind().as_str())
            .detail("fingerprint", fingerprint.to_string())
            .detail("expires_at", question.expires_at().to_string());
        let record = match question.effect_asked() {
            // The skill wrote the URL.
            Some(effect) => record
                .detail("method", effect.method.as_str())
                .detail("url", parts.audit.redactor().text(&effect.url).value().clone()),
            None => record.detail("reasons", serde_json::to_value(question.reasons()).unwrap_or_default()),
        };
        if let Err(error) = parts.audit.append(record).await {
            // Nothing has been asked that is not on record.
            self.withdraw(id).await;
            if let Some(call) = subject
                && let Err(error) = parts.store.calls().withdraw(call).await
            {
                tracing::error!(%error, %call, "the row of a refused call could not be removed");
            }
            return Err(error.into());
        }
        reserved.id = None;
        Ok(Asked::New(Waiting { id, expires_at: question.expires_at(), told }))
    }

    /// A question that this caller may see.
    ///
    /// # Errors
    /// [`DeskError::Unknown`] where there is none.
    pub async fn card(&self, by: &Principal, id: ApprovalId) -> Result<Card, DeskError> {
        let row = self.0.parts.store.approvals().get(id).await?.filter(|row| may_see(by, row));
        self.read(row.ok_or(DeskError::Unknown)?)
    }

    /// The questions that this caller may see, the newest first.
    ///
    /// # Errors
    /// [`DeskError`] where the store cannot be read.
    pub async fn list(&self, by: &Principal, listing: Listing) -> Result<Vec<Card>, DeskError> {
        let filter = ApprovalFilter {
            tenant: by.tenant.clone(),
            user: (by.role != Role::Admin).then(|| by.user.clone()),
            key: (by.role == Role::Agent).then_some(by.key),
            status: listing.status.map(|status| status.as_str().to_owned()),
            before: listing.before,
            limit: listing.limit,
        };
        let rows = self.0.parts.store.approvals().list(filter).await?;
        let readable = |row: ApprovalRow| {
            let id = row.id;
            let card = self.read(row);
            card.inspect_err(|error| tracing::error!(%error, approval = %id, "an approval cannot be read")).ok()
        };
        Ok(rows.into_iter().filter_map(readable).collect())
    }

    /// What a question of this host asks.
    ///
    /// # Errors
    /// [`DeskError`] where the row was not written by this host.
    pub fn question(&self, row: ApprovalRow) -> Result<Question, DeskError> {
        Ok(self.read(row)?.question)
    }

    /// What differs from the arguments that the same user's last approved call of the tool had.
    ///
    /// # Errors
    /// [`DeskError`] where the store cannot be read.
    pub async fn since_last_time(&self, by: &Principal, card: &Card) -> Result<Option<Vec<Change>>, DeskError> {
        // Another key's arguments are not an agent's to read.
        if card.question.kind() != Kind::Call || by.role == Role::Agent {
            return Ok(None);
        }
        let row = &card.row;
        let last = self.0.parts.store.approvals().last_started(&row.tenant, &row.user, &row.tool).await?;
        let Some(last) = last.filter(|last| last.id != row.id) else { return Ok(None) };
        let last = self.read(last)?;
        let arguments = last.answer.as_ref().map_or(last.question.arguments(), Answer::arguments);
        Ok(Some(changes(&value(arguments), &value(card.question.arguments()))))
    }

    /// The questions whose time is over: nobody answered, or what was approved has not begun.
    #[must_use]
    pub fn overdue(&self, now: Timestamp) -> Vec<ApprovalId> {
        let open = self.0.open.lock();
        open.iter().filter(|(_, open)| open.expires_at <= now).map(|(id, _)| *id).collect()
    }

    /// The questions that are on record as open, and are not on this desk: whoever asked was ended after the question was
    /// written, and nobody waits for its answer.
    ///
    /// # Errors
    /// [`DeskError`] where the store cannot be read.
    pub async fn lost(&self) -> Result<Vec<ApprovalId>, DeskError> {
        // A question is on the desk before it is written, and off it after it is settled.
        let rows = self.0.parts.store.approvals().open().await?;
        let open = self.0.open.lock();
        Ok(rows.into_iter().map(|row| row.id).filter(|id| !open.contains_key(id)).collect())
    }

    /// Uses up the approval of an effect or a plan: whatever it allows begins now, once.
    ///
    /// # Errors
    /// [`DeskError`] where it is used up already.
    pub async fn start(&self, answer: &Answer, now: Timestamp) -> Result<(), DeskError> {
        if now >= answer.start_by() {
            return Err(DeskError::Superseded(Stale::Late));
        }
        self.0.parts.store.approvals().start(answer.id(), now).await?;
        self.0.open.lock().remove(&answer.id());
        Ok(())
    }

    /// What was approved has begun: it does not wait any more.
    pub fn begun(&self, id: ApprovalId) {
        self.0.open.lock().remove(&id);
    }

    /// A yes that was given before a restart and has not been used.
    ///
    /// # Errors
    /// [`DeskError`] where the row was not written by this host, or has no yes.
    pub fn answer(&self, row: ApprovalRow) -> Result<Answer, DeskError> {
        let card = self.read(row)?;
        match (card.status, card.answer) {
            (Status::Approved, Some(answer))
                if !needs_two(&answer.question, &self.0.parts.gate.policy()) || answer.by().len() > 1 =>
            {
                Ok(answer)
            }
            (status, _) => Err(DeskError::Decided(status)),
        }
    }

    /// Forgets what was decided a day ago, and sessions and grants that have ended.
    ///
    /// # Errors
    /// [`DeskError`] where the store cannot be written.
    pub async fn sweep(&self, now: Timestamp) -> Result<(), DeskError> {
        let before = Timestamp::from_micros(now.as_micros().saturating_sub(KEPT.as_micros() as i64));
        while self.0.parts.store.approvals().sweep(before).await? >= 500 {}
        self.0.parts.store.grants().sweep(before).await?;
        Ok(())
    }
}

impl Desk {
    pub(crate) fn parts(&self) -> &DeskParts {
        &self.0.parts
    }

    pub(crate) fn row(
        &self,
        id: ApprovalId,
        question: &Question,
        fingerprint: Digest,
        now: Timestamp,
    ) -> Result<ApprovalRow, DeskError> {
        let Principal { tenant, user, key, role: _ } = question.principal();
        Ok(ApprovalRow {
            id,
            tenant,
            user,
            key,
            kind: question.kind().as_str().into(),
            subject: question.subject().to_owned(),
            tool: question.tool().clone(),
            risk: question.risk(),
            status: Status::Pending.as_str().into(),
            fingerprint,
            request: self.seal(QUESTION, id.as_bytes(), question)?,
            decision: None,
            first_by: None,
            decided_by: None,
            created_at: now,
            expires_at: question.expires_at(),
            decided_at: None,
            started_at: None,
        })
    }

    fn room(&self, open: &HashMap<ApprovalId, Open>, row: &ApprovalRow) -> Result<(), DeskError> {
        let most = self.0.parts.gate.policy().config().max_pending.get() as usize;
        let (mut of_user, mut of_tenant) = (0, 0);
        for other in open.values().filter(|other| other.tenant == row.tenant) {
            of_tenant += 1;
            of_user += usize::from(other.user == row.user);
        }
        if of_user >= most {
            return Err(DeskError::TooMany(of_user, "user"));
        }
        if of_tenant >= most.saturating_mul(USERS) {
            return Err(DeskError::TooMany(of_tenant, "tenant"));
        }
        Ok(())
    }

    async fn withdraw(&self, id: ApprovalId) {
        if let Err(error) = self.0.parts.store.approvals().withdraw(id).await {
            // It is found at the next start, where no call waits for it.
            tracing::error!(%error, approval = %id, "a question that is not on record could not be taken back");
        }
    }

    /// Tells whoever waits. What is approved stays on the desk until it begins.
    fn tell(&self, id: ApprovalId, told: Told) {
        let mut open = self.0.open.lock();
        let over = matches!(told, Told::Over(_));
        if let Some(waiting) = open.get(&id) {
            waiting.told.send_replace(Some(told));
        }
        if over {
            open.remove(&id);
        }
    }

    fn read(&self, row: ApprovalRow) -> Result<Card, DeskError> {
        let question: Question = self.unseal(QUESTION, row.id.as_bytes(), &row.request)?;
        let damaged = VaultError::Incomplete("an approval");
        let status: Status = row.status.parse().map_err(|_unknown: String| damaged)?;
        let answer = match &row.decision {
            None => None,
            Some(sealed) => {
                let sealed: Sealed = self.unseal(DECISION, row.id.as_bytes(), sealed)?;
                Some(Answer { id: row.id, question: question.clone(), sealed })
            }
        };
        if status == Status::Approved && row.started_at.is_none() && answer.is_none() {
            return Err(VaultError::Incomplete("an approval").into());
        }
        Ok(Card { row, question, answer, status })
    }

    pub(crate) fn seal(&self, purpose: &str, id: &[u8], content: &impl Serialize) -> Result<Vec<u8>, DeskError> {
        // Structures of texts, numbers and lists: writing them into memory cannot fail.
        let plain = serde_json::to_vec(content).unwrap_or_default();
        Ok(self.0.parts.vault.seal(purpose, id, &plain)?)
    }

    pub(crate) fn unseal<T: DeserializeOwned>(&self, purpose: &str, id: &[u8], sealed: &[u8]) -> Result<T, DeskError> {
        let plain = self.0.parts.vault.unseal(purpose, id, sealed)?;
        serde_json::from_slice(&plain).map_err(|error| {
            tracing::error!(%error, purpose, "what the vault has sealed cannot be read");
            VaultError::Incomplete("an approval").into()
        })
    }
}

impl Open {
    fn of(row: &ApprovalRow) -> Self {
        Self {
            subject: row.subject.clone(),
            tenant: row.tenant.clone(),
            user: row.user.clone(),
            expires_at: row.expires_at,
            told: watch::Sender::new(None),
            turn: Arc::default(),
        }
    }
}

/// Another tenant's question does not exist for this caller, nor another user's for one who is no admin, nor that of
/// another key for an agent.
fn may_see(by: &Principal, row: &ApprovalRow) -> bool {
    row.tenant == by.tenant
        && match by.role {
            Role::Admin => true,
            Role::Approver => row.user == by.user,
            Role::Agent => row.user == by.user && row.key == by.key,
            Role::Publisher => false,
        }
}

/// Canonical text that this host has written.
fn value(canonical: &str) -> Value {
    serde_json::from_str(canonical).unwrap_or_default()
}
