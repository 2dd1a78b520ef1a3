//! What happens to calls and approvals, for those who watch. Each tenant has a channel of its own: what one does is
//! neither seen nor felt by another.
//!
//! Promises: publishing never waits and never fails; memory is bounded, whoever watches or does not; a watcher that comes
//! back with the id of the last event it saw gets what came after it, or is told that some of it is gone. Never: arguments,
//! results, or any text that a skill wrote.

use crate::CallStatus;
use parking_lot::Mutex;
use sophon_types::{
    ApprovalId, CallId, Entropy, KeyId, PlanId, Principal, Risk, Role, TenantId, Timestamp, ToolName, UserId,
};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use tokio::sync::{broadcast, watch};

/// The events of a tenant that can be had again.
const KEPT: usize = 1024;
/// The most tenants whose events are kept while nobody watches them.
const TENANTS: usize = 1024;
/// Approvals that may wait for whoever sends them on.
const NOTICES: usize = 4096;

/// Whose call it is about: who may see an event goes by this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The tenant.
    pub tenant: TenantId,
    /// The person behind the call.
    pub user: UserId,
    /// The key that called.
    pub key: KeyId,
}

impl Owner {
    /// The caller as the owner of its call.
    #[must_use]
    pub fn of(principal: &Principal) -> Self {
        Self { tenant: principal.tenant.clone(), user: principal.user.clone(), key: principal.key }
    }

    /// An agent sees what its own key did, an admin everything of the tenant, everybody else what is of the same person.
    fn is_shown_to(&self, principal: &Principal) -> bool {
        self.tenant == principal.tenant
            && match principal.role {
                Role::Admin => true,
                Role::Approver => self.user == principal.user,
                Role::Agent => self.user == principal.user && self.key == principal.key,
                Role::Publisher => false,
            }
    }
}

/// What a person is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// A call, before it runs or while it is parked.
    Call(CallId),
    /// Several calls at once.
    Plan(PlanId),
}

/// What an approval came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// A person said yes.
    Approved,
    /// A person said no.
    Rejected,
    /// Nobody answered in time.
    Expired,
    /// What was asked about is no more what it was, or nobody waits for it.
    Cancelled,
}

impl Decision {
    /// The decision as it is sent.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A person is asked.
    ApprovalPending {
        /// Whose call it is.
        owner: Owner,
        /// The question.
        approval_id: ApprovalId,
        /// What it is about.
        subject: Subject,
        /// The tool; of a plan that of its gravest step.
        tool: ToolName,
        /// The effective risk.
        risk: Risk,
        /// Until when it may be decided.
        expires_at: Timestamp,
    },
    /// A question is closed.
    ApprovalDecided {
        /// Whose call it is.
        owner: Owner,
        /// The question.
        approval_id: ApprovalId,
        /// What it was about.
        subject: Subject,
        /// What it came to.
        decision: Decision,
        /// Who decided; nobody, where time did.
        by: Option<UserId>,
    },
    /// A call is over.
    CallFinished {
        /// Whose call it was.
        owner: Owner,
        /// The call.
        call_id: CallId,
        /// The tool.
        tool: ToolName,
        /// How it ended.
        status: CallStatus,
    },
}

impl Event {
    /// Whose call it is about.
    #[must_use]
    pub const fn owner(&self) -> &Owner {
        match self {
            Self::ApprovalPending { owner, .. }
            | Self::ApprovalDecided { owner, .. }
            | Self::CallFinished { owner, .. } => owner,
        }
    }

    /// The stable name of what happened.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ApprovalPending { .. } => "approval.pending",
            Self::ApprovalDecided { .. } => "approval.decided",
            Self::CallFinished { .. } => "call.finished",
        }
    }

    const fn is_notice(&self) -> bool {
        matches!(self, Self::ApprovalPending { .. } | Self::ApprovalDecided { .. })
    }
}

/// The place of an event in its tenant's channel, in one run of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventId {
    run: u64,
    number: u64,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.run, self.number)
    }
}

