//! One call of a native skill: its files and its job go in, one JSON value comes out, the sandbox is thrown away.

use super::answer::{Ended, judge, out_of_memory, processes_exceeded, too_many};
use super::boxed::{Boxed, Recipe};
use super::link::{Broken, Link};
use super::mcp::{conversation, outcome};
use super::pool::NoBox;
use super::proxied::{Door, Proxied};
use super::tenancy::Who;
use super::{ContainerRuntime, NativeSkill, Open};
use crate::lines::Lines;
use crate::wasm::Invocation;
use crate::{Doors, Limits, LogLevel, RunFailure, RunReport, Usage};
use serde_json::{Map, Value, json};
use sophon_approval::ApprovedCall;
use sophon_audit::Receipt;
use sophon_egress::Deadline;
use sophon_guard::{RawOutput, Source};
use sophon_init::{Frame, Kind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// How long a sandbox has to say how many processes it has, once its time is up.
const CENSUS: Duration = Duration::from_secs(1);
/// Bytes of standard error that are kept for the last words.
const LAST_WORDS: usize = 8 << 10;

impl ContainerRuntime {
    /// Runs an approved call whose intent is durable in the audit log (`intent` is the evidence). `prepared` must be
    /// made of the package that the call was approved for; a call of any other is refused. `fields` are those of the
    /// skill's connection, beside the arguments; secret ones hold placeholders.
    ///
    /// Dropping the future ends the run at once and throws the sandbox away.
    pub async fn run(
        &self,
        prepared: &NativeSkill,
        call: ApprovedCall,
        _intent: &Receipt,
        doors: Doors,
        deadline: Arc<Deadline>,
        fields: Map<String, Value>,
    ) -> RunReport {
        let who = Who::calls(&call);
        let invocation = match Invocation::of(&call, (&prepared.name, prepared.digest()), deadline) {
            Ok(invocation) => invocation,
            Err(refused) => return RunReport::refused(refused),
        };
        self.invoke(prepared, &who, invocation, doors, fields).await
    }

    pub(super) async fn invoke(
        &self,
        prepared: &NativeSkill,
        who: &Who,
        invocation: Invocation<'_>,
        doors: Doors,
        fields: Map<String, Value>,
    ) -> RunReport {
        let started = Instant::now();
        let limits = &prepared.limits;
        let deadline = invocation.deadline.clone().unwrap_or_else(|| Deadline::at(started + limits.wall));
        let late = || RunReport::refused(RunFailure::DeadlineExceeded { wall: limits.wall });
        let taken = tokio::select! {
            taken = self.take(&prepared.recipe, who) => taken,
            () = deadline.reached() => return late(),
        };
        let (open, boxed) = match taken {
            Ok(taken) => taken,
            Err(failure) => return RunReport::refused(failure),
        };
        let lines = Lines::bounded(limits.log_bytes);
        let door = Arc::new(Door::new(doors.http, limits, lines.clone()));
        let mut talk = Talk {
            prepared,
            tool: invocation.tool,
            source: invocation.source,
            output: Vec::new(),
            errors: Errors { lines: lines.clone(), line: Vec::new(), last: Vec::new() },
            proxied: Proxied::new(
                Arc::clone(&boxed.authority),
                Arc::clone(&door),
                boxed.link.sender(),
                boxed.limits.network,
                limits,
            ),
        };
        let job = job(prepared, invocation.tool, invocation.arguments, fields);
        let output = match job {
            Ok(job) => talk.through(&open, boxed, job, &deadline).await,
            Err(failure) => Err(failure),
        };
        talk.errors.end();
        let usage =
            Usage { hostcalls: door.sent.load(Ordering::Relaxed), duration: started.elapsed(), ..Usage::default() };
        let (logs, logs_dropped) = lines.take();
        RunReport { output, usage, logs, logs_dropped, progress: None }
    }

    pub(super) async fn take(&self, recipe: &Recipe, who: &Who) -> Result<(Arc<Open>, Boxed), RunFailure> {
        let broken = |cause: super::Unavailable| RunFailure::NoSandbox { cause: cause.to_string() };
        let open = self.opened().await.map_err(broken)?;
        match open.pool.take(recipe, who).await {
            Ok(boxed) => Ok((open, boxed)),
            Err(NoBox::Full) => Err(RunFailure::NoCapacity),
            Err(NoBox::Unavailable(cause)) => Err(broken(cause)),
        }
    }
}

/// What the runner reads: where the code is, `params` as the public contract has them, and its standard input.
fn job(prepared: &NativeSkill, tool: &str, arguments: &str, fields: Map<String, Value>) -> Result<Vec<u8>, RunFailure> {
    let host = |error: serde_json::Error| RunFailure::Host { cause: format!("the arguments: {error}") };
    let mut params: Map<String, Value> = serde_json::from_str(arguments).map_err(host)?;
    // What a person connected is not for an agent to replace.
    params.extend(fields);
    let stdin = match &prepared.mcp {
        None => json!({"tool": tool, "parameters": &params}).to_string(),
        Some(_pinned) => conversation(tool, &serde_json::from_str(arguments).map_err(host)?),
    };
    params.insert("tool".into(), tool.into());
    let entrypoint = format!("/skill/{}", prepared.entrypoint);
    serde_json::to_vec(&json!({"entrypoint": entrypoint, "params": params, "stdin": stdin})).map_err(host)
}

/// The engine does not say what became of a sandbox: mostly it is gone itself.
pub(super) fn engine_gone(error: &bollard::errors::Error) -> RunFailure {
    RunFailure::NoSandbox { cause: format!("the engine does not say what became of the sandbox: {error}") }
}

/// The conversation with one sandbox, from its job to its end.
struct Talk<'a> {
    prepared: &'a NativeSkill,
    tool: &'a str,
    source: Source,
    output: Vec<u8>,
    errors: Errors,
    proxied: Proxied,
}

