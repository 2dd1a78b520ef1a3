//! How a question leaves the desk: a person decides, or its time is over. Each step is taken from one state only, and stands in
//! the log in the same transaction; but for a yes where a sink of the log has to take its record, which is written first.

use super::{Card, DECISION, Decision, Desk, Told, Untold, value};
use crate::gate::needs_two;
use crate::question::{START_WITHIN, Sealed};
use crate::{Answer, DeskError, Stale, Status, changes};
use sophon_audit::{Action, CallChange, CallState, Decided, Outcome, Record};
use sophon_types::{ApprovalId, CanonicalJson, Digest, Fault as _, Principal, Role, Timestamp, UserId};
use std::sync::Arc;

impl Desk {
    /// Takes a person's decision. What comes back is what whoever waits is told; nothing, where a second person has to
    /// approve as well.
    ///
    /// # Errors
    /// [`DeskError`]; it is on record, and the question stands as it stood.
    pub async fn decide(
        &self,
        by: &Principal,
        id: ApprovalId,
        decision: Decision,
        now: Timestamp,
    ) -> Result<Option<Told>, DeskError> {
        let outcome = self.take(by, id, decision, now).await;
        if let Err(error) = &outcome
            && !matches!(error, DeskError::Audit(_))
        {
            let record = Record::new(Action::ApprovalRefused, Outcome::denied(error.code()))
                .principal(by)
                .detail("approval", id.to_string());
            self.0.parts.audit.append(record).await?;
        }
        outcome
    }

    async fn take(
        &self,
        by: &Principal,
        id: ApprovalId,
        decision: Decision,
        now: Timestamp,
    ) -> Result<Option<Told>, DeskError> {
        let turn = self.0.open.lock().get(&id).map(|open| Arc::clone(&open.turn));
        let _turn = match &turn {
            Some(turn) => Some(turn.lock().await),
            None => None,
        };
        let card = self.card(by, id).await?;
        if by.role != Role::Approver && by.role != Role::Admin {
            return Err(DeskError::NotAPerson);
        }
        match card.status {
            Status::Pending if now >= card.question.expires_at() => return Err(DeskError::Expired),
            Status::Pending => {}
            Status::Expired => return Err(DeskError::Expired),
            decided => return Err(DeskError::Decided(decided)),
        }
        match decision {
            Decision::Reject { reason } => {
                let told = Told::Over(Status::Rejected);
                let reason = reason.map(|reason| self.0.parts.audit.redactor().text(&reason).value().clone());
                let record = about(&card, Action::ApprovalReject, Outcome::Ok).principal(by).detail("reason", reason);
                self.step(&card, Status::Rejected, None, Some(&by.user), record, now).await?;
                self.tell(id, told.clone());
                Ok(Some(told))
            }
            Decision::Approve { edited, seen } => self.approve(by, card, edited, seen, now).await,
        }
    }

