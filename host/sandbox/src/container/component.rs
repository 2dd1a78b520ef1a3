//! A component that is not trusted yet: the same executor, inside a sandbox.
//!
//! The host's own program is shown inside, read-only, and runs one call of one component. What it asks for is done out
//! here, through the call's doors and within the call's limits, which are counted out here once more: whoever broke out
//! of the executor has got no further than a native skill.

use super::answer::out_of_memory;
use super::boxed::{Boxed, Recipe};
use super::engine::Shown;
use super::link::{Broken, Sender};
use super::presets::{BoxLimits, Network};
use super::proxied::room;
use super::tenancy::Who;
use super::{ContainerRuntime, ImageKind, Open, Unavailable};
use crate::inside::{Answer, Ask, Begin, Done, FromInside, Head, Messages, Reply, Service, StateAsk, encode};
use crate::wasm::{Invocation, output};
use crate::{Access, Doors, Limits, RunFailure, RunReport, SandboxError, Usage};
use bytes::Bytes;
use sophon_approval::ApprovedCall;
use sophon_audit::Receipt;
use sophon_egress::proxy::{Held, Room};
use sophon_egress::{Deadline, HttpError, HttpRequest, Redirects, TokenRefused};
use sophon_guard::Source;
use sophon_init::{Frame, Kind};
use sophon_skill::{Manifest, VerifiedPackage};
use sophon_store::Quota;
use sophon_types::{Digest, SkillName};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Where the host's program is, inside.
const PROGRAM: &str = "/sophon/host";
/// Memory of a sandbox beside the component's own: gVisor, the executor, the compiler, the code.
const BESIDE: u64 = 320 << 20;
/// Asks that are being done at one time: HTTP has a bound of its own below it.
const AT_ONCE: usize = 16;
/// Bytes of a frame to a sandbox: many may wait for one that does not read.
const CHUNK: usize = 64 << 10;
/// Keys that one listing gives.
const KEYS: u32 = 1_000;
/// Bytes of a key.
const KEY: usize = 256;

/// The program that is the executor inside, and the word that makes it so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InsideProgram {
    /// The program, on this host. Its libraries are those of the `base` image.
    pub program: PathBuf,
    /// Its only argument; it then calls [`component_worker`](crate::component_worker) and nothing else.
    pub word: String,
}

/// A component that can be run in a sandbox.
#[derive(Debug)]
pub struct BoxedComponent {
    name: SkillName,
    digest: Digest,
    limits: Limits,
    recipe: Recipe,
    manifest: String,
    component: Bytes,
}

impl BoxedComponent {
    /// The limits of each call.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The package that it was made of; only approved calls of that very package run in it.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }
}

impl ContainerRuntime {
    /// Makes a verified component ready to be run in a sandbox.
    ///
    /// # Errors
    /// [`SandboxError`] where gVisor does not answer, or this host has no program for the inside.
    pub async fn prepare_component(&self, package: &VerifiedPackage) -> Result<Arc<BoxedComponent>, SandboxError> {
        self.prepared_component(package.manifest(), *package.digest(), package.component()).await
    }

    pub(super) async fn prepared_component(
        &self,
        manifest: &Manifest,
        digest: Digest,
        component: Bytes,
    ) -> Result<Arc<BoxedComponent>, SandboxError> {
        let unavailable = |cause| SandboxError::Containers { skill: manifest.name.clone(), cause };
        let inside =
            self.inner.inside.as_ref().ok_or_else(|| {
                unavailable(Unavailable::broken("this program cannot be the executor inside a sandbox"))
            })?;
        let open = self.opened().await.map_err(unavailable)?;
        let image = open.image(&self.inner.config, ImageKind::Base).await.map_err(unavailable)?.id;
        let limits = Limits::for_skill(manifest, &self.inner.ceiling);
        let recipe = Recipe {
            kind: ImageKind::Base,
            image,
            command: vec![PROGRAM.to_owned(), inside.word.clone()],
            variables: ImageKind::Base.variables(),
            shown: vec![Shown { file: inside.program.display().to_string(), at: PROGRAM }],
            limits: box_limits(manifest, &limits),
        };
        open.pool.expect(&recipe);
        let manifest_text = manifest.document().as_str().to_owned();
        Ok(Arc::new(BoxedComponent {
            name: manifest.name.clone(),
            digest,
            limits,
            recipe,
            manifest: manifest_text,
            component,
        }))
    }

