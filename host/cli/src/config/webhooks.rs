//! `[[webhooks]]`: who is told of approvals.

use serde::{Deserialize, Serialize};
use sophon_egress::Endpoint;
use sophon_types::TenantId;
use std::path::PathBuf;

/// What a link names the question by.
const PLACE: &str = "{approval_id}";

/// One webhook.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WebhookSection {
    /// Its name, of which messages that wait are kept.
    pub(crate) name: HookName,
    /// Where messages are posted.
    pub(crate) url: HookUrl,
    /// The file with the secret that they are signed with, as `whsec_` and base64; a relative path starts at the home.
    pub(crate) secret_file: PathBuf,
    /// What it is told of.
    #[serde(default = "pending")]
    pub(crate) events: Vec<HookEvent>,
    /// Of which tenant; of all where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tenant: Option<TenantId>,
    /// Where a person decides, with `{approval_id}` in it; the approval's own route where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) link: Option<Link>,
}

fn pending() -> Vec<HookEvent> {
    vec![HookEvent::Pending]
}

/// What a webhook is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum HookEvent {
    /// A person is asked.
    #[serde(rename = "approval.pending")]
    Pending,
    /// A question is closed.
    #[serde(rename = "approval.decided")]
    Decided,
}

macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident = $check:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(try_from = "String")]
        pub(crate) struct $name(pub(crate) String);

        impl TryFrom<String> for $name {
            type Error = String;
            fn try_from(text: String) -> Result<Self, String> {
                let check: fn(&str) -> Result<(), String> = $check;
                check(&text).map(|()| Self(text))
            }
        }
    )*};
}

texts! {
    /// The name of a webhook.
    HookName = |text| {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let fits = (1..=64).contains(&text.len()) && text.chars().all(plain);
        fits.then_some(()).ok_or_else(|| format!("{text:?} is no name: 1 to 64 of a-z, 0-9 and '-'"))
    };
    /// The address of a webhook.
    HookUrl = |text| Endpoint::check(text).map_err(|denial| denial.to_string());
    /// Where a person decides.
    Link = |text| {
        let web = text.starts_with("https://") || text.starts_with("http://");
        let fits = web && text.contains(PLACE) && text.len() <= 2048 && !text.chars().any(char::is_control);
        fits.then_some(()).ok_or_else(|| format!("{text:?} is no link such as https://desk.example/approvals/{PLACE}"))
    };
}
