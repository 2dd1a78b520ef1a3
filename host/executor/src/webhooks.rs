//! Webhooks: people outside are pointed to a decision that waits for them. A message carries a link and what is asked
//! about, never arguments and never anything that decides: that needs an approver's login.
//!
//! Promise: a message is kept before it is sent, and sent until the endpoint takes it or it is no longer worth it, over
//! restarts too; each try is on record before anything is signed; each endpoint has a line of its own, so a slow one holds
//! up nobody, and one that is dead keeps no message from another. A receiver may get a message twice, under the same id.

use crate::Executor;
use crate::events::{Event, Owner, Subject};
use serde_json::{Value, json};
use sophon_approval::Status;
use sophon_audit::{Action, AuditError, Outcome, Record};
use sophon_egress::{Endpoint, HttpError, Notice};
use sophon_store::{Kept, StoreError, WebhookMessage};
use sophon_types::{Fault as _, TenantId, Timestamp};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;

/// Messages that may wait for one webhook, of all tenants and of one; what comes then is not told.
const WAITING: u32 = 10_000;
const OF_TENANT: u32 = 2_500;
/// How often it is looked for messages that nobody needs to remember any more.
const SWEEP: Duration = Duration::from_secs(600);
/// Messages that are read at once.
const PAGE: u32 = 16;
/// How long it is worth telling of a decision.
const DECIDED_FOR: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a delivered message is remembered.
const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest pause between two tries while a person can still decide, and afterwards.
const PAUSES: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(600)];
/// How often a line that has nothing to do looks by itself.
const LOOK: Duration = Duration::from_secs(60);
/// What an endpoint says that wants no more of this message.
const GONE: u16 = 410;

/// What a webhook is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// `approval.pending`.
    Pending,
    /// `approval.decided`.
    Decided,
}

/// One webhook of the operator.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// Its name: messages that wait are kept under it.
    pub name: String,
    /// Where they go.
    pub endpoint: Endpoint,
    /// What it is told of.
    pub events: Vec<Told>,
    /// Of which tenant; of all where none is named.
    pub tenant: Option<TenantId>,
    /// Where a person decides; `{approval_id}` stands for the question.
    pub link: String,
}

/// The tasks that send; they end when this is dropped.
#[derive(Debug)]
pub struct Webhooks {
    _tasks: JoinSet<()>,
}

impl Executor {
    /// Tells these webhooks of approvals from now on, and of what an earlier run has left.
    #[must_use]
    pub fn tell(&self, hooks: Vec<Webhook>) -> Webhooks {
        let mut tasks = JoinSet::new();
        let hooks: Arc<[Webhook]> = hooks.into();
        tasks.spawn(self.clone().tidy(Arc::clone(&hooks)));
        if hooks.is_empty() {
            return Webhooks { _tasks: tasks };
        }
        let wake = Arc::new(Notify::new());
        for at in 0..hooks.len() {
            let line = Line { executor: self.clone(), hooks: Arc::clone(&hooks), at, wake: Arc::clone(&wake) };
            tasks.spawn(line.run());
        }
        // Subscribed before this returns: nothing that is published after it is missed.
        let mut notices = self.0.events.notices();
        let executor = self.clone();
        tasks.spawn(async move {
            executor.keep_open(&hooks).await;
            loop {
                match notices.recv().await {
                    Ok(posted) => executor.keep(&hooks, posted.at, &posted.event).await,
                    Err(RecvError::Lagged(lost)) => {
                        tracing::warn!(lost, "webhooks are not told of some decisions");
                        executor.keep_open(&hooks).await;
                    }
                    Err(RecvError::Closed) => return,
                }
                wake.notify_waiters();
            }
        });
        Webhooks { _tasks: tasks }
    }