    /// Runs an approved call whose intent is durable in the audit log, as [`WasmRuntime::run`](crate::WasmRuntime::run)
    /// does, and gives the same result.
    ///
    /// Dropping the future ends the run at once and throws the sandbox away.
    pub async fn run_component(
        &self,
        prepared: &BoxedComponent,
        call: ApprovedCall,
        _intent: &Receipt,
        doors: Doors,
        deadline: Arc<Deadline>,
    ) -> RunReport {
        let who = Who::calls(&call);
        let invocation = match Invocation::of(&call, (&prepared.name, prepared.digest()), deadline) {
            Ok(invocation) => invocation,
            Err(refused) => return RunReport::refused(refused),
        };
        self.invoke_component(prepared, &who, invocation, doors).await
    }

    pub(super) async fn invoke_component(
        &self,
        prepared: &BoxedComponent,
        who: &Who,
        invocation: Invocation<'_>,
        doors: Doors,
    ) -> RunReport {
        let started = Instant::now();
        let limits = &prepared.limits;
        let deadline = invocation.deadline.clone().unwrap_or_else(|| Deadline::at(started + limits.wall));
        let late = || RunReport::refused(RunFailure::DeadlineExceeded { wall: limits.wall });
        let taken = tokio::select! {
            taken = self.take(&prepared.recipe, who) => taken,
            () = deadline.reached() => return late(),
        };
        let (open, mut boxed) = match taken {
            Ok(taken) => taken,
            Err(failure) => return RunReport::refused(failure),
        };
        let done = tokio::select! {
            done = talk(&open, &mut boxed, prepared, &invocation, doors, &deadline) => done,
            () = deadline.reached() => return late(),
        };
        match done {
            Ok(done) => report(done, invocation.source, limits, started),
            Err(failure) => RunReport::refused(failure),
        }
    }
}

fn box_limits(manifest: &Manifest, limits: &Limits) -> BoxLimits {
    let preset = manifest.sandbox.preset.unwrap_or(sophon_skill::Preset::Standard);
    BoxLimits {
        memory: BESIDE + limits.memory as u64,
        // The executor's own threads. Code of the skill has no way to make one.
        processes: 64,
        workspace: limits.workspace_bytes + (1 << 20),
        // Compiled code is a file in memory.
        file_size: 512 << 20,
        network: Network::None,
        ..BoxLimits::of(preset)
    }
}

/// What came from inside, believed only as far as a component may go.
fn report(done: Done, source: Source, limits: &Limits, started: Instant) -> RunReport {
    let output = done.output.and_then(|text| output(&text, source, limits));
    let lines = crate::lines::Lines::bounded(limits.log_bytes);
    done.logs.iter().for_each(|line| lines.push(line.level, &line.message));
    let (logs, dropped) = lines.take();
    RunReport {
        output,
        usage: Usage { duration: started.elapsed(), ..done.usage },
        logs,
        logs_dropped: done.logs_dropped.saturating_add(dropped),
        progress: done.progress,
    }
}

async fn talk(
    open: &Open,
    boxed: &mut Boxed,
    prepared: &BoxedComponent,
    invocation: &Invocation<'_>,
    doors: Doors,
    deadline: &Deadline,
) -> Result<Done, RunFailure> {
    let begin = begin(prepared, invocation, &doors, deadline)
        .map_err(|error| RunFailure::Host { cause: format!("the call: {error}") })?;
    let sender = boxed.link.sender();
    let asked = Arc::new(Asked::new(doors, prepared.limits.clone(), sender.clone()));
    let spoken = async {
        send(&sender, &begin).await?;
        converse(boxed, &asked).await
    };
    match spoken.await {
        Ok(done) => Ok(done),
        Err(Broken::Garbage(what)) => Err(RunFailure::Channel { what }),
        Err(Broken::Gone) => match open.engine.standing(&boxed.life.name).await {
            Ok(standing) if standing.out_of_memory => Err(out_of_memory(&boxed.limits)),
            Ok(standing) => {
                Err(RunFailure::Channel { what: format!("it ended by itself, with status {}", standing.exit_code) })
            }
            Err(error) => Err(super::run::engine_gone(&error)),
        },
    }
}

