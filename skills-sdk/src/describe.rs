//! How a skill says what its tools are, on its author's machine: the export `sophon_describe_v1`.
//!
//! A host never asks a skill for its tools: they are data in the package, reviewed and pinned. That data comes from
//! here. `sophon build` calls this export once, on the author's machine, and writes the answer into the custom section
//! `sophon:tools` of the component and into the manifest's `tools`.
//!
//! # The ABI, version 1
//!
//! The **core module** (not the component) has an export
//!
//! ```wat
//! (func (export "sophon_describe_v1") (result i64))
//! ```
//!
//! * The result is `(address << 32) | length`, both unsigned 32-bit: where in the exported memory `memory` the
//!   description lies, and its length in bytes. Nobody frees it.
//! * The description is UTF-8 JSON: an array of
//!   `{"name", "description", "riskLevel", "parameters", "returns", "effects"?, "editable"?}` in the order of
//!   [`skill!`](crate::skill). `parameters` is a JSON Schema (2020-12) of an object, `returns` a JSON Schema of the
//!   result; `effects` is left out where empty, `editable` where `false`. Equal sources give equal bytes.
//! * It calls no import. Whoever instantiates the module satisfies every function import with one that traps.
//! * Where the module exports `_initialize`, that is called first.
//! * The result is 0 where the skill was compiled with the environment variable `SOPHON_DESCRIBE` set (to `off`, say).
//!   Such a build leaves out the code that describes, about 60 KB. A build for release is made twice: as it is, for the
//!   description, and with the variable set, for the package. Only the skill's own crate is compiled again.
//! * `cargo build` makes a core module for `wasm32-unknown-unknown` and a component for `wasm32-wasip2`; in a component
//!   it is the one nested core module that has the export.

use schemars::Schema;
use schemars::generate::{Contract, SchemaGenerator, SchemaSettings};
use serde::Serialize;
use serde_json::Value;

use crate::tool::{Argument, Outcome, Tool};

/// One tool, as the manifest has it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Description {
    name: &'static str,
    description: &'static str,
    risk_level: &'static str,
    parameters: Value,
    returns: Value,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    effects: &'static [&'static str],
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    editable: bool,
}

/// One tool described.
pub fn description<T: Tool>() -> Description {
    Description {
        name: T::NAME,
        description: T::DESCRIPTION,
        risk_level: T::RISK,
        parameters: T::parameters(),
        returns: T::returns(),
        effects: T::EFFECTS,
        editable: T::EDITABLE,
    }
}

/// The JSON Schema of what a tool takes.
pub fn takes<T: Argument>() -> Value {
    schema(Contract::Deserialize, T::json_schema)
}

/// The JSON Schema of what a tool gives back.
pub fn gives<T: Outcome>() -> Value {
    schema(Contract::Serialize, T::json_schema)
}

/// Takes the type as a function, so that a skill has this once and not once a type.
fn schema(contract: Contract, of: fn(&mut SchemaGenerator) -> Schema) -> Value {
    let mut generator = SchemaSettings::draft2020_12()
        .with(|settings| {
            settings.inline_subschemas = true;
            settings.contract = contract;
        })
        .into_generator();
    let mut schema = of(&mut generator).to_value();
    let definitions = generator.take_definitions(false);
    if let Value::Object(schema) = &mut schema {
        // A tool without parameters still takes an object.
        if schema.get("type").is_some_and(|kind| kind == "object") {
            schema.entry("properties").or_insert_with(|| Value::Object(serde_json::Map::new()));
        }
        // Only a type that holds itself needs a name.
        if !definitions.is_empty() {
            schema.insert("$defs".into(), Value::Object(definitions));
        }
    }
    plain_formats(&mut schema);
    schema
}

/// Takes out `"format": "uint32"` and its like: they are Rust's, JSON Schema has no such formats.
fn plain_formats(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            let rusts = |format: &Value| {
                format.as_str().is_some_and(|f| ["uint", "int", "float", "double"].iter().any(|p| f.starts_with(p)))
            };
            if object.get("format").is_some_and(rusts) && object.contains_key("type") {
                object.remove("format");
            }
            for (key, value) in object {
                // These hold data, not schemas.
                if !matches!(key.as_str(), "default" | "const" | "enum" | "examples") {
                    plain_formats(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(plain_formats),
        _ => {}
    }
}

/// The description of `tools` as JSON.
pub fn describe_json(tools: &[fn() -> Description]) -> String {
    let tools: Vec<Description> = tools.iter().map(|describe| describe()).collect();
    // Values without a float or a foreign key type always serialise; an empty text is refused by `sophon build`.
    serde_json::to_string(&tools).unwrap_or_default()
}

/// The description of `tools`, left in memory: `(address << 32) | length`.
pub fn describe(tools: &[fn() -> Description]) -> u64 {
    let json: &'static str = describe_json(tools).leak();
    // Addresses have 32 bits where this runs.
    ((json.as_ptr().addr() as u64) << 32) | json.len() as u64
}