/// Why a conversation is over.
enum Over {
    Ended(Ended),
    Failed(RunFailure),
    Broken(Broken),
    Late,
}

impl Talk<'_> {
    async fn through(
        &mut self,
        open: &Open,
        mut boxed: Boxed,
        job: Vec<u8>,
        deadline: &Arc<Deadline>,
    ) -> Result<RawOutput, RunFailure> {
        let limits = &self.prepared.limits;
        let over = tokio::select! {
            over = self.converse(&mut boxed.link, job) => over,
            () = deadline.reached() => Over::Late,
        };
        match over {
            Over::Ended(ended) => {
                if let (Some(pinned), Ended::Code { code: 0, .. }) = (&self.prepared.mcp, ended) {
                    return outcome(&self.output, self.tool, pinned, self.source.clone());
                }
                let words = String::from_utf8_lossy(&self.errors.last);
                judge(ended, &self.output, &words, self.source.clone(), limits, &boxed.limits)
            }
            Over::Failed(failure) => Err(failure),
            Over::Late => Err(self.late(&mut boxed).await),
            Over::Broken(Broken::Garbage(what)) => Err(RunFailure::Channel { what }),
            // gVisor's kernel dies with what it runs: only the engine knows of what.
            Over::Broken(Broken::Gone) => match open.engine.standing(&boxed.life.name).await {
                Ok(standing) if standing.out_of_memory => Err(out_of_memory(&boxed.limits)),
                Ok(standing) => {
                    Err(RunFailure::Channel { what: format!("it ended by itself, with status {}", standing.exit_code) })
                }
                Err(error) => Err(engine_gone(&error)),
            },
        }
    }

    /// Time is up; a sandbox that is full of processes is so for that.
    async fn late(&mut self, boxed: &mut Boxed) -> RunFailure {
        let census = async {
            boxed.link.say(Kind::Census, 0, &[]).await.ok()?;
            loop {
                let frame = boxed.link.next().await.ok()?;
                if frame.kind == Kind::Processes {
                    return frame.payload.first_chunk().map(|count| u32::from_be_bytes(*count));
                }
            }
        };
        match timeout(CENSUS, census).await {
            Ok(Some(count)) if too_many(count, &boxed.limits) => processes_exceeded(&boxed.limits),
            _ => RunFailure::DeadlineExceeded { wall: self.prepared.limits.wall },
        }
    }

    async fn converse(&mut self, link: &mut Link, job: Vec<u8>) -> Over {
        if let Err(broken) = self.instruct(link, &job).await {
            return Over::Broken(broken);
        }
        loop {
            let heard = match link.next().await {
                Ok(frame) => self.heed(frame),
                Err(broken) => Err(Over::Broken(broken)),
            };
            if let Err(over) = heard {
                return over;
            }
        }
    }

    async fn instruct(&self, link: &mut Link, job: &[u8]) -> Result<(), Broken> {
        for (name, content) in &self.prepared.files {
            let mut file = format!("/skill/{name}\0").into_bytes();
            file.extend_from_slice(content);
            link.say(Kind::File, 0, &file).await?;
        }
        link.say(Kind::Input, 0, job).await?;
        link.say(Kind::InputEnd, 0, &[]).await
    }

    fn heed(&mut self, frame: Frame) -> Result<(), Over> {
        let limits: &Limits = &self.prepared.limits;
        match frame.kind {
            Kind::Output => {
                self.output.extend_from_slice(&frame.payload);
                if self.output.len() > limits.result_bytes {
                    let what = format!("{} bytes of standard output", limits.result_bytes);
                    return Err(Over::Failed(RunFailure::LimitExceeded { what }));
                }
            }
            Kind::Errors => self.errors.hear(&frame.payload),
            Kind::Ended => {
                let garbage = || Over::Broken(Broken::Garbage("an end that is none".into()));
                return Err(Ended::read(&frame.payload).map_or_else(garbage, Over::Ended));
            }
            Kind::Failed => {
                let what = String::from_utf8_lossy(&frame.payload).chars().take(300).collect();
                return Err(Over::Failed(RunFailure::Channel { what }));
            }
            Kind::Open => self.proxied.open(frame.stream).map_err(Over::Broken)?,
            Kind::Data => self.proxied.data(frame.stream, frame.payload).map_err(Over::Broken)?,
            Kind::Close => self.proxied.close(frame.stream),
            other => {
                let what = format!("{other:?}, which is not its turn to say");
                return Err(Over::Broken(Broken::Garbage(what)));
            }
        }
        Ok(())
    }
}

/// Standard error: each line is one for the operator's log, and the last ones say why a skill ended.
struct Errors {
    lines: Lines,
    line: Vec<u8>,
    last: Vec<u8>,
}

impl Errors {
    fn hear(&mut self, bytes: &[u8]) {
        self.last.extend_from_slice(bytes);
        if self.last.len() > LAST_WORDS {
            let cut = self.last.len() - LAST_WORDS;
            self.last.drain(..cut);
        }
        for byte in bytes {
            // What is longer than a line that is kept needs no more room than that.
            if *byte == b'\n' {
                self.end();
            } else if self.line.len() < LAST_WORDS {
                self.line.push(*byte);
            }
        }
    }

    fn end(&mut self) {
        if !self.line.is_empty() {
            let line = std::mem::take(&mut self.line);
            self.lines.push(LogLevel::Warn, &String::from_utf8_lossy(&line));
        }
    }
}
