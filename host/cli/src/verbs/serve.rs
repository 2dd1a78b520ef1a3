//! `sophon serve`.

use crate::config::Reloader;
use crate::context::Context;
use crate::error::CliError;
use crate::house::House;
use crate::telemetry;
use clap::Args;
use sophon_audit::AuditLog;
use sophon_gateway::{Gateway, OperatorToken, RunFile, write_whole};
use sophon_sandbox::{Confinement, Needs, confine, folder_of};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Serve the HTTP API until SIGTERM or SIGINT; a second one ends at once. Makes the home where there is none.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Where to listen; port 0 lets the system choose [default: `[gateway] listen`, else 127.0.0.1:7411].
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Write the port into this file once connections are accepted.
    #[arg(long, value_name = "FILE")]
    port_file: Option<PathBuf>,
}

impl Serve {
    /// Leaves this process the files that a gateway needs, and no others. Where the home cannot be made or its
    /// configuration cannot be read nothing is done: the verb fails over that, and says so.
    pub(crate) fn confine(&self, context: &Context) {
        let needs = context.home().and_then(|home| home.create().map(|()| home)).and_then(|home| {
            let config = context.config()?;
            let program = std::env::current_exe().map_err(|error| CliError::Start { message: error.to_string() })?;
            let mut write = vec![home.root().to_owned()];
            write.extend(self.port_file.as_deref().map(folder_of));
            write.extend(config.audit.file.as_ref().map(|file| folder_of(&home.root().join(&file.path))));
            let authorities = config.egress.extra_ca_files.iter();
            let secrets = config.webhooks.iter().map(|webhook| &webhook.secret_file);
            let clients = config.oauth.iter().filter_map(|(_service, provider)| provider.client_secret_file());
            let files = authorities.chain(secrets).map(PathBuf::as_path).chain(clients);
            let read = files.map(|file| home.root().join(file)).collect();
            Ok(Needs { write, read, start: vec![program] })
        });
        if let Ok(needs) = needs {
            context.confined(confine(&needs));
        }
    }

    pub(crate) async fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        let home = context.home()?;
        home.create()?;
        let config = context.config()?;
        telemetry::start(&config.log)?;
        match context.confinement() {
            Some(Ok(reached @ Confinement::Full { .. })) => tracing::info!("confined to the home: {reached}"),
            Some(Ok(reached)) => tracing::warn!("not confined to the home as it should be: {reached}"),
            Some(Err(cause)) => tracing::warn!(cause, "not confined to the home"),
            None => {}
        }
        let mut signals = Signals::listen()?;
        let hang_up = signals.hang_up()?;
        let Some(lock) = home.lock()? else {
            return Err(CliError::AlreadyServing { home: home.root().to_owned() });
        };
        let address = self.listen.unwrap_or(config.gateway.listen);
        let failed = |source| CliError::Listen { address, source };
        let listener = listen(address).map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;

        let house = House::open(context, lock).await?;
        // Where nothing can be written nothing can be served, and the store says best why.
        house.store().ready().await?;
        let operator = OperatorToken::mint(context.entropy());
        let run_file = RunFile::write(&home.run_file(), bound, &operator, context.entropy())?;
        let environment = context.environment().clone();
        let reloader = Reloader::new(home.config(), environment, house.config().clone());
        let gateway = house.gateway(operator, Some(bound), Some(Arc::new(reloader)));
        let webhooks = house.webhooks(&home, bound)?;
        if let Some(path) = &self.port_file {
            let port = format!("{}\n", bound.port());
            let written = write_whole(path, port.as_bytes(), 0o644, context.entropy());
            written.map_err(|error| CliError::file(path, error))?;
        }
        tracing::info!(address = %bound, home = %home.root().display(), "serving");

        let retaining =
            house.config().audit.retain_days.map(|days| tokio::spawn(retain(house.audit().clone(), days.span())));
        let reloading = tokio::spawn(reload_on(hang_up, gateway.clone()));
        let (first, asked) = tokio::sync::oneshot::channel();
        let serving = gateway.serve(listener, async {
            // Nobody asks any more only when this task is gone.
            if let Err(_gone) = asked.await {}
        });
        let served = tokio::select! {
            served = serving => served,
            () = signals.twice(first) => {
                tracing::warn!("a second signal: ending at once");
                return Ok(ExitCode::from(130));
            }
        };
        reloading.abort();
        if let Some(retaining) = retaining {
            retaining.abort();
        }
        drop((run_file, webhooks));
        let closed = house.close().await;
        served?;
        closed?;
        tracing::info!("stopped");
        Ok(ExitCode::SUCCESS)
    }
}

/// How often old records are looked for.
const RETENTION: Duration = Duration::from_secs(60 * 60);

/// Drops the content of records of this age, now and then.
async fn retain(audit: AuditLog, age: Duration) {
    let mut ticks = tokio::time::interval(RETENTION);
    loop {
        ticks.tick().await;
        match audit.retain(age).await {
            Ok(0) => {}
            Ok(rows) => tracing::info!(rows, "the content of old audit records is dropped"),
            Err(error) => tracing::warn!(%error, "the content of old audit records cannot be dropped now"),
        }
    }
}

/// Reads the configuration again each time that the process is told so.
async fn reload_on(mut hang_up: Signal, gateway: Gateway) {
    while hang_up.recv().await.is_some() {
        // The gateway says in its log and its audit log how that went.
        drop(gateway.reload(None).await);
    }
}

/// Connections that the kernel keeps until they are accepted; what comes then is tried again by its client a second later.
const BACKLOG: u32 = 4096;

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A gateway that is started again takes over its address at once.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The signals that ask for an end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Result<Self, CliError> {
        let on = |kind| signal(kind).map_err(|error| CliError::Start { message: format!("no signals: {error}") });
        Ok(Self { terminate: on(SignalKind::terminate())?, interrupt: on(SignalKind::interrupt())? })
    }

    /// The signal that asks for the configuration to be read again.
    fn hang_up(&self) -> Result<Signal, CliError> {
        signal(SignalKind::hangup()).map_err(|error| CliError::Start { message: format!("no signals: {error}") })
    }

    async fn one(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Passes the first one on, and completes with the second.
    async fn twice(&mut self, first: tokio::sync::oneshot::Sender<()>) {
        self.one().await;
        // Where nobody waits for it, serving is over already.
        if let Err(()) = first.send(()) {}
        self.one().await;
    }
}