fn begin(
    prepared: &BoxedComponent,
    invocation: &Invocation<'_>,
    doors: &Doors,
    deadline: &Deadline,
) -> serde_json::Result<Vec<u8>> {
    let left = deadline.instant().saturating_duration_since(Instant::now());
    let services = doors.connections.iter().map(|connection| Service {
        service: connection.service.clone(),
        connected: connection.connected,
        scoped_token: connection.access == Access::ScopedToken,
    });
    let begin = Begin {
        manifest: prepared.manifest.clone(),
        limits: prepared.limits.clone(),
        tool: invocation.tool.to_owned(),
        arguments: invocation.arguments.to_owned(),
        call_id: invocation.call_id.clone(),
        correlation_id: invocation.correlation_id.clone(),
        session: invocation.session.clone(),
        left_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
        connections: services.collect(),
        tokens: doors.tokens.is_some(),
        http: doors.http.is_some(),
        settings: (*doors.settings).clone(),
    };
    encode(&begin, &prepared.component)
}

async fn send(sender: &Sender, message: &[u8]) -> Result<(), Broken> {
    for chunk in message.chunks(CHUNK) {
        sender.say(Kind::Input, 0, chunk).await?;
    }
    Ok(())
}

async fn converse(boxed: &mut Boxed, asked: &Arc<Asked>) -> Result<Done, Broken> {
    let mut messages = Messages::with(asked.limits.http_bytes);
    let mut doing = JoinSet::new();
    let mut reports = 0_u32;
    loop {
        while let Some((message, beside)) = messages.take::<FromInside>().map_err(Broken::Garbage)? {
            match message {
                FromInside::Done(done) => return Ok(*done),
                FromInside::Progress(progress) => {
                    reports += 1;
                    if let Some(told) =
                        asked.doors.progress.as_ref().filter(|_| reports <= asked.limits.progress_reports)
                    {
                        told(&progress);
                    }
                }
                FromInside::Ask { number, ask } => {
                    while doing.try_join_next().is_some() {}
                    if doing.len() >= AT_ONCE {
                        return Err(Broken::Garbage("more asked for at one time than can be".into()));
                    }
                    // Nothing more is read before there is room for what was.
                    let held = asked.room.hold(messages.took()).await;
                    let asked = Arc::clone(asked);
                    doing.spawn(async move {
                        match held {
                            Some(held) => asked.answer(number, ask, beside, held).await,
                            None => asked.reply(number, asked.no_room(&ask), &Bytes::new()).await,
                        }
                    });
                }
            }
        }
        let Frame { kind, payload, .. } = boxed.link.next().await?;
        match kind {
            Kind::Output => messages.push(&payload),
            Kind::Errors => boxed.link.complaint("the executor inside", &payload)?,
            Kind::Ended | Kind::Failed => {
                return Err(Broken::Garbage("the executor inside ended before its call".into()));
            }
            other => return Err(Broken::Garbage(format!("{other:?}, which is not its turn to say"))),
        }
    }
}

/// The call's doors, and what may still go through them.
struct Asked {
    doors: Doors,
    limits: Limits,
    sender: Sender,
    requests_left: AtomicU32,
    room: Room,
    /// Messages go one after the other, whole.
    sending: tokio::sync::Mutex<()>,
}

impl Asked {
    fn new(doors: Doors, limits: Limits, sender: Sender) -> Self {
        Self {
            requests_left: AtomicU32::new(limits.http_requests),
            room: room(&limits),
            sending: tokio::sync::Mutex::new(()),
            doors,
            limits,
            sender,
        }
    }

