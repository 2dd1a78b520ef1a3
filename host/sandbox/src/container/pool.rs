//! Sandboxes that are started ahead of the calls that use them, once each.
//!
//! Bounded in number and memory, for all and for each tenant and user: a call that finds no room is refused at once, or within
//! three seconds where room is about to be free; one that has room waits for its turn to have a sandbox started. What waits
//! for a call makes room for a call of another kind, as much as that call needs.

use super::boxed::{Boxed, Recipe};
use super::config::ContainerConfig;
use super::engine::Engine;
use super::life::{Lives, Room};
use super::tenancy::{Shares, Who};
use super::unavailable::Unavailable;
use futures::FutureExt as _;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::time::{timeout, timeout_at};
use tokio_util::task::TaskTracker;

/// How long a call waits for room that is about to be free.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a call that has room waits for its turn to have a sandbox started. No more wait here than there are places, each
/// for those before it; a loaded machine takes seconds to start one.
const TURN: Duration = Duration::from_secs(15);
/// Sandboxes that nobody has taken one of for this long are let go.
const IDLE: Duration = Duration::from_secs(600);

/// Why there is no sandbox.
#[derive(Debug)]
pub(super) enum NoBox {
    /// As many run as there may be.
    Full,
    /// None can be made.
    Unavailable(Unavailable),
}

/// The sandboxes that wait.
#[derive(Clone)]
pub(super) struct Pool(Arc<Inner>);

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pool")
    }
}

struct Inner {
    engine: Engine,
    lives: Arc<Lives>,
    shares: Shares,
    places: Arc<Semaphore>,
    /// In MiB.
    memory: Arc<Semaphore>,
    all_memory: usize,
    /// How many are being started at one time: each takes a core for most of a second.
    starting: Semaphore,
    shelves: Mutex<Shelves>,
    each: usize,
    /// Waiting ones of all kinds.
    most_waiting: usize,
    refills: TaskTracker,
}

#[derive(Default)]
struct Shelves {
    shelves: HashMap<Recipe, Shelf>,
    closed: bool,
}

struct Shelf {
    ready: VecDeque<Boxed>,
    on_the_way: usize,
    used: Instant,
}

