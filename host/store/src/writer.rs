//! The one task that writes, with group commit.
//!
//! It takes what is queued, runs it in one transaction in the order of submission, commits once, and only then
//! answers. An operation whose statement violates a constraint fails alone. Whatever breaks the transaction
//! (a full disk, a failed commit, a panic) fails everything in it, and the connection is opened anew.

use crate::StoreError;
use crate::checkpoints::Checkpoints;
use crate::engine::{self, Connection, Options, Row, Script, classify};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use sqlx::{ConnectOptions as _, Connection as _};
use std::ops::ControlFlow;
use std::panic::AssertUnwindSafe;
use tokio::sync::{mpsc, oneshot};

/// Operations that may wait; a further one waits to be queued. Bounds memory, not throughput.
const QUEUE: usize = 1024;
/// Operations in one transaction. Bounds how long the first of them waits for the last.
const BATCH: usize = 256;

/// How an operation becomes atomic within the shared transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// It is one statement, which the engine undoes by itself when a constraint fails, and whose answer needs no
    /// reading that could fail otherwise: any other error fails everything in the transaction.
    Statement,
    /// It is several statements: a savepoint undoes them.
    Several,
}

/// The queue to the writer task.
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    queue: mpsc::Sender<Message>,
}

impl Writer {
    /// Opens the writing connection, migrates, and starts the task.
    pub(crate) async fn open(options: Options) -> Result<Self, StoreError> {
        let mut connection = options.connect().await.map_err(|error| classify(&error))?;
        engine::migrate(&mut connection).await?;
        let (queue, messages) = mpsc::channel(QUEUE);
        let checkpoints = Checkpoints::new(options.clone());
        tokio::spawn(Task { options, connection: Some(connection), checkpoints }.run(messages));
        Ok(Self { queue })
    }

    /// Runs `work` and returns when its effect is durable.
    ///
    /// From the moment it is queued it will run, even if the caller stops waiting.
    pub(crate) async fn run<T, W>(&self, scope: Scope, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let operation = Pending { scope, work: Some(work), outcome: None, reply };
        self.queue.send(Message::Run(Box::new(operation))).await.map_err(|_closed| closed())?;
        answer.await.map_err(|_dropped| closed())?
    }

    /// Runs a script whole or not at all, and returns its rows when its effect is durable.
    ///
    /// From the moment it is queued it will run, even if the caller stops waiting.
    pub(crate) async fn script(&self, script: Script) -> Result<Vec<Row>, Failed> {
        let (reply, answer) = oneshot::channel();
        let operation = Scripted { script: Some(script), outcome: None, reply };
        self.queue.send(Message::Run(Box::new(operation))).await.map_err(|_closed| Failed::Store(closed()))?;
        answer.await.map_err(|_dropped| Failed::Store(closed()))?
    }

    /// Caps the size of the database for what is queued from now on.
    pub(crate) async fn limit(&self, bytes: u64) -> Result<(), StoreError> {
        let (reply, done) = oneshot::channel();
        self.queue.send(Message::Limit { bytes, reply }).await.map_err(|_closed| closed())?;
        done.await.map_err(|_dropped| closed())
    }

    /// Waits for what is queued, then ends the task.
    pub(crate) async fn close(&self) {
        let (reply, done) = oneshot::channel();
        if self.queue.send(Message::Close(reply)).await.is_ok() && done.await.is_err() {
            tracing::warn!("the store's writer ended before it was asked to");
        }
    }
}

fn closed() -> StoreError {
    StoreError::Unavailable { detail: "the store is closed".into() }
}

enum Message {
    Run(Box<dyn Operation>),
    Limit { bytes: u64, reply: oneshot::Sender<()> },
    Close(oneshot::Sender<()>),
}

