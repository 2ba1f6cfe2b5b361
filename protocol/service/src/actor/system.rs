//! The threads that a server's actors run on.

use super::{Handle, Limits, RestartPolicy, admission::Vitals, supervisor};
use actix::{Actor, Addr, Arbiter, ArbiterHandle, Context, System};
use std::{io, sync::Arc, thread};
use tokio::sync::{oneshot, watch};

/// One server's actors: each on a thread of its own, all ended together.
#[derive(Debug)]
pub struct ActorSystem {
    system: System,
    thread: Option<thread::JoinHandle<()>>,
    arbiters: Vec<Arbiter>,
    actors: Vec<Arc<Vitals>>,
}

impl ActorSystem {
    /// Starts the thread that the actors' threads belong to.
    pub fn start(name: &str) -> io::Result<Self> {
        let (started, system) = std::sync::mpsc::channel();
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            let runner = System::new();
            if started.send(System::current()).is_ok() {
                // Its only error is the exit code that `System::stop_with_code` was given.
                let _ = runner.run();
            }
        })?;
        let system = system.recv().map_err(io::Error::other)?;
        Ok(Self { system, thread: Some(thread), arbiters: Vec::new(), actors: Vec::new() })
    }

    /// Keeps an actor alive on a thread of its own. `build` makes each next incarnation, with its state from the
    /// store, on that thread.
    pub fn supervise<A, F, Fut>(
        &mut self,
        name: &'static str,
        limits: Limits,
        policy: RestartPolicy,
        build: F,
    ) -> io::Result<Handle<A>>
    where
        A: Actor<Context = Context<A>>,
        F: FnMut() -> Fut + Send + 'static,
        Fut: Future<Output = anyhow::Result<A>> + 'static,
    {
        let vitals = Arc::new(Vitals::new(name, limits.waiting));
        let (slot, addr) = watch::channel::<Option<Addr<A>>>(None);
        let seen = vitals.clone();
        self.arbiter()?.spawn_fn(move || {
            actix::spawn(supervisor::run(seen, policy, slot, build));
        });
        self.actors.push(vitals.clone());
        Ok(Handle { addr, vitals, limits, gate: None })
    }

    /// What is seen of each actor from outside.
    pub fn actors(&self) -> &[Arc<Vitals>] {
        &self.actors
    }

    /// Ends all actors, the last started first, and waits for their threads.
    pub async fn stop(mut self) {
        let (ended, end) = oneshot::channel();
        let arbiters = std::mem::take(&mut self.arbiters);
        let thread = self.thread.take();
        let system = self.system.clone();
        // Joining blocks, and must not block the runtime that the last answers come from.
        let joining = thread::Builder::new().name("actors-end".to_owned()).spawn(move || {
            for arbiter in arbiters.into_iter().rev() {
                arbiter.stop();
                let _ = arbiter.join(); // an actor's panic is contained in its task, never in its thread
            }
            system.stop();
            if let Some(thread) = thread {
                let _ = thread.join();
            }
            let _ = ended.send(());
        });
        if joining.is_ok() {
            let _ = end.await;
        }
    }

    /// A new thread; it can be made only on the system's own.
    fn arbiter(&mut self) -> io::Result<ArbiterHandle> {
        let (made, arbiter) = std::sync::mpsc::channel();
        self.system.arbiter().spawn_fn(move || {
            let _ = made.send(Arbiter::new());
        });
        let arbiter = arbiter.recv().map_err(io::Error::other)?;
        let handle = arbiter.handle();
        self.arbiters.push(arbiter);
        Ok(handle)
    }
}

impl Drop for ActorSystem {
    fn drop(&mut self) {
        self.system.stop(); // without waiting: who wants to wait calls `stop`
    }
}
