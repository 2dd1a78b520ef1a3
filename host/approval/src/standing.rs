//! What a person allows in advance: a session's ceiling, and standing yeses. Never what destroys; all of it ends, and can be
//! taken back.

use crate::desk::Desk;
use crate::grant::LONGEST;
use crate::question::START_WITHIN;
use crate::{ApprovedCall, AssessedCall, DeskError, Gate, Kind, Question, Status, Terms};
use serde_json::Value;
use sophon_audit::{Action, Outcome, Record};
use sophon_store::{ApprovalRow, GrantRow, Part, Raised, SessionRow, Sessions, StoreError};
use sophon_types::{ApprovalId, Fault as _, GrantId, Principal, Risk, Role, SessionId, Timestamp, ToolName, UserId};
use std::time::Duration;

/// Whose calls of which tool a standing yes is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Covered {
    /// The user.
    pub user: UserId,
    /// The tool.
    pub tool: ToolName,
    /// In this session only.
    pub session: Option<SessionId>,
}

/// Sessions and grants of one user that have not ended.
const MOST_STANDING: u32 = 200;
/// How long a session lasts.
const SESSION: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a yes for the session lasts, where the session does not end before.
const FOR_SESSION: Duration = Duration::from_secs(12 * 60 * 60);
/// What the vault seals for.
const TERMS: &str = "grant-terms";

impl Desk {
    /// Begins a session of an agent.
    ///
    /// # Errors
    /// [`DeskError::TooMany`] where the user has too many; [`DeskError::Audit`] where it cannot be recorded (there is none
    /// then).
    pub async fn begin_session(&self, by: &Principal, now: Timestamp) -> Result<SessionRow, DeskError> {
        let parts = &self.parts();
        let row = SessionRow {
            id: SessionId::mint(&*parts.entropy),
            tenant: by.tenant.clone(),
            user: by.user.clone(),
            key: by.key,
            ceiling: None,
            created_at: now,
            expires_at: now.plus(SESSION),
        };
        let record = Record::new(Action::SessionBegin, Outcome::Intent).principal(by);
        let record = record.detail("session", row.id.to_string());
        parts.audit.append(record.clone()).await?;
        let grants = parts.store.grants();
        let begun = match grants.begin_session(row.clone(), MOST_STANDING).await {
            Ok(true) => Ok(row.clone()),
            Ok(false) => Err(DeskError::TooMany(MOST_STANDING as usize, "user (sessions)")),
            Err(error) => Err(error.into()),
        };
        self.concluded(record, Action::SessionBegin, begun, grants.end_session(row.id, now)).await
    }

    /// The session of a call, where it is one of this very caller.
    ///
    /// # Errors
    /// [`DeskError`] where the store cannot be read.
    pub async fn session(
        &self,
        of: &Principal,
        id: SessionId,
        now: Timestamp,
    ) -> Result<Option<SessionRow>, DeskError> {
        let row = self.parts().store.grants().session(id).await?;
        Ok(row
            .filter(|row| row.tenant == of.tenant && row.user == of.user && row.key == of.key && row.expires_at > now))
    }

    /// Raises what passes by itself in a session, for a time; never for what destroys.
    ///
    /// # Errors
    /// [`DeskError::Unknown`] where the caller has no such session; [`DeskError::Bounds`]; [`DeskError::Audit`] where it
    /// cannot be recorded (nothing is raised in it then, whatever was before).
    pub async fn raise(
        &self,
        by: &Principal,
        id: SessionId,
        to: Risk,
        lasts: Duration,
        now: Timestamp,
    ) -> Result<SessionRow, DeskError> {
        let parts = &self.parts();
        let row = self.own_session(by, id, now).await?;
        let ends = within(lasts, SESSION, "expires_in")?;
        let raised = Raised { to, until: now.plus(ends).min(row.expires_at), by: by.user.clone() };
        let record = Record::new(Action::SessionRaise, Outcome::Intent)
            .principal(by)
            .risk(to)
            .detail("session", id.to_string())
            .detail("for_user", row.user.to_string())
            .detail("until", raised.until.to_string());
        parts.audit.append(record.clone()).await?;
        let grants = parts.store.grants();
        let done = grants.raise(id, Some(raised.clone())).await;
        let done = done.map(|()| SessionRow { ceiling: Some(raised), ..row }).map_err(DeskError::from);
        // What was before comes not back: somebody may have lowered it meanwhile.
        self.concluded(record, Action::SessionRaise, done, grants.raise(id, None)).await
    }

    /// The sessions that have not ended and that this caller may see, the newest first.
    ///
    /// # Errors
    /// [`DeskError`] where the store cannot be read.
    pub async fn sessions(
        &self,
        by: &Principal,
        which: Sessions,
        part: Part<SessionId>,
        now: Timestamp,
    ) -> Result<Vec<SessionRow>, DeskError> {
        let user = (by.role != Role::Admin).then_some(&by.user);
        Ok(self.parts().store.grants().sessions(&by.tenant, user, which, now, part).await?)
    }