/// A queued operation, whatever it returns.
trait Operation: Send {
    fn scope(&self) -> Scope;
    /// Runs the work and keeps its outcome.
    fn run<'a>(&'a mut self, connection: &'a mut Connection) -> BoxFuture<'a, Result<(), StoreError>>;
    /// Runs the work in a transaction of its own, keeps its outcome, and commits. What undoes that transaction undoes this
    /// operation and nobody else's, so an error of the work itself is none of this. Where there is nothing to undo then
    /// (the engine has done it after a failed write), the connection is not trusted any more.
    fn run_alone<'a>(&'a mut self, connection: &'a mut Connection) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            statement(connection, engine::BEGIN).await?;
            match self.run(connection).await {
                Ok(()) => statement(connection, "COMMIT").await,
                Err(error) => statement(connection, "ROLLBACK").await.map_err(|_no_transaction| error),
            }
        })
    }
    /// Answers the caller: with the outcome where the commit held, else with the commit's error.
    fn answer(self: Box<Self>, commit: Result<(), StoreError>);
}

struct Pending<T, W> {
    scope: Scope,
    work: Option<W>,
    outcome: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, W> Operation for Pending<T, W>
where
    T: Send + 'static,
    W: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
{
    fn scope(&self) -> Scope {
        self.scope
    }

    fn run<'a>(&'a mut self, connection: &'a mut Connection) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let Some(work) = self.work.take() else { return Ok(()) };
            let outcome = work(connection).await;
            let verdict = outcome.as_ref().map(|_value| ()).map_err(StoreError::clone);
            self.outcome = Some(outcome);
            verdict
        })
    }

    fn answer(self: Box<Self>, commit: Result<(), StoreError>) {
        let answer = match (commit, self.outcome) {
            // Its own error is the better answer, whatever became of the others.
            (_, Some(Err(error))) | (Err(error), _) => Err(error),
            (Ok(()), Some(outcome)) => outcome,
            (Ok(()), None) => Err(never_ran()),
        };
        // A caller that stopped waiting is no failure: the work is done all the same.
        drop(self.reply.send(answer));
    }
}

/// Why a script had no effect.
#[derive(Debug)]
pub(crate) enum Failed {
    /// One of its conditions does not hold.
    Unmet,
    /// Anything else.
    Store(StoreError),
}

impl Failed {
    fn of(error: &sqlx::Error) -> Self {
        if engine::is_unmet(error) { Self::Unmet } else { Self::Store(classify(error)) }
    }

    fn verdict(&self) -> StoreError {
        match self {
            Self::Unmet => StoreError::Conflict { what: "a condition does not hold".into() },
            Self::Store(error) => error.clone(),
        }
    }
}

/// A script in the queue. Alone in its transaction it takes one trip with it.
struct Scripted {
    script: Option<Script>,
    outcome: Option<Result<Vec<Row>, Failed>>,
    reply: oneshot::Sender<Result<Vec<Row>, Failed>>,
}

impl Scripted {
    fn keep(&mut self, ran: Result<Vec<Row>, sqlx::Error>) -> Result<(), StoreError> {
        let outcome = ran.map_err(|error| Failed::of(&error));
        let verdict = outcome.as_ref().map(|_rows| ()).map_err(Failed::verdict);
        self.outcome = Some(outcome);
        verdict
    }
}

impl Operation for Scripted {
    fn scope(&self) -> Scope {
        Scope::Several
    }

    fn run<'a>(&'a mut self, connection: &'a mut Connection) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let Some(script) = self.script.take() else { return Ok(()) };
            let ran = script.run(connection).await;
            self.keep(ran)
        })
    }

    fn run_alone<'a>(&'a mut self, connection: &'a mut Connection) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let Some(script) = self.script.take() else { return Ok(()) };
            let ran = script.run_alone(connection).await;
            match self.keep(ran) {
                Ok(()) => Ok(()),
                Err(error) => statement(connection, "ROLLBACK").await.map_err(|_no_transaction| error),
            }
        })
    }

    fn answer(self: Box<Self>, commit: Result<(), StoreError>) {
        let answer = match (commit, self.outcome) {
            (_, Some(Err(failed))) => Err(failed),
            (Err(error), _) => Err(Failed::Store(error)),
            (Ok(()), Some(outcome)) => outcome,
            (Ok(()), None) => Err(Failed::Store(never_ran())),
        };
        // A caller that stopped waiting is no failure: the work is done all the same.
        drop(self.reply.send(answer));
    }
}