    /// Gives up what waits for webhooks that there are no more, and then forgets, now and then, what is over.
    async fn tidy(self, hooks: Arc<[Webhook]>) {
        let (messages, clock) = (self.0.parts.store.webhook_messages(), &self.0.parts.clock);
        match messages.hooks().await {
            Ok(waiting) => {
                for name in waiting.iter().filter(|name| hooks.iter().all(|hook| hook.name != **name)) {
                    match messages.abandon(name, clock.now()).await {
                        Ok(count) => {
                            tracing::warn!(hook = name, count, "no webhook has this name: its messages are given up")
                        }
                        Err(error) => {
                            tracing::warn!(%error, hook = name, "messages of no webhook could not be given up")
                        }
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "it cannot be read for which webhooks messages wait"),
        }
        let mut ticks = tokio::time::interval(SWEEP);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let before = clock.now().as_micros().saturating_sub(micros(REMEMBERED));
            if let Err(error) = messages.sweep(Timestamp::from_micros(before)).await {
                tracing::warn!(%error, "old messages to webhooks could not be removed");
            }
        }
    }

    /// Keeps what the webhooks are to be told of every question that is open: one that was asked in the moment before an
    /// earlier run ended may not be kept yet. What is kept is not kept twice.
    async fn keep_open(&self, hooks: &[Webhook]) {
        let open = match self.0.parts.store.approvals().open().await {
            Ok(open) => open,
            Err(error) => return tracing::error!(%error, "the open approvals cannot be read to tell webhooks of them"),
        };
        for row in open.into_iter().filter(|row| row.status == Status::Pending.as_str()) {
            let call = row.subject.parse().map(Subject::Call);
            let Ok(subject) = call.or_else(|_no_call| row.subject.parse().map(Subject::Plan)) else { continue };
            let owner = Owner { tenant: row.tenant, user: row.user, key: row.key };
            let (approval_id, tool, risk, expires_at) = (row.id, row.tool, row.risk, row.expires_at);
            let event = Event::ApprovalPending { owner, approval_id, subject, tool, risk, expires_at };
            self.keep(hooks, row.created_at, &event).await;
        }
    }

    /// Keeps what the webhooks are to be told.
    async fn keep(&self, hooks: &[Webhook], at: Timestamp, event: &Event) {
        let messages = self.0.parts.store.webhook_messages();
        let now = self.0.parts.clock.now();
        if let Event::ApprovalDecided { approval_id, .. } = event
            && let Err(error) = messages.cancel("approval.pending", &approval_id.to_string(), now).await
        {
            tracing::warn!(%error, "messages about a decided approval could not be taken back");
        }
        for hook in hooks {
            let Some(message) = hook.message(at, event, now) else { continue };
            match messages.push(message, WAITING, OF_TENANT).await {
                Ok(Kept::New | Kept::Known) => {}
                Ok(Kept::Full) => {
                    tracing::error!(hook = hook.name, "too many messages wait for a webhook: one is not told")
                }
                Err(error) => tracing::error!(%error, hook = hook.name, "a message to a webhook could not be kept"),
            }
        }
    }
}

impl Webhook {
    fn message(&self, at: Timestamp, event: &Event, now: Timestamp) -> Option<WebhookMessage> {
        let owner = event.owner();
        if self.tenant.as_ref().is_some_and(|tenant| *tenant != owner.tenant) {
            return None;
        }
        let mut data = json!({"tenant": owner.tenant, "user": owner.user});
        let (told, approval, expires_at) = match event {
            Event::ApprovalPending { approval_id, subject, tool, risk, expires_at, .. } => {
                about(&mut data, *subject);
                data["tool"] = tool.as_str().into();
                data["risk"] = risk.as_str().into();
                data["expires_at"] = expires_at.to_string().into();
                (Told::Pending, approval_id, *expires_at)
            }
            Event::ApprovalDecided { approval_id, subject, decision, by, .. } => {
                about(&mut data, *subject);
                data["decision"] = decision.as_str().into();
                data["decided_by"] = by.as_ref().map(|by| by.as_str()).into();
                (Told::Decided, approval_id, now.plus(DECIDED_FOR))
            }
            Event::CallFinished { .. } => return None,
        };
        if !self.events.contains(&told) {
            return None;
        }
        let subject = approval.to_string();
        data["approval_id"] = subject.as_str().into();
        data["link"] = self.link.replace("{approval_id}", &subject).into();
        let body = json!({"type": event.name(), "timestamp": at.to_string(), "data": data});
        Some(WebhookMessage {
            hook: self.name.clone(),
            id: format!("{subject}.{}", event.name()),
            tenant: owner.tenant.clone(),
            event: event.name().to_owned(),
            subject,
            body: body.to_string(),
            attempts: 0,
            due_at: now,
            expires_at,
        })
    }
}

fn about(data: &mut Value, subject: Subject) {
    match subject {
        Subject::Call(call) => data["call_id"] = call.to_string().into(),
        Subject::Plan(plan) => data["plan_id"] = plan.to_string().into(),
    }
}

/// Why messages that are due wait for another look.
#[derive(Debug, thiserror::Error)]
enum Held {
    /// They cannot be read, or what became of one cannot be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Sending one cannot be recorded, so it is not sent.
    #[error(transparent)]
    Audit(#[from] AuditError),
}

/// The messages of one webhook, one after the other.
struct Line {
    executor: Executor,
    hooks: Arc<[Webhook]>,
    at: usize,
    wake: Arc<Notify>,
}

impl Line {
    async fn run(self) {
        loop {
            let wake = self.wake.notified();
            tokio::pin!(wake);
            // From here on a new message is not missed, whatever is looked for meanwhile.
            wake.as_mut().enable();
            let pause = self.send_due().await.unwrap_or_else(|error| {
                tracing::warn!(%error, hook = self.hooks[self.at].name, "messages to a webhook wait: they cannot be sent now");
                LOOK
            });
            // Elapsed or woken: either way the line looks again.
            drop(tokio::time::timeout(pause.min(LOOK), wake).await);
        }
    }