    /// Ends a session at once, with what was allowed in it.
    ///
    /// # Errors
    /// [`DeskError::Unknown`] where the caller has no such session.
    pub async fn end_session(&self, by: &Principal, id: SessionId, now: Timestamp) -> Result<(), DeskError> {
        let parts = &self.parts();
        let row = self.own_session(by, id, now).await?;
        // Refusing is never made to wait for the log.
        parts.store.grants().end_session(id, now).await?;
        let record = Record::new(Action::SessionEnd, Outcome::Ok).principal(by);
        parts.audit.append(record.detail("session", id.to_string()).detail("for_user", row.user.to_string())).await?;
        Ok(())
    }

    /// A session that this person may decide about, where it has not ended.
    async fn own_session(&self, by: &Principal, id: SessionId, now: Timestamp) -> Result<SessionRow, DeskError> {
        let found = self.parts().store.grants().session(id).await?.filter(|row| {
            row.tenant == by.tenant && row.expires_at > now && (by.role == Role::Admin || row.user == by.user)
        });
        found.ok_or(DeskError::Unknown)
    }

    /// Gives a standing yes.
    ///
    /// # Errors
    /// [`DeskError::OnceOnly`] for what destroys; [`DeskError::Bounds`]; [`DeskError::TooMany`]; [`DeskError::Audit`] where
    /// it cannot be recorded (there is none then).
    pub async fn grant(
        &self,
        by: &Principal,
        calls: &Covered,
        terms: &Terms,
        lasts: Duration,
        now: Timestamp,
    ) -> Result<GrantRow, DeskError> {
        let parts = &self.parts();
        let Covered { user, tool, session } = calls;
        if terms.risk == Risk::Critical {
            return Err(DeskError::OnceOnly("what is critical is decided each time"));
        }
        terms.check()?;
        let lasts = within(lasts, LONGEST, "expires_in")?;
        let id = GrantId::mint(&*parts.entropy);
        let row = GrantRow {
            id,
            tenant: by.tenant.clone(),
            user: user.clone(),
            session: *session,
            tool: tool.clone(),
            terms: self.seal(TERMS, id.as_bytes(), terms)?,
            created_by: by.user.clone(),
            created_at: now,
            expires_at: now.plus(lasts),
            revoked_at: None,
            uses: 0,
        };
        let pattern = terms
            .arguments
            .clone()
            .map(|pattern| Value::from(parts.audit.redactor().params(&Value::Object(pattern), None)));
        let record = Record::new(Action::GrantCreate, Outcome::Intent)
            .principal(by)
            .tool(tool)
            .risk(terms.risk)
            .detail("grant", id.to_string())
            .detail("for_user", user.to_string())
            .detail("session", session.map(|session| session.to_string()))
            .detail("arguments", pattern)
            .detail("expires_at", row.expires_at.to_string());
        parts.audit.append(record.clone()).await?;
        let grants = parts.store.grants();
        let added = match grants.add(row.clone(), MOST_STANDING).await {
            Ok(true) => Ok(row),
            Ok(false) => Err(DeskError::TooMany(MOST_STANDING as usize, "user (grants)")),
            Err(error) => Err(error.into()),
        };
        self.concluded(record, Action::GrantCreate, added, grants.revoke(id, now)).await
    }

    /// Records what became of what was intended. Where that cannot be, what was done is undone: nothing is allowed that was
    /// answered with an error.
    async fn concluded<T>(
        &self,
        intent: Record,
        action: Action,
        done: Result<T, DeskError>,
        undo: impl Future<Output = Result<(), StoreError>>,
    ) -> Result<T, DeskError> {
        let outcome = match &done {
            Ok(_) => Outcome::Ok,
            Err(error @ DeskError::TooMany(..)) => Outcome::denied(error.code()),
            Err(error) => Outcome::failed(error.code()),
        };
        let audit = &self.parts().audit;
        let mut undo = Some(undo);
        // It may have been done all the same.
        if let Err(DeskError::Store(_)) = &done
            && let Some(undo) = undo.take()
            && let Err(error) = undo.await
        {
            tracing::warn!(%error, action = action.as_str(), "what failed could not be undone, where it was done");
        }
        let Err(unrecorded) = audit.append(intent.clone().then(action, outcome)).await else { return done };
        if done.is_ok()
            && let Some(undo) = undo.take()
        {
            match undo.await {
                // The database may have the record that a further sink refused: this one comes after it. A log that takes
                // neither counts it as lost.
                Ok(()) => drop(audit.enqueue(intent.then(action, Outcome::failed(unrecorded.code())))),
                Err(error) => {
                    tracing::error!(%error, action = action.as_str(), "what is not recorded could not be undone")
                }
            }
        }
        Err(unrecorded.into())
    }

