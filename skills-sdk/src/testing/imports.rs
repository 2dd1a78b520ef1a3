//! The imports, answered by the host of the present run: the same names and types as the generated ones.

pub(crate) mod http {
    pub(crate) use crate::bindings::sophon::skill::http::{Field, HttpError, Redirects, Request, Response};
    use crate::testing::{Sent, current};

    pub(crate) fn send(request: &Request) -> Result<Response, HttpError> {
        current("a request", |host| {
            host.sent.push(Sent {
                method: request.method.clone(),
                url: request.url.clone(),
                headers: request.headers.iter().map(|f| (f.name.clone(), f.value.clone())).collect(),
                body: request.body.clone(),
                credential: request.credential.clone(),
            });
            let Some(answer) = host.answers.pop_front() else {
                panic!("no answer is left for {} {}", request.method, request.url)
            };
            assert_eq!(
                (request.method.as_str(), request.url.as_str()),
                (answer.method.as_str(), answer.url.as_str()),
                "another request was expected (left: sent, right: expected)"
            );
            Ok(Response { status: answer.status, url: answer.url, headers: Vec::new(), body: answer.body })
        })
    }
}

pub(crate) mod credentials {
    pub(crate) use crate::bindings::sophon::skill::credentials::{Access, Connection, CredentialError};
    use crate::testing::current;

    pub(crate) fn connections() -> Vec<Connection> {
        let connection =
            |service: &String| Connection { service: service.clone(), connected: true, access: Access::Proxy };
        current("credentials", |host| host.connected.iter().map(connection).collect())
    }

    pub(crate) fn scoped_token(service: &str) -> Result<String, CredentialError> {
        current("credentials", |host| {
            if host.connected.iter().any(|c| c == service) {
                Ok(format!("token-for-{service}"))
            } else {
                Err(CredentialError::NotConnected(service.to_owned()))
            }
        })
    }
}

pub(crate) mod log {
    pub(crate) use crate::bindings::sophon::skill::log::Level;
    use crate::testing::current;

    pub(crate) fn write(level: Level, message: &str) {
        let level = match level {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        };
        current("the log", |host| host.log.push(format!("{level}: {message}")));
    }
}

pub(crate) mod settings {
    use crate::testing::current;

    pub(crate) fn value(key: &str) -> Option<String> {
        current("a setting", |host| host.settings.get(key).cloned())
    }
}

pub(crate) mod progress {
    use crate::testing::current;

    pub(crate) fn report(percent: u8, message: &str) {
        current("progress", |host| host.progress.push((percent, message.to_owned())));
    }
}

pub(crate) mod state {
    pub(crate) use crate::bindings::sophon::skill::state::StateError;
    use crate::testing::current;

    pub(crate) fn read(key: &str) -> Result<Option<Vec<u8>>, StateError> {
        Ok(current("the state", |host| host.state.get(key).cloned()))
    }

    pub(crate) fn write(key: &str, value: &[u8]) -> Result<(), StateError> {
        current("the state", |host| host.state.insert(key.to_owned(), value.to_vec()));
        Ok(())
    }

    pub(crate) fn delete(key: &str) -> Result<(), StateError> {
        current("the state", |host| host.state.remove(key));
        Ok(())
    }

    pub(crate) fn keys(prefix: &str, after: Option<&str>) -> Result<Vec<String>, StateError> {
        let fits = |key: &&String| key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after);
        Ok(current("the state", |host| host.state.keys().filter(fits).take(1000).cloned().collect()))
    }

    pub(crate) fn compare_and_set(key: &str, expected: Option<&[u8]>, value: &[u8]) -> Result<(), StateError> {
        current("the state", |host| {
            if host.state.get(key).map(Vec::as_slice) != expected {
                return Err(StateError::Conflict);
            }
            host.state.insert(key.to_owned(), value.to_vec());
            Ok(())
        })
    }
}

pub(crate) mod workspace {
    pub(crate) use crate::bindings::sophon::skill::workspace::{Entry, WorkspaceError};
    use crate::testing::current;

    pub(crate) fn read(path: &str) -> Result<Vec<u8>, WorkspaceError> {
        let found = current("the workspace", |host| host.files.get(path).cloned());
        found.ok_or_else(|| WorkspaceError::NotFound(path.to_owned()))
    }

    pub(crate) fn write(path: &str, content: &[u8]) -> Result<(), WorkspaceError> {
        current("the workspace", |host| host.files.insert(path.to_owned(), content.to_vec()));
        Ok(())
    }

    pub(crate) fn append(path: &str, content: &[u8]) -> Result<(), WorkspaceError> {
        current("the workspace", |host| host.files.entry(path.to_owned()).or_default().extend_from_slice(content));
        Ok(())
    }

    pub(crate) fn list(path: &str) -> Result<Vec<Entry>, WorkspaceError> {
        let folder = folder(path);
        let mut entries: Vec<Entry> = Vec::new();
        current("the workspace", |host| {
            for (file, content) in &host.files {
                let Some(below) = file.strip_prefix(&folder) else { continue };
                let entry = match below.split_once('/') {
                    Some((name, _)) => Entry { name: name.to_owned(), directory: true, size: 0 },
                    None => Entry { name: below.to_owned(), directory: false, size: content.len() as u64 },
                };
                if entries.iter().all(|e| e.name != entry.name) {
                    entries.push(entry);
                }
            }
        });
        Ok(entries)
    }

    pub(crate) fn remove(path: &str) -> Result<(), WorkspaceError> {
        let folder = folder(path);
        let removed = current("the workspace", |host| {
            let before = host.files.len();
            host.files.retain(|file, _| file != path && !file.starts_with(&folder));
            before - host.files.len()
        });
        if removed == 0 { Err(WorkspaceError::NotFound(path.to_owned())) } else { Ok(()) }
    }

    fn folder(path: &str) -> String {
        let path = path.trim_end_matches('/');
        if path.is_empty() { String::new() } else { format!("{path}/") }
    }
}
