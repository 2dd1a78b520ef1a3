//! Installed skills.

use crate::extract::WireBody;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sophon_executor::SkillView;
use sophon_skill::{Field, HostGrant, Integration, Report, StreamGrant};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A package to install.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct InstallBody {
    /// The archive (`.sophon-skill`) in base64 with padding (RFC 4648, section 4).
    pub(crate) package: String,
    /// The signature: the DSSE envelope as it stands beside the archive.
    #[schema(value_type = Option<Object>)]
    pub(crate) signature: Option<Box<RawValue>>,
    /// Hosts that the person installing grants: `[http://|https://]host[:port]`.
    #[serde(default)]
    #[schema(value_type = Vec<String>, example = json!(["api.example.org:443"]))]
    pub(crate) allow_hosts: Vec<HostGrant>,
    /// Whether `allow_hosts` is a choice even where it is empty: a native skill whose source names hosts is else refused
    /// with their list.
    #[serde(default)]
    pub(crate) hosts_chosen: bool,
    /// Connections that are no HTTP, of those that the manifest asks for: `PROTOCOL://HOST:PORT`. Nobody reads what goes over them.
    #[serde(default)]
    #[schema(value_type = Vec<String>, example = json!(["imap://mail.example.org:993"]))]
    pub(crate) dangerously_allow_streams: Vec<StreamGrant>,
    /// Values for the settings that the manifest declares. Not for secrets.
    #[serde(default)]
    pub(crate) settings: BTreeMap<String, String>,
    /// Lets a package in that nobody trusted has signed. Recorded.
    #[serde(default)]
    pub(crate) dangerously_allow_unsigned: bool,
    /// Accepts whatever an update adds to or changes of what was agreed to when the skill was installed.
    #[serde(default)]
    pub(crate) accept_changes: bool,
}

impl WireBody for InstallBody {}

/// The skills of a tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SkillList {
    /// By name.
    skills: Vec<SkillBody>,
}

/// An installed skill.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SkillBody {
    /// Its name.
    name: String,
    /// Its version.
    version: String,
    /// SHA-256 of the archive.
    digest: String,
    /// local-dev, unsigned or trusted.
    trust: String,
    /// Fingerprint of the publisher's key, where it is signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    publisher: Option<String>,
    /// Whether its tools can be called.
    enabled: bool,
    /// admit or review: what follows from the static analysis (`/v1/skills/{name}/analysis` has all of it).
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<String>,
    /// Why it cannot be run at present.
    #[serde(skip_serializing_if = "Option::is_none")]
    broken: Option<BrokenBody>,
    /// The tools' full names.
    tools: Vec<String>,
    /// What the manifest lets it reach, in words.
    network: Vec<String>,
    /// Hosts that were granted at installation.
    allow_hosts: Vec<String>,
    /// Connections that are no HTTP and that it asks for.
    streams: Vec<String>,
    /// Of these, those that were granted: nobody reads what goes over them.
    allow_streams: Vec<String>,
    /// Services whose credentials it may use.
    credentials: Vec<String>,
    /// The service that it integrates, and what a person fills in to connect it. The author's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    integration: Option<IntegrationBody>,
    /// Packages that it requires beside itself, each with its version.
    requirements: Vec<String>,
    /// Non-secret configuration.
    settings: BTreeMap<String, String>,
    /// Who installed it.
    installed_by: String,
    /// When.
    installed_at: String,
}

/// How a service is connected.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct IntegrationBody {
    /// The service.
    service: String,
    /// Its name for people.
    display_name: String,
    /// What the person fills in.
    fields: Vec<FieldBody>,
}

/// A field of a connection.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FieldBody {
    /// Its name in the connection.
    key: String,
    /// Its name for people.
    label: String,
    /// secret, text, url or email.
    r#type: String,
    /// Whether it must be filled in.
    required: bool,
}

