//! That nothing is left behind: every sandbox is on a list from before it is made until it is removed.

use super::engine::Engine;
use super::tenancy::Share;
use parking_lot::Mutex;
use sophon_types::Entropy;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::task::TaskTracker;

/// How often the engine is asked to remove a sandbox before it is left to the next sweep.
const TRIES: u32 = 4;

/// The sandboxes that there are, and those that are being removed.
pub(super) struct Lives {
    engine: Engine,
    prefix: String,
    next: AtomicU64,
    known: Arc<Mutex<BTreeSet<String>>>,
    removing: TaskTracker,
}

/// One sandbox. Dropping it kills and removes it, in the background; its room is free once it is gone.
pub(super) struct Life {
    pub(super) name: String,
    engine: Engine,
    known: Arc<Mutex<BTreeSet<String>>>,
    removing: TaskTracker,
    room: Option<Room>,
    share: Option<Share>,
}

/// The right to have one sandbox: a place, and its memory.
pub(super) struct Room {
    pub(super) _place: OwnedSemaphorePermit,
    pub(super) _memory: OwnedSemaphorePermit,
}

impl Lives {
    pub(super) fn new(engine: Engine, entropy: &dyn Entropy) -> Self {
        let random: [u8; 6] = entropy.bytes();
        let random: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            engine,
            prefix: format!("sophon-{}-{random}", std::process::id()),
            next: AtomicU64::new(0),
            known: Arc::default(),
            removing: TaskTracker::new(),
        }
    }

    /// A name on the list, before there is a sandbox of that name.
    pub(super) fn begin(&self, room: Room) -> Life {
        let name = format!("{}-{}", self.prefix, self.next.fetch_add(1, Ordering::Relaxed));
        self.known.lock().insert(name.clone());
        Life {
            name,
            engine: self.engine.clone(),
            known: Arc::clone(&self.known),
            removing: self.removing.clone(),
            room: Some(room),
            share: None,
        }
    }

    /// Removes every sandbox of this host that is not on the list: what a host left behind that was killed, or what could
    /// not be removed at its time.
    pub(super) async fn sweep(&self) -> Result<usize, bollard::errors::Error> {
        // Listed before the list is looked at: a sandbox that is made in between is on it.
        let found = self.engine.owned().await?;
        let strays: Vec<String> = {
            let known = self.known.lock();
            found.into_iter().filter(|name| !known.contains(name)).collect()
        };
        for name in &strays {
            self.engine.remove(name).await?;
        }
        Ok(strays.len())
    }

    /// How many are being removed.
    pub(super) fn leaving(&self) -> usize {
        self.removing.len()
    }

    /// Waits until everything that was dropped is gone.
    pub(super) async fn settled(&self) {
        self.removing.close();
        self.removing.wait().await;
        self.removing.reopen();
    }
}

impl Life {
    /// Whose it is from now on, until it is gone.
    pub(super) fn belongs(&mut self, share: Share) {
        self.share = Some(share);
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        let (engine, known, name) = (self.engine.clone(), Arc::clone(&self.known), std::mem::take(&mut self.name));
        let kept = (self.room.take(), self.share.take());
        let remove = async move {
            for nth in 0..TRIES {
                match engine.remove(&name).await {
                    Ok(()) => break,
                    Err(error) => tracing::warn!(%error, name, "a sandbox could not be removed"),
                }
                Engine::pause(nth).await;
            }
            // Where it is still there the next sweep finds it: it is on no list any more.
            known.lock().remove(&name);
            drop(kept);
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(self.removing.spawn_on(remove, &runtime)),
            Err(_no_runtime) => tracing::warn!("a sandbox is left to the next start's sweep"),
        }
    }
}
