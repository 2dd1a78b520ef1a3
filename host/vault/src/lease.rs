//! One use of a credential: what egress holds while it sends a request.

use crate::whole_url::{behind_host, secret_parts};
use crate::{Attach, Binding, Owner, Secret, VaultError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sophon_guard::KnownSecrets;
use sophon_types::{CallId, CorrelationId, ServiceName, SkillName, TenantId, ToolName, UserId};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;
use zeroize::Zeroizing;

/// Why a credential is opened: goes into the audit record of its use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purpose {
    /// The caller's tenant.
    pub tenant: TenantId,
    /// The person behind the call, whose connection is preferred to the tenant's.
    pub user: UserId,
    /// The skill that asked.
    pub skill: SkillName,
    /// Its tool.
    pub tool: ToolName,
    /// The call.
    pub call: CallId,
    /// What the call belongs to.
    pub correlation: CorrelationId,
}

/// An opened credential. Wiped when dropped.
pub struct Lease {
    service: ServiceName,
    owner: Owner,
    version: u64,
    binding: Binding,
    attach: Attach,
    fields: BTreeMap<String, Secret>,
    known: OnceLock<KnownSecrets>,
}

/// A header to be added to a request.
#[derive(Debug)]
pub struct Attachment {
    /// The header's name, in lower case.
    pub header: String,
    /// Its value.
    pub value: Secret,
}

impl Lease {
    pub(crate) fn new(
        service: ServiceName,
        owner: Owner,
        version: u64,
        mut binding: Binding,
        fields: BTreeMap<String, Secret>,
    ) -> Result<Self, VaultError> {
        let attach = binding.attach.get_or_insert(Attach::Placeholders).clone();
        Ok(Self { service, owner, version, binding, attach, fields, known: OnceLock::new() })
    }

    /// The service.
    #[must_use]
    pub fn service(&self) -> &ServiceName {
        &self.service
    }

    /// Whose connection it is: the user's own or the tenant's.
    #[must_use]
    pub fn owner(&self) -> Owner {
        self.owner
    }

    /// The connection's version: a lease of another version holds other secrets. Counted for each owner and service,
    /// and never used twice.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Where the credential may travel.
    #[must_use]
    pub fn binding(&self) -> &Binding {
        &self.binding
    }

    /// How it is attached.
    #[must_use]
    pub fn attach(&self) -> &Attach {
        &self.attach
    }

    /// Names of the fields.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.fields.keys().map(String::as_str)
    }

    /// One field.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Secret> {
        self.fields.get(name)
    }

    /// The header that authorises a request.
    ///
    /// # Errors
    /// [`VaultError::InvalidBinding`] where the connection is used through placeholders only.
    pub fn authorisation(&self) -> Result<Attachment, VaultError> {
        let missing = || VaultError::InvalidBinding(format!("{}: a field is missing", self.service));
        let field = |name: &str| self.fields.get(name).map(opened).ok_or_else(missing);
        let mut value = Zeroizing::new(Vec::with_capacity(256));
        let header = match &self.attach {
            Attach::Bearer { field: name } => {
                value.extend_from_slice(b"Bearer ");
                value.extend_from_slice(field(name)?);
                "authorization".to_owned()
            }
            Attach::Header { name: header, prefix, field: name } => {
                value.extend_from_slice(prefix.as_bytes());
                value.extend_from_slice(field(name)?);
                header.to_ascii_lowercase()
            }
            Attach::Basic { user_field, password_field } => {
                let pair = Zeroizing::new([field(user_field)?, b":", field(password_field)?].concat());
                let pair = Zeroizing::new(STANDARD.encode(&*pair));
                value.extend_from_slice(b"Basic ");
                value.extend_from_slice(pair.as_bytes());
                "authorization".to_owned()
            }
            Attach::Placeholders => {
                let why = format!("{} is used through placeholders, not by a header", self.service);
                return Err(VaultError::InvalidBinding(why));
            }
        };
        Ok(Attachment { header, value: Secret::new(value) })
    }

    /// What a placeholder stands for: the named field, or else the one that authorises, or else the only secret one.
    #[must_use]
    pub fn stands_for(&self, field: Option<&str>) -> Option<&Secret> {
        let only = || {
            let mut secret = self.fields.keys().filter(|name| !self.binding.plain.contains(*name));
            secret.next().filter(|_| secret.next().is_none()).map(String::as_str)
        };
        self.field(field.or_else(|| self.attach.secret_field()).or_else(only)?)
    }

    /// The fields that are not secret, and their values.
    pub fn plain_fields(&self) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
        let plain = self.fields.iter().filter(|(name, _)| {
            self.binding.plain.contains(*name) && self.attach.secret_field() != Some(name.as_str())
        });
        plain.map(|(name, value)| (name.as_str(), String::from_utf8_lossy(opened(value))))
    }

    /// The secret fields, to be looked for in whatever comes back; labelled `service.field`.
    #[must_use]
    pub fn known_secrets(&self) -> KnownSecrets {
        let known = self.known.get_or_init(|| {
            let authorises = self.attach.secret_field();
            let is_secret = |name: &str| !self.binding.plain.contains(name) || authorises == Some(name);
            let secret = self.fields.iter().filter(|(name, _)| is_secret(name));
            secret
                .fold(KnownSecrets::builder(), |set, (name, secret)| {
                    let label = format!("{}.{name}", self.service);
                    match std::str::from_utf8(opened(secret)) {
                        Ok(text) if self.binding.placing(Some(name)).is_some_and(|placing| placing.is_url()) => {
                            let set = secret_parts(text).iter().fold(set, |set, part| set.add(&label, part.as_bytes()));
                            // Half of it is what every request there has.
                            set.add_undivided(&label, behind_host(text).as_bytes())
                        }
                        _ => set.add(&label, opened(secret)),
                    }
                })
                .build()
        });
        known.clone()
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("service", &self.service)
            .field("version", &self.version)
            .field("binding", &self.binding)
            .field("fields", &self.fields.keys())
            .finish_non_exhaustive()
    }
}

fn opened(secret: &Secret) -> &[u8] {
    #[expect(clippy::disallowed_methods, reason = "the vault is where secrets are opened")]
    secret.expose()
}