impl FromStr for EventId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "is not the id of an event of this host".to_owned();
        let (run, number) = text.split_once('-').ok_or_else(wrong)?;
        let digits = number.bytes().all(|b| b.is_ascii_digit());
        if run.len() != 16 || !run.bytes().all(|b| b.is_ascii_hexdigit()) || !digits {
            return Err(wrong());
        }
        let run = u64::from_str_radix(run, 16).map_err(|_not_hex| wrong())?;
        Ok(Self { run, number: number.parse().map_err(|_too_large| wrong())? })
    }
}

/// An event with its place and time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted {
    /// Its place.
    pub id: EventId,
    /// When it was published.
    pub at: Timestamp,
    /// What happened.
    pub event: Event,
}

/// The events of the host. Cheap to clone; every clone is the same.
#[derive(Clone)]
pub struct Events(Arc<Board>);

struct Board {
    run: u64,
    channels: Mutex<Channels>,
    /// What concerns approvals, of all tenants, for whoever tells people of it outside the host.
    notices: broadcast::Sender<Arc<Posted>>,
}

#[derive(Default)]
struct Channels {
    of: HashMap<TenantId, Arc<Channel>>,
    /// Where numbers begin: beyond those of every channel that was given up.
    begin: u64,
}

struct Channel {
    kept: Mutex<VecDeque<Arc<Posted>>>,
    /// The number of the last event.
    last: watch::Sender<u64>,
}

impl Events {
    /// No events yet. Ids of another run of the host are told apart from those of this one.
    #[must_use]
    pub fn new(entropy: &dyn Entropy) -> Self {
        let run = u64::from_be_bytes(entropy.bytes());
        Self(Arc::new(Board { run, channels: Mutex::default(), notices: broadcast::Sender::new(NOTICES) }))
    }

    /// Tells those who may see it.
    pub fn publish(&self, at: Timestamp, event: Event) {
        let notice = event.is_notice();
        let tenant = event.owner().tenant.clone();
        let posted = self.on_channel(&tenant, |channel| {
            let mut kept = channel.kept.lock();
            let number = *channel.last.borrow() + 1;
            let posted = Arc::new(Posted { id: EventId { run: self.0.run, number }, at, event });
            if kept.len() >= KEPT {
                kept.pop_front();
            }
            kept.push_back(Arc::clone(&posted));
            channel.last.send_replace(number);
            posted
        });
        if notice {
            // Without a receiver nobody wants to know.
            drop(self.0.notices.send(posted));
        }
    }

    /// What this principal may see, from behind `after` on, or from now on.
    #[must_use]
    pub fn watch(&self, principal: &Principal, after: Option<EventId>) -> Watch {
        let (channel, changes) =
            self.on_channel(&principal.tenant, |channel| (Arc::clone(channel), channel.last.subscribe()));
        let last = *changes.borrow();
        let (seen, missed) = match after {
            None => (last, false),
            Some(id) if id.run == self.0.run && id.number <= last => (id.number, false),
            // Of another run: what came after it there is gone, and so is how much it was.
            Some(_) => (0, true),
        };
        Watch { principal: principal.clone(), channel, changes, seen, missed }
    }

    /// What happens to approvals from now on, in every tenant. For the host's own use: nothing is filtered.
    #[must_use]
    pub fn notices(&self) -> broadcast::Receiver<Arc<Posted>> {
        self.0.notices.subscribe()
    }

    /// Does something with a tenant's channel before anybody can give it up: whoever subscribes is counted then, and what
    /// is posted is posted where watchers look.
    fn on_channel<T>(&self, tenant: &TenantId, act: impl FnOnce(&Arc<Channel>) -> T) -> T {
        let mut channels = self.0.channels.lock();
        if let Some(channel) = channels.of.get(tenant) {
            return act(channel);
        }
        let Channels { of, begin } = &mut *channels;
        if of.len() >= TENANTS {
            of.retain(|_tenant, channel| {
                let watched = channel.last.receiver_count() > 0;
                if !watched {
                    // Whoever comes back with an id of it is behind the first number of the next, and hears so.
                    *begin = (*begin).max(*channel.last.borrow() + 1);
                }
                watched
            });
        }
        let channel = Arc::new(Channel { kept: Mutex::default(), last: watch::Sender::new(*begin) });
        let done = act(&channel);
        of.insert(tenant.clone(), channel);
        done
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Events")
    }
}