fn never_ran() -> StoreError {
    StoreError::Internal { detail: "an operation was committed without running".into() }
}

struct Task {
    options: Options,
    connection: Option<Connection>,
    checkpoints: Checkpoints,
}

impl Task {
    async fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        let mut received = Vec::with_capacity(BATCH);
        let mut closing = Vec::new();
        while messages.recv_many(&mut received, BATCH).await > 0 {
            let mut batch = Vec::with_capacity(received.len());
            for message in received.drain(..) {
                match message {
                    Message::Run(operation) => batch.push(operation),
                    Message::Limit { bytes, reply } => {
                        self.commit_and_answer(std::mem::take(&mut batch)).await;
                        // A limit is a property of the connection: the next one is opened with it.
                        self.options = engine::limited(self.options.clone(), bytes);
                        self.discard().await;
                        if reply.send(()).is_err() {
                            tracing::debug!("nobody waited for the size limit");
                        }
                    }
                    Message::Close(reply) => {
                        // What was accepted until now is still received and run.
                        messages.close();
                        closing.push(reply);
                    }
                }
            }
            self.commit_and_answer(batch).await;
        }
        self.checkpoints.close().await;
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "closing the database");
        }
        for reply in closing {
            if reply.send(()).is_err() {
                tracing::debug!("nobody waited for the store to close");
            }
        }
    }

    async fn commit_and_answer(&mut self, mut batch: Vec<Box<dyn Operation>>) {
        if batch.is_empty() {
            return;
        }
        let verdict = match AssertUnwindSafe(self.commit(&mut batch)).catch_unwind().await {
            Ok(verdict) => verdict,
            Err(_panic) => {
                // Which operation panicked does not matter: none of them has happened.
                Err(StoreError::Internal { detail: "an operation panicked".into() })
            }
        };
        if let Err(error) = &verdict {
            tracing::error!(%error, operations = batch.len(), "a group commit failed");
            self.discard().await;
        }
        for operation in batch {
            operation.answer(verdict.clone());
        }
        if let Some(connection) = &mut self.connection {
            self.checkpoints.see_to(connection).await;
        }
    }

    async fn commit(&mut self, batch: &mut [Box<dyn Operation>]) -> Result<(), StoreError> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(self.options.connect().await.map_err(|error| classify(&error))?),
        };
        if let [alone] = batch {
            return alone.run_alone(connection).await;
        }
        statement(connection, engine::BEGIN).await?;
        for operation in batch {
            if let ControlFlow::Break(error) = step(connection, operation.as_mut()).await {
                return Err(error);
            }
        }
        statement(connection, "COMMIT").await
    }

    /// Throws the connection away. Closing it rolls back what was open; and after a failed write no page that the
    /// connection may still hold in memory is trusted.
    async fn discard(&mut self) {
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.close_hard().await
        {
            tracing::warn!(%error, "closing the writing connection");
        }
    }
}

/// Runs one operation within the transaction; breaks where the transaction cannot go on.
async fn step(connection: &mut Connection, operation: &mut dyn Operation) -> ControlFlow<StoreError> {
    match operation.scope() {
        Scope::Statement => match operation.run(connection).await {
            // A violated constraint undoes its own statement and nothing else.
            Ok(()) | Err(StoreError::Conflict { .. }) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        },
        Scope::Several => {
            if let Err(error) = statement(connection, "SAVEPOINT operation").await {
                return ControlFlow::Break(error);
            }
            let outcome = operation.run(connection).await;
            let end = match outcome {
                Ok(()) => statement(connection, "RELEASE operation").await,
                // Rolling back to the savepoint fails where the engine has already undone the whole transaction,
                // which it does on some write errors; then nothing in it may be reported as done.
                Err(error) => match statement(connection, "ROLLBACK TO operation").await {
                    Ok(()) => statement(connection, "RELEASE operation").await,
                    Err(_no_transaction) => Err(error),
                },
            };
            end.map_or_else(ControlFlow::Break, ControlFlow::Continue)
        }
    }
}

