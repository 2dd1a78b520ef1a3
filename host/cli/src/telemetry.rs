//! Log lines to standard error.

use crate::config::{LogFormat, LogSection};
use crate::error::CliError;
use std::io;
use tracing_subscriber::EnvFilter;

/// Sends log lines to standard error from now on. A process does so once; again changes nothing.
pub(crate) fn start(section: &LogSection) -> Result<(), CliError> {
    let filter = EnvFilter::builder().parse(&section.level).map_err(|error| CliError::Config {
        place: "[log] level".into(),
        message: error.to_string(),
        hint: "use error, warn, info, debug, trace, or directives such as info,sophon_egress=debug".into(),
    })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(false);
    let started = match section.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    if let Err(_already) = started {}
    Ok(())
}

/// Sends only warnings there, for commands that are over in a moment.
pub(crate) fn quiet(section: &LogSection) -> Result<(), CliError> {
    let level = if section.level == LogSection::default().level { "warn".to_owned() } else { section.level.clone() };
    start(&LogSection { level, format: section.format })
}