    async fn approve(
        &self,
        by: &Principal,
        card: Card,
        edited: Option<CanonicalJson>,
        seen: Option<Digest>,
        now: Timestamp,
    ) -> Result<Option<Told>, DeskError> {
        let parts = &self.0.parts;
        let question = &card.question;
        let policy = parts.gate.policy();
        if question.policy() != policy.version() {
            return Err(DeskError::Superseded(Stale::Policy));
        }
        if edited.is_some() && !question.is_editable() {
            return Err(DeskError::NotEditable);
        }
        let first = card.answer.as_ref();
        if first.is_some_and(|first| first.by().contains(&by.user)) {
            return Err(DeskError::SamePerson);
        }
        if seen.is_some_and(|seen| seen != card.fingerprint()) {
            return Err(DeskError::Unseen);
        }
        if let Some(first) = first {
            let same = edited.as_ref().is_some_and(|edited| edited.as_str() == first.arguments());
            if edited.is_some() && !same {
                let message = "the second person approves what the first has approved, or rejects it".into();
                return Err(DeskError::Bounds { place: "arguments", message });
            }
            // What another person has changed is agreed to by whoever has seen it.
            if first.is_edited() && !same && seen.is_none() {
                return Err(DeskError::Unseen);
            }
        }
        // What was edited into what it was is not edited.
        let edited = edited.filter(|edited| edited.as_str() != question.arguments());
        let arguments = edited.or_else(|| {
            let edited = first.filter(|first| first.is_edited())?;
            CanonicalJson::parse(edited.arguments().as_bytes()).ok()
        });
        let digest = arguments.as_ref().map_or(question.arguments_digest(), CanonicalJson::digest);
        let mut people: Vec<UserId> = first.map(|first| first.by().to_vec()).unwrap_or_default();
        people.push(by.user.clone());
        let sealed = Sealed {
            fingerprint: question.fingerprint(digest),
            by: people,
            at: now,
            start_by: now.plus(START_WITHIN),
            arguments: arguments.as_ref().map(|arguments| arguments.as_str().to_owned()),
        };
        let bytes = self.seal(DECISION, card.row.id.as_bytes(), &sealed)?;
        let mut record = about(&card, Action::ApprovalApprove, Outcome::Ok)
            .principal(by)
            .detail("fingerprint", sealed.fingerprint.to_string())
            .detail("arguments_digest", digest.to_string());
        if let Some(arguments) = &arguments {
            let places: Vec<String> = changes(&value(question.arguments()), arguments.value())
                .into_iter()
                .map(|change| change.path)
                .collect();
            record = record
                .detail("edited", places)
                .params(parts.audit.redactor().params(arguments.value(), Some(question.schema())));
        }
        if needs_two(question, &policy) && sealed.by.len() < 2 {
            parts.audit.append(record.detail("second_person", "needed")).await?;
            parts.store.approvals().first(card.row.id, &by.user, bytes).await?;
            return Ok(None);
        }
        self.step(&card, Status::Approved, Some((bytes, sealed.start_by)), Some(&by.user), record, now).await?;
        let answer = Answer { id: card.row.id, question: card.question, sealed };
        let told = Told::Approved(Box::new(answer));
        self.tell(card.row.id, told.clone());
        Ok(Some(told))
    }

    /// Ends a question without a person: its time is over, or what it asks about is no more.
    ///
    /// # Errors
    /// [`DeskError::Decided`] where a person was faster.
    pub async fn end(&self, id: ApprovalId, status: Status, why: &str, now: Timestamp) -> Result<Card, DeskError> {
        let turn = self.0.open.lock().get(&id).map(|open| Arc::clone(&open.turn));
        let _turn = match &turn {
            Some(turn) => Some(turn.lock().await),
            None => None,
        };
        let row = self.0.parts.store.approvals().get(id).await?.ok_or(DeskError::Unknown)?;
        let card = self.read(row)?;
        let begun = card.row.started_at.is_some();
        match card.status {
            Status::Pending => {}
            Status::Approved if !begun => {}
            decided => return Err(DeskError::Decided(decided)),
        }
        let action = if status == Status::Expired { Action::ApprovalExpire } else { Action::ApprovalCancel };
        let record = about(&card, action, Outcome::Ok).detail("cause", why).detail("was", card.status.as_str());
        self.step(&card, status, None, None, record, now).await?;
        self.tell(id, Told::Over(status));
        Ok(Card { status, ..card })
    }

