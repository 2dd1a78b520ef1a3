//! Copies what the write-ahead log has gathered back into the database, beside the writer instead of in its place: SQLite's
//! own way does it at the end of a commit, for which everybody who waits for that commit waits too.
//!
//! A log begins anew only where all of it has been copied while nobody wrote, so the writer does the last bit itself.

use crate::StoreError;
use crate::engine::{self, Connection, Options, classify};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::task::JoinHandle;

/// Commits between two looks at how long the log is. Where these are so large that it becomes longer than a commit leaves it,
/// a commit copies it after all.
const LOOK: u32 = 32;
/// Pages of log before they are copied back (16 MiB): with SQLite's default of 4 MiB a busy audit log pays for a copy several
/// times a second.
const MANY: i64 = 4096;
/// Pages that are few enough for the writer to copy.
const FEW: i64 = 512;
/// How often the log is gone over before the writer does what is left, however much that is.
const ROUNDS: usize = 4;

/// Sees to the log after each commit.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    options: Options,
    commits: u32,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Nothing to do, with the connection that did the last.
    Idle(Option<Connection>),
    Busy(JoinHandle<(Option<Connection>, Found)>),
}

/// What a look at the log has come to.
#[derive(Debug)]
enum Found {
    /// It is short, or cannot be copied now.
    Nothing,
    /// What is left is the writer's.
    Rest,
}

impl Checkpoints {
    pub(crate) fn new(options: Options) -> Self {
        Self { options: options.create_if_missing(false), commits: 0, state: State::Idle(None) }
    }

    /// After a commit. `writer` has no transaction open.
    pub(crate) async fn see_to(&mut self, writer: &mut Connection) {
        match &mut self.state {
            State::Idle(connection) => {
                self.commits += 1;
                if self.commits >= LOOK {
                    self.commits = 0;
                    self.state = State::Busy(tokio::spawn(look(connection.take(), self.options.clone())));
                }
            }
            State::Busy(looking) if looking.is_finished() => {
                let (connection, found) = looking.await.unwrap_or((None, Found::Nothing));
                self.state = State::Idle(connection);
                if let Found::Rest = found {
                    match engine::checkpoint(writer).await {
                        Ok(backlog) => tracing::trace!(?backlog, "the write-ahead log was copied"),
                        Err(error) => defer(&classify(&error)),
                    }
                }
            }
            State::Busy(_looking) => {}
        }
    }

    /// Ends what runs, so that the writer's connection is the last of these two.
    pub(crate) async fn close(self) {
        let connection = match self.state {
            State::Idle(connection) => connection,
            State::Busy(looking) => looking.await.map_or(None, |(connection, _found)| connection),
        };
        if let Some(connection) = connection
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "closing the connection that copies the write-ahead log");
        }
    }
}

/// Copies what is there, again and again until little is left.
async fn look(connection: Option<Connection>, options: Options) -> (Option<Connection>, Found) {
    match copy(connection, options).await {
        Ok((connection, found)) => (Some(connection), found),
        Err(error) => {
            // A disk that is full or gone is the writer's to meet and to tell of; the log only becomes longer.
            defer(&classify(&error));
            (None, Found::Nothing)
        }
    }
}

async fn copy(connection: Option<Connection>, options: Options) -> Result<(Connection, Found), sqlx::Error> {
    let mut connection = match connection {
        Some(connection) => connection,
        None => options.connect().await?,
    };
    // The length, and not what is left to copy: a log that could not begin anew, because somebody read it, tries again.
    let Some(mut backlog) = engine::backlog(&mut connection).await?.filter(|backlog| backlog.length() >= MANY) else {
        return Ok((connection, Found::Nothing));
    };
    for _ in 0..ROUNDS {
        if backlog.left() <= FEW {
            break;
        }
        match engine::checkpoint(&mut connection).await? {
            Some(now) => backlog = now,
            None => return Ok((connection, Found::Nothing)),
        }
    }
    Ok((connection, Found::Rest))
}

fn defer(error: &StoreError) {
    tracing::warn!(%error, "the write-ahead log could not be copied into the database and goes on growing");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::writer::{Scope, Writer};

    async fn write(writer: &Writer, name: String) {
        let run = writer.run(Scope::Statement, move |connection| {
            Box::pin(async move {
                sqlx::query("INSERT INTO vault_meta (name, value) VALUES ($1, $2)")
                    .bind(name)
                    .bind(vec![7_u8; 64 << 10])
                    .execute(connection)
                    .await
                    .map(|_done| ())
                    .map_err(|error| classify(&error))
            })
        });
        run.await.unwrap();
    }

    /// Two connections that copy at one time need it; see [`engine::checkpoint`].
    #[tokio::test]
    async fn the_engine_is_new_enough_to_copy_beside_the_writer() {
        let mut connection = Options::new().in_memory(true).connect().await.unwrap();
        let version: String = sqlx::query_scalar("SELECT sqlite_version()").fetch_one(&mut connection).await.unwrap();
        let parts: Vec<u32> = version.split('.').map(|part| part.parse().unwrap()).collect();
        assert!(parts >= vec![3, 51, 3], "{version}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_log_that_is_written_for_ever_begins_anew_and_is_gone_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("db");
        let writer = Writer::open(engine::writing(&database)).await.unwrap();
        let length = |name: &str| std::fs::metadata(folder.path().join(name)).map_or(0, |file| file.len());
        let mut longest = 0;
        for n in 0..800 {
            write(&writer, n.to_string()).await;
            longest = longest.max(length("db-wal"));
        }
        // 50 MiB were written, less than what a commit would begin to copy by itself.
        assert!(longest > 16 << 20 && longest < 40 << 20, "{longest}");
        assert!(length("db") > 16 << 20, "{}", length("db"));
        writer.close().await;
        assert_eq!(length("db-wal"), 0);
        assert!(length("db") > 50 << 20);
    }
}
