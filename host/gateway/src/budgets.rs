//! Budgets of tools and of destinations: how often a tool may be called, and how often a host be spoken to, as the operator
//! has it. A call or request counts in every budget that names it.

use crate::counter::{Counter, Pace};
use crate::reading::{Reading, Refused};
use governor::clock::Clock;
use serde::{Deserialize, Serialize};
use sophon_types::{Principal, TenantId, UserId};
use std::num::NonZeroU32;
use std::sync::Arc;

/// Who shares a budget.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sharing {
    /// Each user has one.
    #[default]
    User,
    /// Each tenant has one.
    Tenant,
    /// Everybody together has one.
    Everyone,
}

/// `[[rate_limit.tools]]`: calls of a tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolBudget {
    /// A tool's full name, `skill.*` for each tool of a skill, or `*` for each tool.
    pub tool: String,
    /// Calls a minute.
    pub per_minute: NonZeroU32,
    /// Calls at once.
    pub burst: NonZeroU32,
    /// Who shares it.
    #[serde(default)]
    pub per: Sharing,
}

/// `[[rate_limit.destinations]]`: requests of skills to a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DestinationBudget {
    /// A host, `*.example.com` for all hosts below it together, or `*` for all hosts together.
    pub host: String,
    /// Requests a minute.
    pub per_minute: NonZeroU32,
    /// Requests at once.
    pub burst: NonZeroU32,
    /// Who shares it.
    #[serde(default)]
    pub per: Sharing,
}

/// A budget, whatever it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    pattern: String,
    pace: Pace,
    per: Sharing,
    counts: Counts,
}

/// What a budget counts apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counts {
    /// Each name that it names. Only where there is a bounded number of them: tools that are installed.
    EachName,
    /// All that it names together: below a wildcard there are as many hosts as a skill cares to invent.
    Together,
}

impl Rule {
    /// Whether it names `name`. `*` stands for a whole name, `a.*` for names that begin so, `*.a` for names that end so.
    fn names(&self, name: &str) -> bool {
        match (self.pattern.strip_suffix('*'), self.pattern.strip_prefix('*')) {
            (Some(""), _) => true,
            (Some(start), _) => name.strip_prefix(start).is_some_and(|rest| !rest.is_empty()),
            (None, Some(end)) => name.strip_suffix(end).is_some_and(|rest| !rest.is_empty()),
            (None, None) => name == self.pattern,
        }
    }
}

impl From<&ToolBudget> for Rule {
    fn from(budget: &ToolBudget) -> Self {
        let ToolBudget { tool, per_minute, burst, per } = budget.clone();
        Self { pattern: tool, pace: Pace { per_minute, burst }, per, counts: Counts::EachName }
    }
}

impl From<&DestinationBudget> for Rule {
    fn from(budget: &DestinationBudget) -> Self {
        let DestinationBudget { host, per_minute, burst, per } = budget.clone();
        Self { pattern: host, pace: Pace { per_minute, burst }, per, counts: Counts::Together }
    }
}

/// Whose calls, of what.
type Of = (Option<TenantId>, Option<UserId>, String);

/// The budgets of one kind.
#[derive(Debug)]
pub(crate) struct Budgets<C: Clock> {
    policy: &'static str,
    rules: Vec<(Rule, Arc<Counter<Of, C>>)>,
}

impl<C: Clock + Clone> Budgets<C> {
    /// Budgets that `policy` names in headers.
    pub(crate) fn new<'b, B: 'b>(
        policy: &'static str,
        budgets: impl IntoIterator<Item = &'b B>,
        most: usize,
        clock: &C,
        before: Option<&Self>,
    ) -> Self
    where
        Rule: From<&'b B>,
    {
        let made = |budget| {
            let rule = Rule::from(budget);
            // One that is as it was goes on counting.
            let known = before.and_then(|before| before.rules.iter().find(|(known, _)| *known == rule));
            let known = known.map(|(_, counter)| Arc::clone(counter)).filter(|counter| counter.is(rule.pace, most));
            let counter = known.unwrap_or_else(|| Arc::new(Counter::new(rule.pace, most, clock)));
            (rule, counter)
        };
        Self { policy, rules: budgets.into_iter().map(made).collect() }
    }

    /// Counts one of `name`; where several budgets name it, the one that leaves least is read.
    pub(crate) fn take(&self, principal: &Principal, name: &str) -> Result<Option<Reading>, Refused> {
        let mut least: Option<Reading> = None;
        for (rule, counter) in self.rules.iter().filter(|(rule, _)| rule.names(name)) {
            let (tenant, user) = match rule.per {
                Sharing::User => (Some(principal.tenant.clone()), Some(principal.user.clone())),
                Sharing::Tenant => (Some(principal.tenant.clone()), None),
                Sharing::Everyone => (None, None),
            };
            let of = match rule.counts {
                Counts::EachName => name.to_owned(),
                Counts::Together => rule.pattern.clone(),
            };
            let reading = counter.check((tenant, user, of), self.policy)?;
            least = least.filter(|least| least.remaining <= reading.remaining).or(Some(reading));
        }
        Ok(least)
    }