/// What a watcher gets next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// An event.
    Event(Arc<Posted>),
    /// Events went by that cannot be had any more: what stands now has to be asked for.
    Missed,
}

/// One watcher.
pub struct Watch {
    principal: Principal,
    channel: Arc<Channel>,
    changes: watch::Receiver<u64>,
    seen: u64,
    missed: bool,
}

impl Watch {
    /// The next event that this watcher may see. Can be dropped and asked again without losing one.
    pub async fn next(&mut self) -> Next {
        loop {
            if std::mem::take(&mut self.missed) {
                return Next::Missed;
            }
            // Before the look: what comes after it wakes the wait below.
            self.changes.borrow_and_update();
            if let Some(found) = self.look() {
                return found;
            }
            if self.changes.changed().await.is_err() {
                // The channel is held here, so its sender lives.
                std::future::pending::<()>().await;
            }
        }
    }

    fn look(&mut self) -> Option<Next> {
        let kept = self.channel.kept.lock();
        let first = kept.front()?.id.number;
        if self.seen + 1 < first {
            self.seen = first - 1;
            return Some(Next::Missed);
        }
        let behind = usize::try_from(self.seen + 1 - first).unwrap_or(usize::MAX);
        for posted in kept.iter().skip(behind) {
            self.seen = posted.id.number;
            if posted.event.owner().is_shown_to(&self.principal) {
                return Some(Next::Event(Arc::clone(posted)));
            }
        }
        None
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("principal", &self.principal).field("seen", &self.seen).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    struct Same(u8);

    impl Entropy for Same {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    fn principal(tenant: &str, user: &str, key: u8, role: Role) -> Principal {
        let (tenant, user) = (tenant.parse().unwrap(), user.parse().unwrap());
        Principal { tenant, user, key: KeyId::from_bytes([key; 16]), role }
    }

    fn finished(owner: &Principal, n: u8) -> Event {
        Event::CallFinished {
            owner: Owner::of(owner),
            call_id: CallId::from_bytes([n; 16]),
            tool: "ab.c".parse().unwrap(),
            status: CallStatus::Succeeded,
        }
    }

    fn number(next: Option<Next>) -> Option<u64> {
        match next? {
            Next::Event(posted) => Some(posted.id.number),
            Next::Missed => Some(0),
        }
    }

    #[tokio::test]
    async fn each_sees_what_it_may_and_nothing_else() {
        let events = Events::new(&Same(1));
        let agent = principal("acme", "ann", 1, Role::Agent);
        let watchers = [
            (agent.clone(), true),
            (principal("acme", "ann", 2, Role::Agent), false),
            (principal("acme", "ann", 3, Role::Approver), true),
            (principal("acme", "bob", 4, Role::Approver), false),
            (principal("acme", "bob", 5, Role::Admin), true),
            (principal("acme", "ann", 1, Role::Publisher), false),
            (principal("rival", "ann", 1, Role::Agent), false),
            (principal("rival", "ann", 1, Role::Admin), false),
        ];
        let mut watching: Vec<_> = watchers.iter().map(|(who, _)| events.watch(who, None)).collect();
        events.publish(Timestamp::from_micros(7), finished(&agent, 1));
        for ((who, sees), watch) in watchers.iter().zip(&mut watching) {
            assert_eq!(watch.next().now_or_never().is_some(), *sees, "{who:?}");
        }
    }

    #[tokio::test]
    async fn who_comes_back_gets_what_came_meanwhile_or_hears_that_it_is_gone() {
        let events = Events::new(&Same(1));
        let agent = principal("acme", "ann", 1, Role::Agent);
        let mut watch = events.watch(&agent, None);
        for n in 0..3 {
            events.publish(Timestamp::from_micros(7), finished(&agent, n));
        }
        let Next::Event(first) = watch.next().await else { panic!("nothing was missed") };
        drop(watch);
        let mut back = events.watch(&agent, Some(first.id));
        assert_eq!(number(back.next().now_or_never()), Some(2));
        assert_eq!(number(back.next().now_or_never()), Some(3));
        assert_eq!(number(back.next().now_or_never()), None);

        for n in 0..=255 {
            (0..8).for_each(|_| events.publish(Timestamp::from_micros(7), finished(&agent, n)));
        }
        let mut late = events.watch(&agent, Some(first.id));
        assert_eq!(late.next().now_or_never(), Some(Next::Missed));
        let first_kept = 3 + 256 * 8 - KEPT as u64 + 1;
        assert_eq!(number(late.next().now_or_never()), Some(first_kept));

        let mut stranger = Events::new(&Same(2)).watch(&agent, Some(first.id));
        assert_eq!(stranger.next().now_or_never(), Some(Next::Missed), "an id of another run");
        assert_eq!(stranger.next().now_or_never(), None);
    }

    #[tokio::test]
    async fn a_flood_of_one_tenant_is_not_felt_by_another() {
        let events = Events::new(&Same(1));
        let (quiet, loud) = (principal("acme", "ann", 1, Role::Admin), principal("rival", "bob", 2, Role::Admin));
        let mut watch = events.watch(&quiet, None);
        events.publish(Timestamp::from_micros(7), finished(&quiet, 1));
        for _ in 0..10 * KEPT {
            events.publish(Timestamp::from_micros(7), finished(&loud, 2));
        }
        assert_eq!(number(watch.next().now_or_never()), Some(1));
        assert!(events.on_channel(&loud.tenant, |channel| channel.kept.lock().len()) <= KEPT);
    }

    #[test]
    fn a_watcher_is_not_lost_while_channels_are_given_up() {
        let events = Events::new(&Same(1));
        let over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            // Tenants without end: channels that nobody watches are given up all the time.
            for thread in 0..3 {
                let (events, over) = (&events, &over);
                scope.spawn(move || {
                    let mut n = 0_u64;
                    while !over.load(std::sync::atomic::Ordering::Relaxed) {
                        n += 1;
                        let own = principal(&format!("t{thread}-{n}"), "ann", 1, Role::Admin);
                        events.publish(Timestamp::from_micros(7), finished(&own, 1));
                    }
                });
            }
            let lost = (0..20_000).find(|n| {
                let own = principal(&format!("own-{n}"), "ann", 1, Role::Admin);
                let mut watch = events.watch(&own, None);
                events.publish(Timestamp::from_micros(7), finished(&own, 1));
                watch.next().now_or_never().is_none()
            });
            over.store(true, std::sync::atomic::Ordering::Relaxed);
            assert_eq!(lost, None, "an event was posted where its watcher does not look");
        });
    }

    #[test]
    fn the_number_of_channels_is_bounded() {
        let events = Events::new(&Same(1));
        for n in 0..3 * TENANTS {
            let own = principal(&format!("t{n}"), "ann", 1, Role::Admin);
            events.publish(Timestamp::from_micros(7), finished(&own, 1));
        }
        assert!(events.0.channels.lock().of.len() <= TENANTS);
        // A channel that was given up and made anew does not look like the old one.
        let first = principal("t0", "ann", 1, Role::Admin);
        let mut back = events.watch(&first, Some(EventId { run: events.0.run, number: 1 }));
        events.publish(Timestamp::from_micros(7), finished(&first, 1));
        assert_eq!(back.next().now_or_never(), Some(Next::Missed));
        assert!(matches!(back.next().now_or_never(), Some(Next::Event(_))));
    }

    #[test]
    fn ids_read_back_and_nothing_else_does() {
        let id = EventId { run: 7, number: 12 };
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in ["", "7", "0000000000000007-", "0000000000000007-+1", "zz00000000000007-1", "0000000000000007-1-1"] {
            assert!(bad.parse::<EventId>().is_err(), "{bad}");
        }
    }
}
