//! A stand-in for the host, for unit tests on the author's machine (`cargo test`). It is not in a built skill.
//!
//! ```
//! # use sophon_sdk::{Result, http, state};
//! use sophon_sdk::testing::Host;
//!
//! fn count_stars() -> Result<u64> {
//!     let stars: u64 = http::get("https://api.example.com/stars").credential("example").send()?.json()?;
//!     state::write("stars", &stars)?;
//!     Ok(stars)
//! }
//!
//! let host = Host::new().connected("example").answer("GET", "https://api.example.com/stars", 200, "5");
//! assert_eq!(host.run(count_stars), Ok(5));
//! assert_eq!(host.state("stars").as_deref(), Some(&b"5"[..]));
//! assert_eq!(host.sent()[0].credential.as_deref(), Some("example"));
//! ```
//!
//! It applies no policy: what a person has to grant, and every limit, is seen with `sophon test` and a real host.

pub(crate) mod imports;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

thread_local! {
    static CURRENT: RefCell<Option<Rc<RefCell<Inner>>>> = const { RefCell::new(None) };
}

/// A host in memory: what it knows is set first, then [`run`](Host::run) calls code that needs one.
#[derive(Clone, Debug, Default)]
pub struct Host(Rc<RefCell<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    settings: BTreeMap<String, String>,
    connected: Vec<String>,
    state: BTreeMap<String, Vec<u8>>,
    files: BTreeMap<String, Vec<u8>>,
    answers: VecDeque<Answer>,
    sent: Vec<Sent>,
    progress: Vec<(u8, String)>,
    log: Vec<String>,
}

#[derive(Debug)]
struct Answer {
    method: String,
    url: String,
    status: u16,
    body: Vec<u8>,
}

/// A request that the code sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sent {
    /// The method.
    pub method: String,
    /// The URL with its query.
    pub url: String,
    /// Names and values as the code gave them.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body, where there is one.
    pub body: Option<Vec<u8>>,
    /// The service whose credential the host attaches.
    pub credential: Option<String>,
}

impl Host {
    /// A host that knows nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a setting.
    #[must_use]
    pub fn setting(self, key: &str, value: &str) -> Self {
        self.0.borrow_mut().settings.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Connects a service.
    #[must_use]
    pub fn connected(self, service: &str) -> Self {
        self.0.borrow_mut().connected.push(service.to_owned());
        self
    }

    /// Puts bytes into the state.
    #[must_use]
    pub fn with_state(self, key: &str, value: impl Into<Vec<u8>>) -> Self {
        self.0.borrow_mut().state.insert(key.to_owned(), value.into());
        self
    }

    /// Answers the next request, which must have this method and URL. Requests are answered in the order of these calls.
    #[must_use]
    pub fn answer(self, method: &str, url: &str, status: u16, body: impl Into<Vec<u8>>) -> Self {
        let answer = Answer { method: method.to_owned(), url: url.to_owned(), status, body: body.into() };
        self.0.borrow_mut().answers.push_back(answer);
        self
    }

    /// Runs code that needs a host. What it leaves behind stays in this host, also for the next run.
    pub fn run<T>(&self, code: impl FnOnce() -> T) -> T {
        /// Also when the code panics, so that the thread's next test starts without a host.
        struct Leave(Option<Rc<RefCell<Inner>>>);
        impl Drop for Leave {
            fn drop(&mut self) {
                CURRENT.set(self.0.take());
            }
        }
        let _leave = Leave(CURRENT.replace(Some(Rc::clone(&self.0))));
        code()
    }

    /// The bytes of a key of the state.
    pub fn state(&self, key: &str) -> Option<Vec<u8>> {
        self.0.borrow().state.get(key).cloned()
    }

    /// The requests so far, in order.
    pub fn sent(&self) -> Vec<Sent> {
        self.0.borrow().sent.clone()
    }

    /// The reports of progress so far, in order: percent and message.
    pub fn progress(&self) -> Vec<(u8, String)> {
        self.0.borrow().progress.clone()
    }

    /// The lines of the log so far: `warn: message`.
    pub fn log(&self) -> Vec<String> {
        self.0.borrow().log.clone()
    }
}

/// The host of the present run.
#[track_caller]
fn current<T>(what: &str, with: impl FnOnce(&mut Inner) -> T) -> T {
    let host = CURRENT.with_borrow(Clone::clone);
    let Some(host) = host else {
        panic!(
            "{what} needs a host: call this inside `sophon_sdk::testing::Host::run`, or test the tool with `sophon test`"
        )
    };
    with(&mut host.borrow_mut())
}
