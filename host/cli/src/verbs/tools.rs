//! `sophon tools`.

use super::ask;
use crate::arguments::InTenant;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{field, table};
use clap::Args;
use http::Method;
use std::process::ExitCode;

/// The tools.
#[derive(Debug, Args)]
pub(crate) struct Tools {
    #[command(flatten)]
    tenant: InTenant,
}

impl Tools {
    pub(crate) async fn run(self, context: &Context) -> Result<ExitCode, CliError> {
        let answer = ask(context, self.tenant, Method::GET, "/v1/tools", None).await?;
        context.output().data(&answer, |value| {
            let mut tools = value["tools"].clone();
            for tool in tools.as_array_mut().into_iter().flatten() {
                tool["description"] = unwrapped(&field(tool, "description")).into();
            }
            table(&tools, &["name", "version", "risk", "description"])
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

/// A description without the markers around it, which are for models.
fn unwrapped(text: &str) -> &str {
    let inner = || {
        let (opener, rest) = text.split_once('\n')?;
        let (inner, closer) = rest.rsplit_once('\n')?;
        (opener.starts_with("<external_content ") && closer.starts_with("</external_content ")).then_some(inner)
    };
    inner().unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_sees_the_words_and_not_the_markers() {
        let wrapped =
            "<external_content id=\"0f\" source=\"tool-description:a.b\">\nLists.\nAll.\n</external_content id=\"0f\">";
        assert_eq!(unwrapped(wrapped), "Lists.\nAll.");
        for other in ["Lists.", "", "a\nb\nc"] {
            assert_eq!(unwrapped(other), other);
        }
    }
}