    /// `held` is for what was asked with, and then for what comes back, until it is sent.
    async fn answer(&self, number: u64, ask: Ask, beside: Vec<u8>, mut held: Held) {
        let (answer, body) = match ask {
            Ask::Http { method, url, headers, has_body, credential, follow, timeout_ms } => {
                let request = HttpRequest {
                    method,
                    url,
                    headers,
                    body: has_body.then(|| Bytes::from(beside)),
                    credential,
                    redirects: if follow { Redirects::Follow } else { Redirects::Manual },
                    timeout: timeout_ms.map(Duration::from_millis),
                };
                match self.http(request, held).await {
                    Ok((head, body, of_answer)) => {
                        held = of_answer;
                        (Answer::Http(Ok(head)), body)
                    }
                    Err(error) => {
                        held = Held::default();
                        (Answer::Http(Err(error)), Bytes::new())
                    }
                }
            }
            Ask::Token(service) => (Answer::Token(self.token(&service).await), Bytes::new()),
            Ask::State(ask) => (self.state(ask).await, Bytes::new()),
        };
        self.reply(number, answer, &body).await;
        drop(held);
    }

    async fn reply(&self, number: u64, answer: Answer, body: &Bytes) {
        let Ok(message) = encode(&Reply { number, answer }, body) else {
            return tracing::error!("an answer to the executor inside cannot be written");
        };
        let _one = self.sending.lock().await;
        if let Err(gone) = send(&self.sender, &message).await {
            tracing::debug!(?gone, "the executor inside has ended before its answer");
        }
    }

    /// What is answered to what is asked for beside too much else.
    fn no_room(&self, ask: &Ask) -> Answer {
        let state = || crate::StateError::Unavailable("the call holds too many bytes at one time".into());
        match ask {
            Ask::Http { .. } => Answer::Http(Err(HttpError::TooLarge(self.limits.http_bytes as u64))),
            Ask::Token(service) => Answer::Token(Err(TokenRefused::NotAvailable(service.clone()))),
            Ask::State(StateAsk::Read { .. }) => Answer::Value(Err(state())),
            Ask::State(StateAsk::Keys { .. }) => Answer::Keys(Err(state())),
            Ask::State(_) => Answer::Done(Err(state())),
        }
    }

    async fn http(&self, request: HttpRequest, held: Held) -> Result<(Head, Bytes, Held), HttpError> {
        let refused = || HttpError::InvalidRequest(format!("more than {} requests", self.limits.http_requests));
        let door = self.doors.http.as_ref().ok_or_else(refused)?;
        let left = self.requests_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        left.map_err(|_none| refused())?;
        let _line = self.room.line().await.ok_or(HttpError::Timeout)?;
        let answer = door.send(request).await?;
        // Given back before more is asked for, so that no two wait for each other.
        drop(held);
        let too_large = || HttpError::TooLarge(self.limits.http_bytes as u64);
        let held = self.room.hold(answer.body.len()).await.ok_or_else(too_large)?;
        Ok((Head { status: answer.status, url: answer.url, headers: answer.headers }, answer.body, held))
    }

    async fn token(&self, service: &str) -> Result<String, TokenRefused> {
        match &self.doors.tokens {
            Some(tokens) => tokens.scoped_token(service).await,
            None => Err(TokenRefused::NotAvailable(format!("{service}: this call has no tokens"))),
        }
    }

    async fn state(&self, ask: StateAsk) -> Answer {
        let quota = Quota { bytes: self.limits.state_total_bytes, entries: self.limits.state_keys };
        let state = &self.doors.state;
        let fits = |key: &str, value: usize| {
            let fits = (1..=KEY).contains(&key.len()) && value <= self.limits.state_value_bytes;
            if fits { Ok(()) } else { Err(crate::StateError::Unavailable("a key or a value that cannot be".into())) }
        };
        match ask {
            StateAsk::Read { key } => Answer::Value(match fits(&key, 0) {
                Ok(()) => state.read(&key).await,
                Err(error) => Err(error),
            }),
            StateAsk::Write { key, value } => Answer::Done(match fits(&key, value.len()) {
                Ok(()) => state.write(&key, value, quota).await,
                Err(error) => Err(error),
            }),
            StateAsk::Delete { key } => Answer::Done(match fits(&key, 0) {
                Ok(()) => state.delete(&key).await,
                Err(error) => Err(error),
            }),
            StateAsk::Keys { prefix, after, limit } => {
                Answer::Keys(state.keys(&prefix, after.as_deref(), limit.min(KEYS)).await)
            }
            StateAsk::Swap { key, expected, value } => Answer::Done(match fits(&key, value.len()) {
                Ok(()) => state.compare_and_set(&key, expected, value, quota).await,
                Err(error) => Err(error),
            }),
        }
    }
}