    pub(crate) fn sweep(&self) {
        self.rules.iter().for_each(|(_, counter)| counter.sweep());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use governor::clock::FakeRelativeClock;
    use sophon_types::{KeyId, Role};
    use std::time::Duration;

    fn principal(tenant: &str, user: &str) -> Principal {
        let (tenant, user) = (tenant.parse().unwrap(), user.parse().unwrap());
        Principal { tenant, user, key: KeyId::from_bytes([1; 16]), role: Role::Agent }
    }

    fn budget(tool: &str, burst: u32, per: Sharing) -> ToolBudget {
        let number = |n| NonZeroU32::new(n).unwrap();
        ToolBudget { tool: tool.into(), per_minute: number(6), burst: number(burst), per }
    }

    fn passed(budgets: &Budgets<FakeRelativeClock>, principal: &Principal, name: &str) -> usize {
        (0..50).take_while(|_| budgets.take(principal, name).is_ok()).count()
    }

    #[test]
    fn attack_44_each_budget_holds_for_whom_it_is() {
        let clock = FakeRelativeClock::default();
        let rules = [
            budget("mail.send", 3, Sharing::User),
            budget("mail.*", 5, Sharing::Tenant),
            budget("*", 40, Sharing::Everyone),
        ];
        let budgets = Budgets::new("tool", &rules, 100, &clock, None);
        let (ann, bob, eve) = (principal("acme", "ann"), principal("acme", "bob"), principal("rival", "eve"));
        assert_eq!(passed(&budgets, &ann, "mail.send"), 3);
        assert_eq!(passed(&budgets, &bob, "mail.send"), 2, "the tenant has two left");
        assert_eq!(passed(&budgets, &ann, "mail.list"), 5, "another tool of the skill has its own");
        assert_eq!(passed(&budgets, &eve, "mail.send"), 3);
        assert_eq!(passed(&budgets, &ann, "other.tool"), 40);
        assert_eq!(passed(&budgets, &eve, "other.tool"), 0, "everybody together");
        let Err(refused) = budgets.take(&ann, "mail.send") else { panic!("the budget is used up") };
        assert!(refused.retry_after <= Duration::from_secs(10));
        assert_eq!((refused.policy, refused.quota, refused.window), ("tool", 3, 30));
    }

    #[test]
    fn attack_44_an_invented_host_below_a_wildcard_has_no_budget_of_its_own() {
        let clock = FakeRelativeClock::default();
        let number = |n| NonZeroU32::new(n).unwrap();
        let rule = |host: &str, burst| DestinationBudget {
            host: host.into(),
            per_minute: number(6),
            burst: number(burst),
            per: Sharing::User,
        };
        let rules = [rule("*.example.com", 3), rule("*", 5)];
        let budgets = Budgets::new("destination", &rules, 100, &clock, None);
        let ann = principal("acme", "ann");
        let passed = (0..20).filter(|n| budgets.take(&ann, &format!("h{n}.example.com")).is_ok()).count();
        assert_eq!(passed, 3);
        let passed = (0..20).filter(|n| budgets.take(&ann, &format!("h{n}.example.org")).is_ok()).count();
        assert_eq!(passed, 2, "all hosts together");
        assert!(budgets.rules.iter().all(|(_, counter)| counter.len() == 1), "one counter, whatever the hosts are");
    }

    #[test]
    fn what_does_not_change_goes_on_counting() {
        let clock = FakeRelativeClock::default();
        let ann = principal("acme", "ann");
        let first =
            Budgets::new("tool", &[budget("a.b", 3, Sharing::User), budget("c.d", 3, Sharing::User)], 9, &clock, None);
        assert_eq!((passed(&first, &ann, "a.b"), passed(&first, &ann, "c.d")), (3, 3));
        let rules = [budget("a.b", 3, Sharing::User), budget("c.d", 4, Sharing::User)];
        let second = Budgets::new("tool", &rules, 9, &clock, Some(&first));
        assert_eq!((passed(&second, &ann, "a.b"), passed(&second, &ann, "c.d")), (0, 4));
    }

    #[test]
    fn patterns_name_what_they_say() {
        let names = |pattern: &str, name: &str| {
            let pace = Pace { per_minute: NonZeroU32::MIN, burst: NonZeroU32::MIN };
            Rule { pattern: pattern.into(), pace, per: Sharing::User, counts: Counts::Together }.names(name)
        };
        assert!(names("api.example.com", "api.example.com") && !names("api.example.com", "xapi.example.com"));
        assert!(names("*.example.com", "api.example.com") && !names("*.example.com", "example.com"));
        assert!(!names("*.example.com", "api.example.com.evil.org"));
        assert!(names("mail.*", "mail.send") && !names("mail.*", "mailer.send") && !names("mail.*", "mail."));
        assert!(names("*", "anything"));
    }
}