impl From<Integration> for IntegrationBody {
    fn from(integration: Integration) -> Self {
        let field = |field: Field| FieldBody {
            r#type: super::name_of(&field.kind),
            key: field.key,
            label: field.label,
            required: field.required,
        };
        Self {
            service: integration.service.to_string(),
            display_name: integration.display_name,
            fields: integration.fields.into_iter().map(field).collect(),
        }
    }
}

/// Why an installed skill cannot be run.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BrokenBody {
    /// Where it failed.
    stage: String,
    /// The stable code.
    code: String,
    /// Subject and cause.
    message: String,
    /// One line that, followed, mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl From<SkillView> for SkillBody {
    fn from(view: SkillView) -> Self {
        let broken = |report: sophon_types::FaultReport| BrokenBody {
            stage: report.stage.to_string(),
            code: report.code,
            message: report.message,
            hint: report.hint,
        };
        Self {
            name: view.name.to_string(),
            version: view.version.to_string(),
            digest: view.digest.to_string(),
            trust: view.trust.to_string(),
            publisher: view.publisher,
            enabled: view.enabled,
            verdict: view.verdict.map(|verdict| verdict.to_string()),
            broken: view.broken.map(broken),
            tools: view.tools.iter().map(ToString::to_string).collect(),
            network: view.network,
            allow_hosts: view.grants.iter().map(ToString::to_string).collect(),
            streams: view.streams,
            allow_streams: view.granted_streams.iter().map(ToString::to_string).collect(),
            credentials: view.credentials,
            integration: view.integration.map(IntegrationBody::from),
            requirements: view.requirements,
            settings: view.settings,
            installed_by: view.installed_by,
            installed_at: view.installed_at.to_string(),
        }
    }
}

impl From<Vec<SkillView>> for SkillList {
    fn from(views: Vec<SkillView>) -> Self {
        Self { skills: views.into_iter().map(SkillBody::from).collect() }
    }
}

/// What the static analysis found.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AnalysisBody {
    /// admit, review or reject.
    verdict: String,
    /// By rule.
    findings: Vec<RuleFindingBody>,
    /// What the component imports.
    imports: Vec<String>,
    /// The hosts that a native skill's source names.
    hosts: Vec<NamedHostBody>,
    /// Where its source puts secrets of the connection, besides header fields that are made for credentials.
    positions: Vec<NamedPositionBody>,
}

/// A place in requests into which a source puts a secret: it may stand there where a person says so.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NamedPositionBody {
    /// The service that is connected.
    service: String,
    /// The field of its connection.
    field: String,
    /// The place, as `placeholders.FIELD.positions` takes it.
    position: String,
    /// Where in the source.
    place: String,
}

/// A host that a source names.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NamedHostBody {
    /// The host; `*.example.com` where a part of the name is filled in when the skill runs.
    host: String,
    /// What to grant, as `allow_hosts` takes it; nothing for a family of hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<String>,
    /// Where it is named.
    place: String,
}

/// One finding of the analysis.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RuleFindingBody {
    /// The rule.
    rule: String,
    /// How grave it is.
    severity: String,
    /// Where.
    place: String,
    /// What.
    message: String,
    /// What to do about it.
    advice: String,
}

impl From<Report> for AnalysisBody {
    fn from(report: Report) -> Self {
        let finding = |finding: &sophon_skill::RuleFinding| RuleFindingBody {
            rule: finding.rule.to_string(),
            severity: super::name_of(&finding.severity),
            place: finding.place.to_string(),
            message: finding.message.to_string(),
            advice: finding.advice.to_string(),
        };
        Self {
            verdict: super::name_of(&report.verdict),
            findings: report.findings.iter().map(finding).collect(),
            imports: report.imports.iter().map(ToString::to_string).collect(),
            hosts: report
                .hosts
                .iter()
                .map(|wish| NamedHostBody {
                    host: wish.host.to_string(),
                    grant: wish.grant(),
                    place: wish.place.clone(),
                })
                .collect(),
            positions: report
                .positions
                .into_iter()
                .map(|found| NamedPositionBody {
                    service: found.service.to_string(),
                    field: found.field,
                    position: found.position,
                    place: found.place,
                })
                .collect(),
        }
    }
}
