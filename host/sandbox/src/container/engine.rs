//! The container engine, as far as this host speaks to it: create, attach, start, look, remove, and nothing else.
//!
//! Every sandbox is made by [`Engine::create`], so every one is hardened alike.

use super::presets::{BoxLimits, CODE_MIB};
use bollard::container::AttachContainerResults;
use bollard::errors::Error;
use bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount, MountType, ResourcesUlimits};
use bollard::query_parameters::{
    AttachContainerOptions, CreateContainerOptions, InspectContainerOptions, ListContainersOptions,
    RemoveContainerOptions, StartContainerOptions,
};
use bollard::{API_DEFAULT_VERSION, Docker};
use std::collections::HashMap;
use std::time::Duration;

/// Seconds for one answer of the engine.
const PATIENCE: u64 = 30;
/// What every container of this host is marked with; its value says whose it is.
const OWNER: &str = "sophon.host";
/// The label of images that this host can use, and the protocol that they speak.
const PROTOCOL: &str = "sophon.protocol";
/// The label that says which .NET an image has.
const DOTNET: &str = "sophon.dotnet";

/// An engine that answers. Cheap to clone.
#[derive(Clone)]
pub(super) struct Engine {
    docker: Docker,
    runtime: String,
    owner: String,
}

/// A file or folder of this host that is shown inside, read-only.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Shown {
    /// On this host.
    pub(super) file: String,
    /// Inside.
    pub(super) at: &'static str,
}

impl Shown {
    fn mount(&self) -> Mount {
        Mount {
            typ: Some(MountType::BIND),
            source: Some(self.file.clone()),
            target: Some(self.at.to_owned()),
            read_only: Some(true),
            ..Mount::default()
        }
    }
}

/// What an engine says of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Image {
    pub(super) id: String,
    /// The protocol that its first process speaks, where its label says so.
    pub(super) protocol: Option<String>,
    /// The version of .NET in it, where its label says so.
    pub(super) dotnet: Option<String>,
}

/// What an engine says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineFacts {
    /// Its version.
    pub version: String,
    /// The runtimes that it knows.
    pub runtimes: Vec<String>,
    /// `1` or `2`.
    pub cgroups: String,
    /// The host's kernel.
    pub kernel: String,
    /// How gVisor keeps its guests, where the engine's configuration says so: `systrap`, `kvm`, `ptrace`.
    pub platform: Option<String>,
}

/// How a container stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) running: bool,
    pub(super) out_of_memory: bool,
    pub(super) exit_code: i64,
}

impl Engine {
    pub(super) async fn connect(address: &str, runtime: &str, owner: &str) -> Result<Self, Error> {
        let docker = Docker::connect_with_unix(address, PATIENCE, API_DEFAULT_VERSION)?.negotiate_version().await?;
        Ok(Self { docker, runtime: runtime.to_owned(), owner: owner.to_owned() })
    }

    pub(super) async fn facts(&self) -> Result<EngineFacts, Error> {
        let info = self.docker.info().await?;
        let known = info.runtimes.unwrap_or_default();
        let arguments = known.get(&self.runtime).and_then(|runtime| runtime.runtime_args.clone()).unwrap_or_default();
        let platform = arguments.iter().find_map(|word| word.trim_start_matches('-').strip_prefix("platform="));
        let mut runtimes: Vec<String> = known.into_keys().collect();
        runtimes.sort();
        Ok(EngineFacts {
            version: info.server_version.unwrap_or_default(),
            runtimes,
            cgroups: info.cgroup_version.map(|version| version.to_string()).unwrap_or_default(),
            kernel: info.kernel_version.unwrap_or_default(),
            platform: platform.map(str::to_owned),
        })
    }

