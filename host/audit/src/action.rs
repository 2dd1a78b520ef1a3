//! What can be recorded, and how it ended. The codes are read by programs and never change.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// Text that names no action or outcome of this host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {kind}")]
pub struct UnknownName {
    text: String,
    kind: &'static str,
}

macro_rules! codes {
    ($(#[$doc:meta])* $name:ident, $kind:literal { $($(#[$vdoc:meta])* $variant:ident = $code:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$vdoc])* $variant,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The code as it is written in records.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $code,)*
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownName;
            fn from_str(text: &str) -> Result<Self, UnknownName> {
                match text {
                    $($code => Ok(Self::$variant),)*
                    _ => Err(UnknownName { text: text.chars().take(80).collect(), kind: $kind }),
                }
            }
        }
    };
}

codes! {
    /// What was done or asked for.
    Action, "an action" {
        /// A call is about to run, with the credentials it may use.
        CallIntent = "call.intent",
        /// How a call ended.
        CallOutcome = "call.outcome",
        /// A call was refused before it could run.
        CallRefused = "call.refused",
        /// A person is asked.
        ApprovalRequest = "approval.request",
        /// A person said yes.
        ApprovalApprove = "approval.approve",
        /// A person said no.
        ApprovalReject = "approval.reject",
        /// Nobody answered in time.
        ApprovalExpire = "approval.expire",
        /// What was asked about is no more what it was, or nobody waits for it.
        ApprovalCancel = "approval.cancel",
        /// A decision that could not be taken: too late, by the wrong person, on other terms.
        ApprovalRefused = "approval.refused",
        /// A standing yes was given.
        GrantCreate = "grant.create",
        /// A standing yes was taken back.
        GrantRevoke = "grant.revoke",
        /// A standing yes let one call pass.
        GrantUse = "grant.use",
        /// An agent began a session.
        SessionBegin = "session.begin",
        /// A person changed what passes by itself in a session.
        SessionRaise = "session.raise",
        /// A person ended an agent's session.
        SessionEnd = "session.end",
        /// Several calls that belong together are about to begin.
        PlanIntent = "plan.intent",
        /// How several calls that belong together ended.
        PlanOutcome = "plan.outcome",
        /// A write-type request of a skill is about to leave.
        EgressRequest = "egress.request",
        /// A request of a skill was not let out.
        EgressDenied = "egress.denied",
        /// A placeholder for a credential was about to go where it does not belong.
        EgressAlarm = "egress.alarm",
        /// A credential is about to be opened.
        CredentialUse = "credential.use",
        /// A skill was given a short-lived token, or a placeholder for a credential.
        CredentialToken = "credential.token",
        /// A credential was stored or replaced.
        CredentialPut = "credential.put",
        /// A credential was deleted.
        CredentialDelete = "credential.delete",
        /// A person began to authorise the host at a service.
        OauthStart = "oauth.start",
        /// A service's answer to an authorisation came back.
        OauthCallback = "oauth.callback",
        /// An access token was renewed.
        OauthRefresh = "oauth.refresh",
        /// A service was told that tokens are no longer wanted.
        OauthRevoke = "oauth.revoke",
        /// A token of narrower scope was asked for.
        OauthExchange = "oauth.exchange",
        /// The vault's key was changed.
        CredentialRotate = "credential.rotate",
        /// A skill was installed or updated.
        SkillInstall = "skill.install",
        /// What a skill requires beside itself was fetched.
        SkillRequirements = "skill.requirements",
        /// A skill was removed.
        SkillRemove = "skill.remove",
        /// A skill was switched on.
        SkillEnable = "skill.enable",
        /// A skill was switched off.
        SkillDisable = "skill.disable",
        /// A publisher's key was trusted.
        PublisherTrust = "publisher.trust",
        /// A publisher's key is trusted no longer.
        PublisherRevoke = "publisher.revoke",
        /// An API key was made.
        KeyCreate = "key.create",
        /// An API key was revoked.
        KeyRevoke = "key.revoke",
        /// Somebody showed no key, or a wrong one.
        AuthnRefused = "authn.refused",
        /// A key was shown for what its role or its tenant does not reach.
        AuthzRefused = "authz.refused",
        /// A webhook was told of an approval, or could not be.
        NotificationSend = "notification.send",
        /// The configuration was read again.
        ConfigReload = "config.reload",
        /// The gateway began to serve.
        GatewayStart = "gateway.start",
        /// The gateway stopped serving.
        GatewayStop = "gateway.stop",
        /// A call that comes round was made, or refused.
        ScheduleCreate = "schedule.create",
        /// A call that comes round was removed.
        ScheduleDelete = "schedule.delete",
        /// A call came round; how its own story goes on is told by the call's records.
        ScheduleFire = "schedule.fire",
        /// Text on its way to a model was told of: it speaks to the model, forges a marker or hides something.
        ContentFlagged = "content.flagged",
        /// A skill's own line of log.
        SkillLog = "skill.log",
        /// The log itself: bodies of old records were dropped.
        AuditRetention = "audit.retention",
        /// The log itself: it goes on after it could not be written.
        AuditCheckpoint = "audit.checkpoint",
    }
}

codes! {
    /// How it ended, without the reason's code.
    OutcomeKind, "an outcome" {
        /// It is about to happen.
        Intent = "intent",
        /// It happened.
        Ok = "ok",
        /// A policy forbade it.
        Denied = "denied",
        /// It was tried and failed.
        Failed = "failed",
        /// Nobody knows: the host stopped while it was under way.
        Unknown = "unknown",
    }
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is about to happen.
    Intent,
    /// It happened.
    Ok,
    /// A policy forbade it.
    Denied {
        /// The denial's stable code.
        code: Cow<'static, str>,
    },
    /// It was tried and failed.
    Failed {
        /// The failure's stable code.
        code: Cow<'static, str>,
    },
    /// Nobody knows: the host stopped while it was under way.
    Unknown,
}

impl Outcome {
    /// A denial.
    #[must_use]
    pub fn denied(code: impl Into<Cow<'static, str>>) -> Self {
        Self::Denied { code: code.into() }
    }

    /// A failure.
    #[must_use]
    pub fn failed(code: impl Into<Cow<'static, str>>) -> Self {
        Self::Failed { code: code.into() }
    }

    /// Without the code.
    #[must_use]
    pub const fn kind(&self) -> OutcomeKind {
        match self {
            Self::Intent => OutcomeKind::Intent,
            Self::Ok => OutcomeKind::Ok,
            Self::Denied { .. } => OutcomeKind::Denied,
            Self::Failed { .. } => OutcomeKind::Failed,
            Self::Unknown => OutcomeKind::Unknown,
        }
    }

    /// The reason's code, where there is one.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Denied { code } | Self::Failed { code } => Some(code),
            Self::Intent | Self::Ok | Self::Unknown => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_read_back() {
        for action in Action::ALL {
            assert_eq!(action.as_str().parse(), Ok(*action));
        }
        for kind in OutcomeKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(*kind));
        }
        assert!("call.imagined".parse::<Action>().is_err());
    }
}