impl Pool {
    pub(super) fn new(engine: Engine, lives: Arc<Lives>, config: &ContainerConfig) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self(Arc::new(Inner {
            engine,
            lives,
            shares: Shares::new(config.concurrent, config.memory_mb),
            places: Arc::new(Semaphore::new(config.concurrent)),
            memory: Arc::new(Semaphore::new(config.memory_mb)),
            all_memory: config.memory_mb,
            starting: Semaphore::new(cores),
            shelves: Mutex::default(),
            each: config.warm,
            // Half of the places are for calls, whatever waits.
            most_waiting: config.concurrent / 2,
            refills: TaskTracker::new(),
        }))
    }

    /// Starts a sandbox for nothing but to see that it starts as it should.
    pub(super) async fn prove(&self, recipe: &Recipe) -> Result<(), Unavailable> {
        let Some(room) = self.room(recipe) else {
            return Err(Unavailable::broken("there is no room for one sandbox"));
        };
        Boxed::prove(&self.0.engine, recipe, self.0.lives.begin(room)).await
    }

    /// Has sandboxes of that kind started, for calls that are to come.
    pub(super) fn expect(&self, recipe: &Recipe) {
        {
            let mut shelves = self.0.shelves.lock();
            let shelf = shelves.shelf(recipe);
            shelf.used = Instant::now();
        }
        self.refill(recipe);
    }

    /// A sandbox for one call of theirs: one that waits, or a new one.
    pub(super) async fn take(&self, recipe: &Recipe, who: &Who) -> Result<Boxed, NoBox> {
        let memory = usize::try_from(recipe.limits.memory >> 20).unwrap_or(usize::MAX);
        if memory > self.0.all_memory {
            return Err(NoBox::Full);
        }
        let until = tokio::time::Instant::now() + PATIENCE;
        let full = |_elapsed| NoBox::Full;
        let share = match self.0.shares.try_take(who, memory) {
            Some(share) => share,
            // A share comes back with a sandbox that is on its way out. Where none is, waiting helps nobody.
            None if self.0.lives.leaving() == 0 => return Err(NoBox::Full),
            None => timeout_at(until, self.0.shares.take(who, memory)).await.map_err(full)?,
        };
        let mut boxed = match self.waiting_for(recipe) {
            Some(boxed) => boxed,
            None => {
                let room = match self.room(recipe) {
                    Some(room) => room,
                    None => {
                        // Room comes from a sandbox that is on its way out. Where none is, waiting helps nobody.
                        if !self.make_room(recipe, memory) && self.0.lives.leaving() == 0 {
                            return Err(NoBox::Full);
                        }
                        timeout_at(until, self.room_in_time(memory)).await.map_err(full)?.ok_or(NoBox::Full)?
                    }
                };
                let turn = timeout(TURN, self.0.starting.acquire()).await.map_err(full)?;
                let turn = turn.map_err(|_closed| NoBox::Full)?;
                let started = Boxed::start(&self.0.engine, recipe, self.0.lives.begin(room)).await;
                drop(turn);
                let boxed = started.map_err(NoBox::Unavailable)?;
                self.refill(recipe);
                boxed
            }
        };
        boxed.life.belongs(share);
        Ok(boxed)
    }

    /// One that waits for such a call, where there is one that is still good.
    fn waiting_for(&self, recipe: &Recipe) -> Option<Boxed> {
        loop {
            let waiting = {
                let mut shelves = self.0.shelves.lock();
                let shelf = shelves.shelf(recipe);
                shelf.used = Instant::now();
                shelf.ready.pop_front()
            };
            let mut boxed = waiting?;
            self.refill(recipe);
            // One that has anything to say before its call has broken meanwhile.
            if boxed.link.next().now_or_never().is_none() {
                return Some(boxed);
            }
            tracing::warn!("a waiting sandbox has ended before its call");
        }
    }

    /// Room that is there now.
    fn room(&self, recipe: &Recipe) -> Option<Room> {
        let mib = u32::try_from(recipe.limits.memory >> 20).ok()?;
        let place = Arc::clone(&self.0.places).try_acquire_owned().ok()?;
        let memory = Arc::clone(&self.0.memory).try_acquire_many_owned(mib).ok()?;
        Some(Room { _place: place, _memory: memory })
    }

    /// Room once there is some. Whoever waits here comes before what is started ahead.
    async fn room_in_time(&self, memory: usize) -> Option<Room> {
        let mib = u32::try_from(memory).ok()?;
        let place = Arc::clone(&self.0.places).acquire_owned().await.ok()?;
        let memory = Arc::clone(&self.0.memory).acquire_many_owned(mib).await.ok()?;
        Some(Room { _place: place, _memory: memory })
    }

    /// Lets as many go that wait for calls of another kind as one of this kind needs: those first whose kind nobody has
    /// called for longest. Whether there was one.
    fn make_room(&self, recipe: &Recipe, memory: usize) -> bool {
        let mut places = usize::from(self.0.places.available_permits() == 0);
        let mut memory = memory.saturating_sub(self.0.memory.available_permits());
        let mut gone = Vec::new();
        let mut shelves = self.0.shelves.lock();
        while places > 0 || memory > 0 {
            let others = shelves.shelves.iter_mut().filter(|(kind, shelf)| *kind != recipe && !shelf.ready.is_empty());
            let Some((kind, shelf)) = others.min_by_key(|(_, shelf)| shelf.used) else { break };
            places = places.saturating_sub(1);
            memory = memory.saturating_sub(usize::try_from(kind.limits.memory >> 20).unwrap_or_default());
            gone.extend(shelf.ready.pop_front());
        }
        drop(shelves);
        !gone.is_empty()
    }

    /// Starts what is missing, in the background. Where there is no room nothing is started: calls come first.
    fn refill(&self, recipe: &Recipe) {
        let missing = {
            let mut shelves = self.0.shelves.lock();
            let waiting: usize = shelves.shelves.values().map(|shelf| shelf.ready.len() + shelf.on_the_way).sum();
            let closed = shelves.closed;
            let shelf = shelves.shelf(recipe);
            let missing = self.0.each.saturating_sub(shelf.ready.len() + shelf.on_the_way);
            let missing = if closed { 0 } else { missing.min(self.0.most_waiting.saturating_sub(waiting)) };
            shelf.on_the_way += missing;
            missing
        };
        for _ in 0..missing {
            let on_the_way = OnTheWay { pool: self.clone(), recipe: recipe.clone() };
            self.0.refills.spawn(async move {
                let started = on_the_way.pool.start_ahead(&on_the_way.recipe).await;
                let mut shelves = on_the_way.pool.0.shelves.lock();
                if let Some(boxed) = started.filter(|_| !shelves.closed) {
                    shelves.shelf(&on_the_way.recipe).ready.push_back(boxed);
                }
                drop(shelves);
            });
        }
    }

    async fn start_ahead(&self, recipe: &Recipe) -> Option<Boxed> {
        let _turn = self.0.starting.acquire().await.ok()?;
        let room = self.room(recipe)?;
        match Boxed::start(&self.0.engine, recipe, self.0.lives.begin(room)).await {
            Ok(boxed) => Some(boxed),
            Err(cause) => {
                tracing::warn!(%cause, "a sandbox could not be started ahead");
                None
            }
        }
    }

    /// Lets those of one kind go that wait; no call of it is to come.
    pub(super) fn forget(&self, recipe: &Recipe) {
        let gone = self.0.shelves.lock().shelves.remove(recipe);
        drop(gone);
    }

    pub(super) fn let_go_of_old_ones(&self) {
        let mut gone = Vec::new();
        self.0.shelves.lock().shelves.retain(|_, shelf| {
            let old = shelf.used.elapsed() > IDLE;
            if old {
                gone.extend(shelf.ready.drain(..));
            }
            !old || shelf.on_the_way > 0
        });
    }

    /// How many wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.0.shelves.lock().shelves.values().map(|shelf| shelf.ready.len()).sum()
    }

    /// Whether one is being started.
    #[cfg(test)]
    pub(super) fn is_starting(&self) -> bool {
        self.0.starting.available_permits() < std::thread::available_parallelism().map_or(1, usize::from)
    }

    /// Lets all go that wait, and starts no more.
    pub(super) async fn close(&self) {
        let gone: Vec<Boxed> = {
            let mut shelves = self.0.shelves.lock();
            shelves.closed = true;
            // The shelves stay: some may be on their way to them.
            shelves.shelves.values_mut().flat_map(|shelf| shelf.ready.drain(..)).collect()
        };
        drop(gone);
        self.0.refills.close();
        self.0.refills.wait().await;
    }
}

/// One that is being started ahead, however that ends.
struct OnTheWay {
    pool: Pool,
    recipe: Recipe,
}

impl Drop for OnTheWay {
    fn drop(&mut self) {
        let mut shelves = self.pool.0.shelves.lock();
        let shelf = shelves.shelf(&self.recipe);
        shelf.on_the_way = shelf.on_the_way.saturating_sub(1);
    }
}

impl Shelves {
    fn shelf(&mut self, recipe: &Recipe) -> &mut Shelf {
        if !self.shelves.contains_key(recipe) {
            let shelf = Shelf { ready: VecDeque::new(), on_the_way: 0, used: Instant::now() };
            self.shelves.insert(recipe.clone(), shelf);
        }
        self.shelves.get_mut(recipe).expect("it was put there")
    }
}