    /// A yes for the rest of the session that an approved call belongs to.
    ///
    /// # Errors
    /// [`DeskError::OnceOnly`] where that cannot be.
    pub async fn grant_for_session(
        &self,
        by: &Principal,
        question: &Question,
        now: Timestamp,
    ) -> Result<GrantRow, DeskError> {
        check_standing(question)?;
        let session = question.session().ok_or(DeskError::OnceOnly("the call belongs to no session"))?;
        let terms = Terms { arguments: None, risk: question.risk(), skill: *question.skill_digest() };
        let calls = Covered { user: question.principal().user, tool: question.tool().clone(), session: Some(session) };
        self.grant(by, &calls, &terms, FOR_SESSION, now).await
    }

    /// The standing yeses that this caller may see, the newest first, with their terms.
    ///
    /// # Errors
    /// [`DeskError`] where the store cannot be read.
    pub async fn grants(&self, by: &Principal, part: Part<GrantId>) -> Result<Vec<(GrantRow, Terms)>, DeskError> {
        let user = (by.role != Role::Admin).then_some(&by.user);
        let rows = self.parts().store.grants().list(&by.tenant, user, part).await?;
        rows.into_iter()
            .map(|row| {
                let terms = self.unseal(TERMS, row.id.as_bytes(), &row.terms)?;
                Ok((row, terms))
            })
            .collect()
    }

    /// Takes a standing yes back, at once.
    ///
    /// # Errors
    /// [`DeskError::Unknown`] where the caller has none with this id.
    pub async fn revoke_grant(&self, by: &Principal, id: GrantId, now: Timestamp) -> Result<(), DeskError> {
        let parts = &self.parts();
        let found = parts.store.grants().get(id).await?;
        let row = found
            .filter(|row| row.tenant == by.tenant && (by.role == Role::Admin || row.user == by.user))
            .ok_or(DeskError::Unknown)?;
        // Refusing is never made to wait for the log.
        parts.store.grants().revoke(id, now).await?;
        let record = Record::new(Action::GrantRevoke, Outcome::Ok).principal(by).tool(&row.tool);
        parts.audit.append(record.detail("grant", id.to_string()).detail("for_user", row.user.to_string())).await?;
        Ok(())
    }

    /// Whether approving this for its session is possible, said before anything is decided.
    ///
    /// # Errors
    /// [`DeskError::OnceOnly`].
    pub fn may_stand(&self, question: &Question) -> Result<(), DeskError> {
        check_standing(question)?;
        question.session().map(drop).ok_or(DeskError::OnceOnly("the call belongs to no session"))
    }

    /// Uses a standing yes that covers the call: it becomes one approval, which is used up at once.
    ///
    /// # Errors
    /// The call itself, where no standing yes covers it.
    pub async fn mint(
        &self,
        gate: &Gate,
        call: AssessedCall,
        record: &Record,
        now: Timestamp,
    ) -> Result<Result<ApprovedCall, AssessedCall>, DeskError> {
        if call.is_destructive() {
            return Ok(Err(call));
        }
        let parts = &self.parts();
        let (principal, session) = (call.request().principal.clone(), call.request().session);
        let owner = (&principal.tenant, &principal.user);
        for grant in parts.store.grants().live(owner, &call.tool().name, now).await? {
            if grant.session.is_some_and(|bound| session != Some(bound)) {
                continue;
            }
            let terms: Terms = self.unseal(TERMS, grant.id.as_bytes(), &grant.terms)?;
            if !terms.cover(&call) {
                continue;
            }
            let question = Question::call(&call, call.policy().version(), now.plus(START_WITHIN), &*parts.entropy);
            let id = ApprovalId::mint(&*parts.entropy);
            let fingerprint = question.fingerprint(question.arguments_digest());
            let row = ApprovalRow {
                status: Status::Approved.as_str().into(),
                decided_by: Some(grant.created_by.clone()),
                decided_at: Some(now),
                started_at: Some(now),
                ..self.row(id, &question, fingerprint, now)?
            };
            let used = record
                .clone()
                .then(Action::GrantUse, Outcome::Ok)
                .risk(call.risk())
                .detail("grant", grant.id.to_string())
                .detail("approval", id.to_string())
                .detail("given_by", grant.created_by.to_string());
            // Whoever takes it back a moment later finds on record that it was used.
            if parts.store.approvals().mint(row, grant.id, now).await? {
                parts.audit.append(used).await?;
                return Ok(Ok(gate.pass_granted(call, grant.id, now)));
            }
        }
        Ok(Err(call))
    }
}

/// Whether a question can be answered for more than once.
fn check_standing(question: &Question) -> Result<(), DeskError> {
    if question.kind() != Kind::Call {
        return Err(DeskError::OnceOnly("only a call can be approved for the session"));
    }
    if question.is_destructive() {
        return Err(DeskError::OnceOnly("what destroys, pays or takes over is decided each time"));
    }
    Ok(())
}

fn within(lasts: Duration, most: Duration, place: &'static str) -> Result<Duration, DeskError> {
    if lasts.is_zero() || lasts > most {
        return Err(DeskError::Bounds { place, message: format!("1 to {} seconds", most.as_secs()) });
    }
    Ok(lasts)
}