async fn statement(connection: &mut Connection, sql: &'static str) -> Result<(), StoreError> {
    sqlx::query(sql).execute(connection).await.map(|_done| ()).map_err(|error| classify(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::future::join_all;

    async fn count(writer: &Writer) -> i64 {
        let run = writer.run(Scope::Statement, |connection| {
            Box::pin(async move {
                sqlx::query_scalar("SELECT COUNT(*) FROM vault_meta")
                    .fetch_one(connection)
                    .await
                    .map_err(|error| classify(&error))
            })
        });
        run.await.unwrap()
    }

    async fn insert(writer: &Writer, scope: Scope, name: String) -> Result<(), StoreError> {
        let run = writer.run(scope, move |connection| {
            Box::pin(async move {
                sqlx::query("INSERT INTO vault_meta (name, value) VALUES ($1, $2)")
                    .bind(name.as_str())
                    .bind(vec![0_u8; 64])
                    .execute(&mut *connection)
                    .await
                    .map_err(|error| classify(&error))?;
                match name.as_str() {
                    "panics" => panic!("as asked"),
                    "gives up" => Err(StoreError::Quota { what: "as asked".into() }),
                    _ => Ok(()),
                }
            })
        });
        run.await
    }

    async fn open(folder: &tempfile::TempDir) -> Writer {
        Writer::open(engine::writing(&folder.path().join("db"))).await.unwrap()
    }

    #[tokio::test]
    async fn what_fails_fails_alone() {
        let folder = tempfile::tempdir().unwrap();
        let writer = open(&folder).await;
        let names = (0..100).map(|n| if n % 10 == 3 { "same".to_owned() } else { format!("n{n}") });
        let outcomes = join_all(names.enumerate().map(|(n, name)| {
            let scope = if n % 2 == 0 { Scope::Statement } else { Scope::Several };
            insert(&writer, scope, name)
        }))
        .await;
        let gives_up = insert(&writer, Scope::Several, "gives up".into()).await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 91);
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(()) | Err(StoreError::Conflict { .. }))));
        assert!(matches!(gives_up, Err(StoreError::Quota { .. })));
        assert_eq!(count(&writer).await, 91);
    }

    #[tokio::test]
    async fn a_panic_answers_everybody_and_the_writer_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let writer = open(&folder).await;
        let names = ["a", "panics", "b"].map(str::to_owned);
        let outcomes = join_all(names.map(|name| insert(&writer, Scope::Statement, name))).await;
        assert!(matches!(outcomes[1], Err(StoreError::Internal { .. })));
        let done = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert_eq!(count(&writer).await, i64::try_from(done).unwrap());
        insert(&writer, Scope::Statement, "c".into()).await.unwrap();
    }

    #[tokio::test]
    async fn what_was_queued_before_closing_is_durable_and_later_work_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let writer = open(&folder).await;
        let inserts = join_all((0..50).map(|n| insert(&writer, Scope::Statement, format!("n{n}"))));
        let (outcomes, ()) = tokio::join!(inserts, writer.close());
        assert!(outcomes.iter().all(Result::is_ok));
        assert!(matches!(insert(&writer, Scope::Statement, "late".into()).await, Err(StoreError::Unavailable { .. })));
        assert_eq!(count(&open(&folder).await).await, 50);
    }

    #[tokio::test]
    async fn work_goes_on_when_nobody_waits_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let writer = open(&folder).await;
        for n in 0..20 {
            // Polled once, so that it is queued, and then dropped.
            let mut work = Box::pin(insert(&writer, Scope::Statement, format!("n{n}")));
            assert!(futures::poll!(&mut work).is_pending());
        }
        assert_eq!(count(&writer).await, 20);
    }
}