    /// Sends what is due; says when something is next.
    async fn send_due(&self) -> Result<Duration, Held> {
        let parts = &self.executor.0.parts;
        let (messages, hook) = (parts.store.webhook_messages(), &self.hooks[self.at]);
        loop {
            let page = messages.due(&hook.name, parts.clock.now(), PAGE).await?;
            if page.is_empty() {
                break;
            }
            for message in page {
                self.send(hook, message).await?;
            }
        }
        let now = parts.clock.now();
        Ok(messages.next_due(&hook.name).await?.map_or(LOOK, |due| due.since(now)))
    }

    async fn send(&self, hook: &Webhook, message: WebhookMessage) -> Result<(), Held> {
        let parts = &self.executor.0.parts;
        let messages = parts.store.webhook_messages();
        let now = parts.clock.now();
        if message.expires_at <= now {
            self.note(&message, Outcome::failed("expired"));
            return Ok(messages.done(&message, now).await?);
        }
        // Where the log does not take this, the message stays due.
        parts.audit.append(record(&message, Outcome::Intent)).await?;
        let notice = Notice { id: message.id.clone(), tenant: message.tenant.clone(), body: message.body.clone() };
        let sent = parts.egress.notify(&hook.endpoint, &notice, now).await;
        self.note(&message, outcome(&sent));
        if let Ok(200..=299 | GONE) = sent {
            return Ok(messages.done(&message, parts.clock.now()).await?);
        }
        tracing::warn!(
            hook = hook.name,
            message = message.id,
            attempt = message.attempts + 1,
            failed = ?sent,
            "a webhook did not take a message; it is sent again"
        );
        Ok(messages.again(&message, parts.clock.now().plus(pause(&message))).await?)
    }

