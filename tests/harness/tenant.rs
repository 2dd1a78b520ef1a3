//! A tenant beside the first one, with an admin of its own.

use super::gateway::{Gateway, Key};
use super::home::Home;
use super::http::Answer;
use super::packages::{Publisher, Signed};
use serde_json::{Value, json};

/// A tenant.
pub(crate) struct Tenant<'g> {
    gateway: &'g Gateway,
    admin: Key,
}

impl<'g> Tenant<'g> {
    /// A tenant of this name, which trusts `publisher`.
    #[track_caller]
    pub(crate) fn new(home: &Home, gateway: &'g Gateway, name: &str, publisher: &Publisher) -> Self {
        let tenant = Self { gateway, admin: Key::make_in(home, name, "admin", "root") };
        let body = json!({"name": publisher.name(), "public_key": publisher.public_key()});
        tenant.admin("POST", "/v1/publishers", Some(&body)).expect(201);
        tenant
    }

    /// A request of its admin.
    pub(crate) fn admin(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        self.gateway.request(&self.admin, method, path, body)
    }

    /// Makes a key.
    #[track_caller]
    pub(crate) fn key(&self, role: &str, user: &str) -> Key {
        Key::of(&self.admin("POST", "/v1/keys", Some(&json!({"role": role, "user": user}))).expect(201))
    }

    /// Makes an agent's key.
    #[track_caller]
    pub(crate) fn agent(&self, user: &str) -> Key {
        self.key("agent", user)
    }

    /// Installs with grants, and expects it to work.
    #[track_caller]
    pub(crate) fn installed(&self, package: &Signed, hosts: &[&str]) -> Value {
        self.admin("POST", "/v1/skills", Some(&package.body(json!({"allow_hosts": hosts})))).expect(201)
    }
}
