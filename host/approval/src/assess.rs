//! Effective risk = the highest of what the tool declares and every floor that applies.

use crate::Policy;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sophon_skill::{Effect, InstalledSkill, NetworkRule, Tool};
use sophon_types::{CallId, CanonicalJson, CorrelationId, Principal, Risk, SessionId};
use std::sync::Arc;

/// A call that is ready to be assessed: its tool was found in an installed skill and its arguments passed the schema.
#[derive(Debug, Clone)]
pub struct CallRequest {
    /// Who calls.
    pub principal: Principal,
    /// The call's id.
    pub call: CallId,
    /// What the call belongs to.
    pub correlation: CorrelationId,
    /// The agent's session, where there is one.
    pub session: Option<SessionId>,
    /// The exact arguments.
    pub arguments: CanonicalJson,
}

/// Why a call has at least a certain risk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The risk that this reason alone gives.
    pub risk: Risk,
    /// The reason in words, for the person who decides.
    pub why: String,
}

/// Evidence that a call's risk is known. Made by [`assess`] only.
#[derive(Debug)]
pub struct AssessedCall {
    pub(crate) request: CallRequest,
    pub(crate) skill: Arc<InstalledSkill>,
    pub(crate) tool: usize,
    risk: Risk,
    reasons: Vec<Reason>,
    /// What passes by itself at most, where rules have lowered it.
    pub(crate) ceiling: Option<Risk>,
    /// Why it is never made, where a rule says so.
    pub(crate) deny: Option<String>,
    destructive: bool,
    /// By which it was assessed, and by which it is judged.
    policy: Arc<Policy>,
}

impl AssessedCall {
    /// The effective risk.
    #[must_use]
    pub fn risk(&self) -> Risk {
        self.risk
    }

    /// Every reason, the gravest first.
    #[must_use]
    pub fn reasons(&self) -> &[Reason] {
        &self.reasons
    }

    /// The tool that would run.
    #[must_use]
    pub fn tool(&self) -> &Tool {
        &self.skill.manifest().tools[self.tool]
    }

    /// The skill that would run.
    #[must_use]
    pub fn skill(&self) -> &Arc<InstalledSkill> {
        &self.skill
    }

    /// Whether it destroys, pays or can take over: such a call is approved one by one, never in advance.
    #[must_use]
    pub fn is_destructive(&self) -> bool {
        self.destructive
    }

    /// The policy that it was assessed by. Whatever is in force meanwhile, it is judged by this one.
    #[must_use]
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// The call.
    #[must_use]
    pub fn request(&self) -> &CallRequest {
        &self.request
    }
}

/// Assesses a call of the tool at index `tool` of the skill's manifest; nothing where there is no such tool.
#[must_use]
pub fn assess(
    request: CallRequest,
    skill: Arc<InstalledSkill>,
    tool: usize,
    policy: &Arc<Policy>,
) -> Option<AssessedCall> {
    let declared = skill.manifest().tools.get(tool)?;
    let mut reasons = vec![Reason { risk: declared.risk, why: format!("the tool declares {}", declared.risk) }];
    reasons.extend(declared.effects.iter().map(|effect| effect_floor(*effect)));
    reasons.extend(declared.network.iter().flatten().filter_map(network_floor));
    let threshold = policy.bulk_threshold();
    if let Some(items) = longest_array(request.arguments.value()).filter(|items| *items > threshold) {
        let why = format!("bulk: an argument lists {items} items, more than {threshold}");
        reasons.push(Reason { risk: Risk::High, why });
    }
    let ruling = policy.ruling(&request.principal, &declared.name);
    reasons.extend(ruling.risk.map(|(risk, why)| Reason { risk, why }));
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.risk));
    let risk = reasons.iter().map(|reason| reason.risk).max().unwrap_or(Risk::Critical);
    let destructive = risk == Risk::Critical
        || declared.effects.iter().any(|effect| matches!(effect, Effect::Delete | Effect::Payment | Effect::Shell))
        || declared.network.iter().flatten().any(deletes);
    Some(AssessedCall {
        request,
        skill,
        tool,
        risk,
        reasons,
        ceiling: ruling.ceiling,
        deny: ruling.deny,
        destructive,
        policy: Arc::clone(policy),
    })
}

/// Whether a rule of a tool's own list lets it delete, or do what nobody knows.
fn deletes(rule: &NetworkRule) -> bool {
    rule.methods.is_empty() || rule.methods.iter().any(|method| Risk::of_http_method(method) >= Risk::High)
}

/// The items that a call counts in a plan: those of its longest array, or itself.
#[must_use]
pub fn weight(arguments: &Value) -> usize {
    longest_array(arguments).unwrap_or_default().max(1)
}

/// What an effect amounts to, whatever the tool declares (DESIGN: risk and approval).
fn effect_floor(effect: Effect) -> Reason {
    let risk = match effect {
        Effect::Shell => Risk::Critical,
        _ => Risk::High,
    };
    Reason { risk, why: format!("the tool's effects include {}", effect.as_str()) }
}

/// What a tool's own network list lets it do at most.
fn network_floor(rule: &NetworkRule) -> Option<Reason> {
    let risk = if rule.methods.is_empty() {
        Risk::High
    } else {
        rule.methods.iter().map(|method| Risk::of_http_method(method)).max()?
    };
    (risk >= Risk::Medium).then(|| {
        let methods = if rule.methods.is_empty() { "any method".to_owned() } else { rule.methods.join(", ") };
        Reason { risk, why: format!("the tool may send {methods} to {}", rule.host) }
    })
}

fn longest_array(value: &Value) -> Option<usize> {
    match value {
        // What lists lists counts all that they list.
        Value::Array(items) => Some(items.iter().map(|item| longest_array(item).unwrap_or(1).max(1)).sum()),
        Value::Object(fields) => fields.values().filter_map(longest_array).max(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_array_counts_wherever_it_stands() {
        let value = serde_json::json!({"a": [1, 2], "b": {"c": [[1, 2, 3, 4], []]}});
        assert_eq!(longest_array(&value), Some(5));
        assert_eq!(longest_array(&serde_json::json!([[1, 2, 3], [4, 5, 6]])), Some(6));
        assert_eq!(longest_array(&serde_json::json!({"a": 1})), None);
    }
}
