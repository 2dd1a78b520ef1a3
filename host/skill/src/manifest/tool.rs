//! Reads `tools`.

use super::model::{Effect, Tool};
use super::permissions::{self, Surroundings};
use super::reader::{Node, Unknown};
use super::schema;
use crate::text::quote;
use serde_json::json;
use sophon_types::{Risk, ToolName};
use std::collections::BTreeSet;

/// Tools of one skill; the largest public skill has under 30.
const MAX_TOOLS: usize = 256;

const RISKS: [(&str, Risk); 5] = [
    ("none", Risk::None),
    ("low", Risk::Low),
    ("medium", Risk::Medium),
    ("high", Risk::High),
    ("critical", Risk::Critical),
];

/// All tools that could be read. Where the skill's own name is not valid, the tools' names are not checked further.
pub(super) fn tools(node: &Node<'_>, around: Surroundings<'_>) -> Option<Vec<Tool>> {
    let items = node.items(MAX_TOOLS)?;
    if items.is_empty() {
        node.report("there is no tool", "declare at least one tool");
    }
    let mut seen = BTreeSet::new();
    let mut tools = Vec::new();
    for item in items {
        let Some(tool) = tool(&item, around) else { continue };
        // Names that differ in case alone are one name to a person who approves.
        if !seen.insert(tool.name.as_str().to_ascii_lowercase()) {
            item.report(format!("the tool {} stands twice", tool.name), "give each tool its own name");
        }
        tools.push(tool);
    }
    Some(tools)
}

fn tool(node: &Node<'_>, around: Surroundings<'_>) -> Option<Tool> {
    let object = node.object()?;
    let name_node = object.required("name", "name the tool, such as list_issues");
    let local = name_node.as_ref().and_then(|n| n.text(130));
    let description = object.required("description", "say what the tool does").and_then(|n| n.text(2000));
    let risk =
        object.required("riskLevel", "write one of none, low, medium, high, critical").and_then(|n| n.word(&RISKS));
    let parameters = match object.optional("parameters") {
        Some(node) => schema::parameters(&node),
        None => Some(json!({ "type": "object" })),
    };
    let returns = object.optional("returns").map(|n| schema::any(&n));
    let editable = object.optional("editable").map_or(Some(false), |n| n.boolean());
    let network = object.optional("network").map(|n| {
        let rules = permissions::rules(&n)?;
        around.check_credentials(&rules, n.path(), n.record());
        around.check_within(&rules, n.path(), n.record());
        Some(rules)
    });
    let effects = object
        .optional("effects")
        .map_or(Some(Vec::new()), |n| n.each(Effect::WORDS.len(), |effect| effect.word(&Effect::WORDS)));
    object.finish(Unknown::Note);

    let local = local?;
    let name = ToolName::qualify(around.skill?, local).map_err(|_not_a_name| {
        if let Some(node) = &name_node {
            node.report(
                format!("{} is not a tool's name", quote(local)),
                "write 1 to 64 letters, digits, '.', '_' and '-'",
            );
        }
    });
    Some(Tool {
        name: name.ok()?,
        local: local.to_owned(),
        description: description?.to_owned(),
        risk: risk?,
        parameters: parameters?,
        returns: match returns {
            Some(schema) => Some(schema?),
            None => None,
        },
        editable: editable?,
        network: match network {
            Some(rules) => Some(rules?),
            None => None,
        },
        effects: effects?,
    })
}