    /// What there is of an image; nothing where there is none of that name.
    pub(super) async fn image(&self, name: &str) -> Result<Option<Image>, Error> {
        match self.docker.inspect_image(name).await {
            Ok(found) => {
                let mut labels = found.config.and_then(|config| config.labels).unwrap_or_default();
                let (protocol, dotnet) = (labels.remove(PROTOCOL), labels.remove(DOTNET));
                Ok(found.id.map(|id| Image { id, protocol, dotnet }))
            }
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a sandbox of that name. Nothing runs yet.
    pub(super) async fn create(
        &self,
        name: &str,
        image: &str,
        shown: &[Shown],
        limits: &BoxLimits,
    ) -> Result<(), Error> {
        let options = CreateContainerOptions { name: Some(name.to_owned()), platform: String::new() };
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            user: Some("65534:65534".into()),
            hostname: Some("sandbox".into()),
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            open_stdin: Some(true),
            // When this host is gone, however it went, the sandbox's input ends, and with it the sandbox.
            stdin_once: Some(true),
            tty: Some(false),
            env: Some(Vec::new()),
            entrypoint: Some(vec!["/sophon/init".into()]),
            cmd: Some(Vec::new()),
            network_disabled: Some(true),
            labels: Some(HashMap::from([(OWNER.to_owned(), self.owner.clone())])),
            host_config: Some(self.hardened(shown, limits)),
            ..ContainerCreateBody::default()
        };
        let made = self.docker.create_container(Some(options), body).await?;
        for warning in made.warnings {
            tracing::warn!(name, warning, "the engine does not do all that was asked for");
        }
        Ok(())
    }

    /// Everything that keeps a skill in. The reasons for the numbers stand in their table.
    fn hardened(&self, shown: &[Shown], limits: &BoxLimits) -> HostConfig {
        let number = |value: u64| Some(i64::try_from(value).unwrap_or(i64::MAX));
        let ulimit = |name: &str, value: u64| ResourcesUlimits {
            name: Some(name.to_owned()),
            soft: number(value),
            hard: number(value),
        };
        let shelf = |bytes: u64| format!("rw,size={bytes},mode=1777,noexec,nosuid,nodev");
        let mut tmpfs =
            HashMap::from([("/skill".to_owned(), shelf(CODE_MIB << 20)), ("/run".to_owned(), shelf(1 << 20))]);
        if limits.workspace > 0 {
            tmpfs.insert("/tmp".to_owned(), shelf(limits.workspace));
        }
        HostConfig {
            runtime: Some(self.runtime.clone()),
            network_mode: Some("none".into()),
            readonly_rootfs: Some(true),
            tmpfs: Some(tmpfs),
            // Mounts, not binds: where the file is not there the engine refuses, in place of making a folder of its name.
            mounts: Some(shown.iter().map(Shown::mount).collect()),
            cap_drop: Some(vec!["ALL".into()]),
            security_opt: Some(vec!["no-new-privileges".into()]),
            privileged: Some(false),
            memory: number(limits.memory),
            // The same: no swap.
            memory_swap: number(limits.memory),
            nano_cpus: number(limits.cpu * 1_000_000),
            pids_limit: number(limits.host_tasks),
            ulimits: Some(vec![
                ulimit("nproc", limits.all_processes()),
                ulimit("nofile", limits.open_files),
                ulimit("core", 0),
            ]),
            // What a skill writes is never on the host's disk.
            log_config: Some(HostConfigLogConfig { typ: Some("none".into()), config: None }),
            ipc_mode: Some("none".into()),
            shm_size: Some(1 << 20),
            oom_score_adj: Some(1000),
            init: Some(false),
            auto_remove: Some(false),
            ..HostConfig::default()
        }
    }

    /// The sandbox's standard input and output. Before the start, so that nothing is lost.
    pub(super) async fn attach(&self, name: &str) -> Result<AttachContainerResults, Error> {
        let options = AttachContainerOptions {
            stream: true,
            stdin: true,
            stdout: true,
            stderr: true,
            ..AttachContainerOptions::default()
        };
        self.docker.attach_container(name, Some(options)).await
    }

    pub(super) async fn start(&self, name: &str) -> Result<(), Error> {
        self.docker.start_container(name, None::<StartContainerOptions>).await
    }

    pub(super) async fn standing(&self, name: &str) -> Result<Standing, Error> {
        let found = self.docker.inspect_container(name, None::<InspectContainerOptions>).await?;
        let state = found.state.unwrap_or_default();
        Ok(Standing {
            running: state.running.unwrap_or_default(),
            out_of_memory: state.oom_killed.unwrap_or_default(),
            exit_code: state.exit_code.unwrap_or_default(),
        })
    }

    /// The CPU that the engine says a sandbox may have, in thousand-millionths, and how often it has held it to that.
    #[cfg(test)]
    pub(super) async fn cpu(&self, name: &str) -> Result<(i64, u64), Error> {
        use futures::StreamExt as _;
        let found = self.docker.inspect_container(name, None::<InspectContainerOptions>).await?;
        let options = bollard::query_parameters::StatsOptions { stream: false, one_shot: true };
        let stats = self.docker.stats(name, Some(options)).next().await.transpose()?;
        let held = stats.and_then(|stats| stats.cpu_stats?.throttling_data?.throttled_periods);
        Ok((found.host_config.and_then(|config| config.nano_cpus).unwrap_or_default(), held.unwrap_or_default()))
    }

    /// Kills and removes a sandbox; one that is gone already is as good.
    pub(super) async fn remove(&self, name: &str) -> Result<(), Error> {
        let options = RemoveContainerOptions { force: true, v: true, link: false };
        match self.docker.remove_container(name, Some(options)).await {
            Err(error) if !is_gone(&error) && !is_going(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// The names of all sandboxes of this host, running or not.
    pub(super) async fn owned(&self) -> Result<Vec<String>, Error> {
        let filters = HashMap::from([("label".to_owned(), vec![format!("{OWNER}={}", self.owner)])]);
        let options = ListContainersOptions { all: true, filters: Some(filters), ..ListContainersOptions::default() };
        let found = self.docker.list_containers(Some(options)).await?;
        let name = |names: Option<Vec<String>>| Some(names?.first()?.trim_start_matches('/').to_owned());
        Ok(found.into_iter().filter_map(|one| name(one.names).or(one.id)).collect())
    }

    /// Waits a little between two tries of something that the engine could not do.
    pub(super) async fn pause(nth: u32) {
        tokio::time::sleep(Duration::from_millis(200 << nth.min(4))).await;
    }
}

/// Somebody else has asked for it to be removed: this host's last run, or a person.
fn is_going(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code: 409, message } if message.contains("already in progress"))
}

fn is_gone(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code: 404, .. })
}