    /// What became of a question that was decided durably while whoever waits was not told: a sink that is required did not take
    /// the record of a no, so that whoever decided was refused, or whoever decided was gone before it was told. Nothing where it waits on, or where it is
    /// off the desk. What is over leaves the desk; a yes, which is told only where it is asked for, stays until it begins.
    ///
    /// # Errors
    /// [`DeskError`] where the store cannot be read.
    pub async fn untold(&self, id: ApprovalId, of: Untold) -> Result<Option<(Card, Told)>, DeskError> {
        let turn = self.0.open.lock().get(&id).map(|open| Arc::clone(&open.turn));
        let Some(turn) = turn else { return Ok(None) };
        let _turn = turn.lock().await;
        let row = self.0.parts.store.approvals().get(id).await?.ok_or(DeskError::Unknown)?;
        let card = self.read(row)?;
        // Nothing where whoever was faster has told.
        let Some(knows_yes) = self.0.open.lock().get(&id).map(|open| open.told.borrow().is_some()) else {
            return Ok(None);
        };
        let told = match card.status {
            Status::Pending => return Ok(None),
            Status::Approved if of == Untold::Over || knows_yes || card.row.started_at.is_some() => return Ok(None),
            Status::Approved => Told::Approved(Box::new(self.answer(card.row.clone())?)),
            over => Told::Over(over),
        };
        self.tell(id, told.clone());
        Ok(Some((card, told)))
    }

    /// Takes a step: with its record, or not at all. Where a required sink did not take the record, it is an error, and a step
    /// that ends the question is taken all the same ([`Self::untold`]); a yes is not.
    async fn step(
        &self,
        card: &Card,
        to: Status,
        decision: Option<(Vec<u8>, Timestamp)>,
        by: Option<&UserId>,
        record: Record,
        now: Timestamp,
    ) -> Result<(), DeskError> {
        let (decision, expires_at) = match decision {
            Some((sealed, start_by)) => (Some(sealed), start_by),
            None => (None, card.row.expires_at),
        };
        let step = Decided {
            id: card.row.id,
            from: card.status.as_str(),
            to: to.as_str(),
            decision,
            by: by.cloned(),
            at: now,
            expires_at,
        };
        let taken = if to == Status::Approved && self.0.parts.audit.has_required_sinks() {
            self.take_yes(card.row.id, step, record).await?
        } else {
            let receipt = self.0.parts.audit.append_with(record, CallChange::Decide(Box::new(step))).await?;
            receipt.row() == CallState::Changed
        };
        if taken {
            if let Some(open) = self.0.open.lock().get_mut(&card.row.id) {
                open.expires_at = expires_at;
            }
            return Ok(());
        }
        let row = self.0.parts.store.approvals().get(card.row.id).await?.ok_or(DeskError::Unknown)?;
        Err(DeskError::Decided(self.read(row)?.status))
    }

    /// Takes a yes once every sink that has to has its record. In one transaction with the record it would be durable while
    /// such a sink refuses it, and a start of the host would run what the person was told is not approved. Killed between the
    /// two, the question waits on.
    async fn take_yes(&self, id: ApprovalId, step: Decided, record: Record) -> Result<bool, DeskError> {
        let (parts, said) = (&self.0.parts, record.clone());
        if let Err(error) = parts.audit.append(record).await {
            // The database may have it, and then has what became of it too, before the person hears of it.
            let refused = said.then(Action::ApprovalRefused, Outcome::denied(error.code()));
            if let Err(error) = parts.audit.append(refused).await {
                tracing::warn!(%error, approval = %id, "that a yes was refused is not on record everywhere");
            }
            return Err(error.into());
        }
        Ok(parts.store.approvals().decide(step).await?)
    }
}

/// A record about a question.
fn about(card: &Card, action: Action, outcome: Outcome) -> Record {
    let question = &card.question;
    let record = Record::new(action, outcome)
        .tenant(&card.row.tenant)
        .skill(question.skill().0)
        .tool(question.tool())
        .risk(question.risk())
        .correlation(question.correlation())
        .detail("approval", card.row.id.to_string())
        .detail("kind", question.kind().as_str())
        .detail("for_user", card.row.user.to_string());
    match question.call_id() {
        Some(call) => record.call(call),
        None => record.detail("plan", question.subject()),
    }
}
