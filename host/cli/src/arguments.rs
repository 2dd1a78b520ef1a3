//! The command line as clap reads it.

use crate::context::Context;
use crate::door::Acting;
use crate::error::CliError;
use crate::verbs;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Tools for agents that nobody has to trust.
#[derive(Debug, Parser)]
#[command(name = "sophon", version, propagate_version = true, max_term_width = 100)]
pub(crate) struct Arguments {
    /// Write one JSON value to standard output, and errors as JSON to standard error.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// The home folder [default: $SOPHON_HOME, else ~/.sophon].
    #[arg(long, global = true, value_name = "FOLDER")]
    pub(crate) home: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Start a skill: a project that builds.
    New(verbs::new::New),
    /// Build a skill into a package, and sign it.
    Build(verbs::build::Build),
    /// Try a skill out on its recorded cases.
    Test(verbs::test::Test),
    /// Say what the host thinks of a project, a package or a component.
    Check(verbs::check::Check),
    /// Show what is in a package.
    Inspect(verbs::inspect::Inspect),
    /// Sign a package with an identity of this home.
    Sign(verbs::sign::Sign),
    /// Check a package and its signature as an installation would.
    Verify(verbs::verify::Verify),
    /// Serve the HTTP API until a signal ends it; make the home where there is none.
    Serve(verbs::serve::Serve),
    /// Install a package.
    Install(verbs::install::Install),
    /// Install a newer version of a skill, keeping what was granted and set.
    Update(verbs::update::Update),
    /// List the installed skills.
    List(verbs::list::List),
    /// Remove a skill.
    Remove(verbs::remove::Remove),
    /// Let a skill's tools be called.
    Enable(verbs::enable::Enable),
    /// Stop a skill's tools from being called.
    Disable(verbs::disable::Disable),
    /// List the tools.
    Tools(verbs::tools::Tools),
    /// Call a tool.
    Call(verbs::call::Call),
    /// Questions that wait for a person, and the answers.
    Approvals(verbs::approvals::Approvals),
    /// Make, list and remove calls that come round.
    Schedules(verbs::schedules::Schedules),
    /// API keys, signing identities and trusted publishers.
    Key(verbs::key::Key),
    /// Credentials of services.
    Credential(verbs::credential::Credential),
    /// Show what happens to calls and approvals, as it happens.
    Events(verbs::events::Events),
    /// Connect an account by OAuth.
    Connect(verbs::connect::Connect),
    /// Forget an account, and give its tokens back.
    Disconnect(verbs::disconnect::Disconnect),
    /// The audit log.
    Audit(verbs::audit::Audit),
    /// Say what is wrong with this home and how to mend it.
    Doctor(verbs::doctor::Doctor),
    /// The configuration.
    Config(verbs::config::ConfigVerb),
    /// Write the completions of a shell.
    Completions(verbs::completions::Completions),
}

impl Verb {
    /// Does it.
    pub(crate) async fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        match self {
            Self::New(verb) => verb.run(context),
            Self::Build(verb) => verb.run(context).await,
            Self::Test(verb) => verb.run(context).await,
            Self::Check(verb) => verb.run(context),
            Self::Inspect(verb) => verb.run(context),
            Self::Sign(verb) => verb.run(context),
            Self::Verify(verb) => verb.run(context).await,
            Self::Serve(verb) => verb.run(context).await,
            Self::Install(verb) => verb.run(context).await,
            Self::Update(verb) => verb.run(context).await,
            Self::List(verb) => verb.run(context).await,
            Self::Remove(verb) => verb.run(context).await,
            Self::Enable(verb) => verb.run(context).await,
            Self::Disable(verb) => verb.run(context).await,
            Self::Tools(verb) => verb.run(context).await,
            Self::Call(verb) => verb.run(context).await,
            Self::Approvals(verb) => verb.run(context).await,
            Self::Schedules(verb) => verb.run(context).await,
            Self::Key(verb) => verb.run(context).await,
            Self::Credential(verb) => verb.run(context).await,
            Self::Events(verb) => verb.run(context).await,
            Self::Connect(verb) => verb.run(context).await,
            Self::Disconnect(verb) => verb.run(context).await,
            Self::Audit(verb) => verb.run(context).await,
            Self::Doctor(verb) => verb.run(context).await,
            Self::Config(verb) => verb.run(context).await,
            Self::Completions(verb) => verb.run(context),
        }
    }
}

/// In which tenant.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct InTenant {
    /// The tenant [default: default].
    #[arg(long)]
    pub(crate) tenant: Option<String>,
}

impl From<InTenant> for Acting {
    fn from(scope: InTenant) -> Self {
        Self { tenant: scope.tenant, user: None }
    }
}

/// Which page of a list.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct OfPage {
    /// Continue behind this: `next` of the page before.
    #[arg(long)]
    pub(crate) after: Option<String>,
    /// At most so many [default: 100, at most 500].
    #[arg(long)]
    pub(crate) limit: Option<u32>,
}

/// For which user of which tenant.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ForUser {
    /// The tenant [default: default].
    #[arg(long)]
    pub(crate) tenant: Option<String>,
    /// The user [default: operator].
    #[arg(long)]
    pub(crate) user: Option<String>,
}

impl From<ForUser> for Acting {
    fn from(scope: ForUser) -> Self {
        Self { tenant: scope.tenant, user: scope.user }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_holds_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_scripting_contract_is_kept() {
        for line in [
            "sophon serve --listen 127.0.0.1:0 --port-file F",
            "sophon key create --role agent --user ann --tenant t --json",
            "sophon call a-skill.tool {} --json",
            "sophon call a-skill.tool -",
            "sophon install F --allow-host a.example:443 --allow-host http://127.0.0.1:80 --set k=v",
            "sophon install F --dangerously-allow-unsigned",
            "sophon doctor --json",
            "sophon --json audit verify",
            "sophon credential set github --field token",
            "sophon connect github --user ann",
            "sophon connect github --device --scope repo",
            "sophon connect github --gateway --json",
            "sophon disconnect github --user ann",
            "sophon completions bash",
            "sophon build project --identity ann --json",
            "sophon build --unsigned -- --offline",
        ] {
            let parsed = Arguments::try_parse_from(line.split(' '));
            assert!(parsed.is_ok(), "{line}: {}", parsed.err().map(|error| error.to_string()).unwrap_or_default());
        }
        for line in [
            "sophon",
            "sophon call",
            "sophon credential set github --value hunter2",
            "sophon key create",
            "sophon build --unsigned --identity a",
        ] {
            assert!(Arguments::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