    /// Records what became of a message. Waits for nothing: it has happened.
    fn note(&self, message: &WebhookMessage, outcome: Outcome) {
        if let Err(error) = self.executor.0.parts.audit.enqueue(record(message, outcome)) {
            tracing::warn!(%error, "the end of a notification could not be recorded");
        }
    }
}

fn record(message: &WebhookMessage, outcome: Outcome) -> Record {
    Record::new(Action::NotificationSend, outcome)
        .tenant(&message.tenant)
        .detail("webhook", message.hook.as_str())
        .detail("message", message.id.as_str())
        .detail("attempts", message.attempts + 1)
}

/// How one try ended.
fn outcome(sent: &Result<u16, HttpError>) -> Outcome {
    match sent {
        Ok(200..=299) => Outcome::Ok,
        Ok(GONE) => Outcome::failed("gone"),
        Ok(_) => Outcome::failed("not_taken"),
        Err(HttpError::UnknownOutcome(_)) => Outcome::Unknown,
        Err(error) => Outcome::failed(error.code()),
    }
}

/// Twice as long each time, from a second on.
fn pause(message: &WebhookMessage) -> Duration {
    let most = PAUSES[usize::from(message.event != "approval.pending")];
    Duration::from_secs(1_u64 << message.attempts.min(20)).min(most)
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Decision;
    use crate::tests::World;
    use parking_lot::Mutex;
    use sophon_audit::Query;
    use sophon_egress::SigningSecret;
    use sophon_types::{ApprovalId, CallId, KeyId, Risk};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    const SECOND: i64 = 1_000_000;

    /// An endpoint that answers with one status after the other, the last one for ever, and keeps what it was sent.
    struct Desk {
        url: String,
        heard: Arc<Mutex<Vec<String>>>,
        came: Arc<Notify>,
    }

    impl Desk {
        async fn open(statuses: &'static [u16]) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}/hook", listener.local_addr().unwrap());
            let (heard, came) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Notify::new()));
            let (keep, tell) = (Arc::clone(&heard), Arc::clone(&came));
            tokio::spawn(async move {
                for n in 0.. {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let mut text = Vec::new();
                    // The body is JSON and ends so; nothing else in a request does.
                    while !text.ends_with(b"\"}") {
                        stream.read_buf(&mut text).await.unwrap();
                    }
                    keep.lock().push(String::from_utf8(text).unwrap());
                    let status = statuses[usize::min(n, statuses.len() - 1)];
                    let answer = format!("HTTP/1.1 {status} x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
                    stream.write_all(answer.as_bytes()).await.unwrap();
                    tell.notify_one();
                }
            });
            Self { url, heard, came }
        }

        fn hook(&self, events: &[Told]) -> Webhook {
            let secret = SigningSecret::read("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
            Webhook {
                name: "desk".into(),
                endpoint: Endpoint::new(&self.url, secret).unwrap(),
                events: events.to_vec(),
                tenant: None,
                link: "https://desk.example/{approval_id}".into(),
            }
        }

        async fn wait_for(&self, count: usize) -> Vec<String> {
            while self.heard.lock().len() < count {
                tokio::time::timeout(Duration::from_secs(30), self.came.notified()).await.expect("it is told");
            }
            self.heard.lock().clone()
        }
    }

    fn owner() -> Owner {
        Owner { tenant: "acme".parse().unwrap(), user: "ann".parse().unwrap(), key: KeyId::from_bytes([1; 16]) }
    }

    fn pending(world: &World, n: u8) -> Event {
        Event::ApprovalPending {
            owner: owner(),
            approval_id: ApprovalId::from_bytes([n; 16]),
            subject: Subject::Call(CallId::from_bytes([n; 16])),
            tool: "mail.send".parse().unwrap(),
            risk: Risk::High,
            expires_at: world.executor.0.parts.clock.now().plus(Duration::from_secs(300)),
        }
    }

    fn publish(world: &World, event: Event) {
        world.executor.0.events.publish(world.executor.0.parts.clock.now(), event);
    }

    fn field<'t>(request: &'t str, name: &str) -> &'t str {
        request.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).expect("the field")
    }

    /// Waits until nothing waits to be sent.
    async fn settled(world: &World) {
        let messages = world.store.webhook_messages();
        for _ in 0..3000 {
            if messages.next_due("desk").await.unwrap().is_none() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("a message still waits");
    }

    #[tokio::test]
    async fn a_pending_approval_is_told_with_a_link_and_a_signature() {
        let world = World::new().await;
        let desk = Desk::open(&[204]).await;
        let _webhooks = world.executor.tell(vec![desk.hook(&[Told::Pending])]);
        publish(&world, pending(&world, 7));
        let heard = desk.wait_for(1).await;
        let (head, body) = heard[0].split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /hook HTTP/1.1"), "{head}");
        assert_eq!(field(head, "webhook-id"), format!("apr_{}.approval.pending", "07".repeat(16)));
        assert_eq!(field(head, "webhook-timestamp"), "1769850000");
        assert!(field(head, "webhook-signature").starts_with("v1,"));
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["type"], "approval.pending");
        assert_eq!(body["data"]["link"], format!("https://desk.example/apr_{}", "07".repeat(16)));
        assert_eq!((&body["data"]["tool"], &body["data"]["risk"]), (&"mail.send".into(), &"high".into()));
        for kept_back in ["token", "sk_", "arguments", "secret", "nonce"] {
            assert!(!body.to_string().contains(kept_back), "{body}");
        }
        settled(&world).await;
        world.audit.checkpoint().await.unwrap();
        let told = Query { action: Some(Action::NotificationSend), ..Query::default() };
        let records = world.audit.query(&told).await.unwrap().entries;
        let said: Vec<_> = records.iter().map(|entry| entry.record["outcome"].as_str().unwrap()).collect();
        assert_eq!(said, ["intent", "ok"]);
    }

    #[tokio::test]
    async fn attack_42_nothing_is_signed_or_sent_that_cannot_be_recorded() {
        let world = World::new().await;
        let desk = Desk::open(&[204]).await;
        world.sql("CREATE TRIGGER refuse BEFORE INSERT ON audit BEGIN SELECT json('no JSON'); END").await;
        let _webhooks = world.executor.tell(vec![desk.hook(&[Told::Pending])]);
        publish(&world, pending(&world, 7));
        let messages = world.store.webhook_messages();
        while messages.next_due("desk").await.unwrap().is_none() && desk.heard.lock().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // Enough for sending it, were it sent.
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(desk.heard.lock().is_empty(), "{:?}", desk.heard.lock());
        let due = messages.due("desk", Timestamp::from_micros(i64::MAX), 9).await.unwrap();
        assert_eq!(due.iter().map(|message| message.attempts).collect::<Vec<_>>(), [0], "it stays due");
        world.sql("DROP TRIGGER refuse").await;
        while world.audit.append(Record::new(Action::GatewayStart, Outcome::Ok)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // What comes next wakes the line.
        publish(&world, pending(&world, 8));
        desk.wait_for(2).await;
        settled(&world).await;
    }

    #[tokio::test]
    async fn what_was_not_taken_is_sent_again_over_a_restart_too() {
        let world = World::new().await;
        let desk = Desk::open(&[500, 503, 204]).await;
        let webhooks = world.executor.tell(vec![desk.hook(&[Told::Pending])]);
        publish(&world, pending(&world, 7));
        desk.wait_for(1).await;
        // The same question again is no second message.
        publish(&world, pending(&world, 7));
        while world.store.webhook_messages().due("desk", Timestamp::from_micros(i64::MAX), 9).await.unwrap()[0].attempts
            < 1
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drop(webhooks);
        world.set(2 * SECOND);
        let webhooks = world.executor.tell(vec![desk.hook(&[Told::Pending])]);
        desk.wait_for(2).await;
        drop(webhooks);
        world.set(60 * SECOND);
        let _webhooks = world.executor.tell(vec![desk.hook(&[Told::Pending])]);
        let heard = desk.wait_for(3).await;
        settled(&world).await;
        let ids: Vec<_> = heard.iter().map(|request| field(request, "webhook-id")).collect();
        assert!(ids.iter().all(|id| *id == ids[0]), "one message, whatever it takes: {ids:?}");
        assert_ne!(
            field(&heard[0], "webhook-signature"),
            field(&heard[2], "webhook-signature"),
            "each try is signed anew"
        );
        world.audit.checkpoint().await.unwrap();
        let told = Query { action: Some(Action::NotificationSend), ..Query::default() };
        let records = world.audit.query(&told).await.unwrap().entries;
        let intents = records.iter().filter(|entry| entry.record["outcome"] == "intent").count();
        assert_eq!(intents, 3, "each try is on record");
        assert_eq!(records.last().unwrap().record["outcome"], "ok");
    }

    #[tokio::test]
    async fn what_is_decided_or_expired_is_not_told_any_more() {
        let world = World::new().await;
        let desk = Desk::open(&[500]).await;
        let _webhooks = world.executor.tell(vec![desk.hook(&[Told::Pending])]);
        publish(&world, pending(&world, 7));
        desk.wait_for(1).await;
        let decided = Event::ApprovalDecided {
            owner: owner(),
            approval_id: ApprovalId::from_bytes([7; 16]),
            subject: Subject::Call(CallId::from_bytes([7; 16])),
            decision: Decision::Approved,
            by: Some("bob".parse().unwrap()),
        };
        publish(&world, decided);
        settled(&world).await;
        publish(&world, pending(&world, 8));
        desk.wait_for(2).await;
        world.set(301 * SECOND);
        publish(&world, pending(&world, 9));
        desk.wait_for(3).await;
        let heard = desk.heard.lock().clone();
        let of_eight = heard.iter().filter(|request| request.contains(&"08".repeat(16))).count();
        assert_eq!(of_eight, 1, "what expired is given up");
    }

    #[tokio::test]
    async fn a_webhook_that_is_dead_or_gone_keeps_nothing_from_the_others() {
        let world = World::new().await;
        let messages = world.store.webhook_messages();
        let now = world.executor.0.parts.clock.now();
        let message = |hook: &str, tenant: &str, n: u32| WebhookMessage {
            hook: hook.into(),
            id: n.to_string(),
            tenant: tenant.parse().unwrap(),
            event: "approval.pending".into(),
            subject: n.to_string(),
            body: "{}".into(),
            attempts: 0,
            due_at: now,
            expires_at: now.plus(Duration::from_secs(300)),
        };
        for n in 0..6 {
            messages.push(message("dead", if n % 2 == 0 { "acme" } else { "rival" }, n), 6, 3).await.unwrap();
        }
        assert_eq!(messages.push(message("dead", "acme", 6), 9, 3).await.unwrap(), Kept::Full, "of one tenant");
        assert_eq!(messages.push(message("dead", "third", 7), 6, 3).await.unwrap(), Kept::Full, "of one webhook");
        assert_eq!(messages.push(message("other", "acme", 8), 6, 3).await.unwrap(), Kept::New, "another webhook");
        assert_eq!(messages.hooks().await.unwrap(), ["dead", "other"]);
        // A start with other webhooks gives them up.
        let desk = Desk::open(&[204]).await;
        let _webhooks = world.executor.tell(vec![desk.hook(&[Told::Pending])]);
        for _ in 0..3000 {
            if messages.hooks().await.unwrap().is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("messages of webhooks that are gone still wait");
    }
}
