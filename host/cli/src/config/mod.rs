//! `sophon.toml`: what an operator may set. An unknown key is an error that says where it stands; every key can be set
//! by a variable `SOPHON__SECTION__KEY` instead. Secrets have no place in it.

mod audit;
mod load;
mod reload;
mod sections;
mod webhooks;

pub(crate) use audit::{AuditSection, Day, Facility, SyslogAddress};
pub(crate) use load::load;
pub(crate) use reload::Reloader;
pub(crate) use sections::{Config, LogFormat, LogSection, VaultKey};
pub(crate) use webhooks::HookEvent;
