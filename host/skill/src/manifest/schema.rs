//! The shape of a tool's JSON Schema: bounded, self-contained, and cheap to check arguments against.
//!
//! Compiling is done elsewhere; what is refused here is what would make it reach out (remote references), run
//! for ever (reference cycles, patterns that need backtracking) or grow without bound.

use super::pattern::MAX_PATTERN;
use super::reader::{Node, Record};
use crate::text::quote;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Bytes of one schema as compact JSON.
const MAX_BYTES: usize = 64 * 1024;
/// Levels of schemas within schemas.
const MAX_DEPTH: usize = 32;
/// Schemas after following every reference: what one validation may have to visit for one value.
const MAX_EXPANDED: u64 = 1_000;
/// How often what stands beside `unevaluatedProperties` or `unevaluatedItems` is visited again to learn what it has
/// evaluated. Nested, they multiply.
const REVISITS: u64 = 4;

/// Keywords whose value is a schema.
const ONE: [&str; 11] = [
    "additionalItems",
    "additionalProperties",
    "contains",
    "contentSchema",
    "else",
    "if",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
];
/// Of the keywords that hold schemas, those whose schemas see the same value as the one that they stand in.
const IN_PLACE: [&str; 8] = ["allOf", "anyOf", "dependentSchemas", "else", "if", "not", "oneOf", "then"];
/// Keywords whose value is a list of schemas.
const MANY: [&str; 4] = ["allOf", "anyOf", "oneOf", "prefixItems"];
/// Keywords whose value is an object of schemas under free names.
const NAMED: [&str; 5] = ["$defs", "definitions", "dependentSchemas", "patternProperties", "properties"];
/// Keywords whose value is data, or a word, number or text.
const DATA: [&str; 43] = [
    "$comment",
    "$ref",
    "$schema",
    "const",
    "contentEncoding",
    "contentMediaType",
    "default",
    "dependentRequired",
    "deprecated",
    "description",
    "enum",
    "enumNames",
    "example",
    "examples",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "maxContains",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minContains",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "nullable",
    "optional",
    "order",
    "pattern",
    "patternMessage",
    "placeholder",
    "readOnly",
    "required",
    "secret",
    "sensitive",
    "title",
    "type",
    "uniqueItems",
    "unit",
    "writeOnly",
];
/// Keywords that move the base of references, need a resolver, or hold schemas in a form that only old drafts have.
const REFUSED: [&str; 9] = [
    "$anchor",
    "$dynamicAnchor",
    "$dynamicRef",
    "$id",
    "$recursiveAnchor",
    "$recursiveRef",
    "$vocabulary",
    "dependencies",
    "id",
];

/// A tool's `parameters`: a JSON Schema of an object, or the list form of the public templates, which is turned
/// into one.
pub(super) fn parameters(node: &Node<'_>) -> Option<Value> {
    let schema = match node.value() {
        Value::Array(_) => from_list(node)?,
        Value::Object(fields) => {
            if !matches!(fields.get("type"), None | Some(Value::String(_)))
                || fields.get("type").is_some_and(|t| t != "object")
            {
                node.report("arguments are always an object", r#"write "type": "object""#);
                return None;
            }
            node.value().clone()
        }
        _ => {
            node.report("this is not a JSON Schema", r#"write {"type": "object", "properties": {…}}"#);
            return None;
        }
    };
    check(&schema, node.path(), node.record()).then_some(schema)
}

/// Any schema (a tool's `returns`).
pub(super) fn any(node: &Node<'_>) -> Option<Value> {
    check(node.value(), node.path(), node.record()).then(|| node.value().clone())
}

fn from_list(node: &Node<'_>) -> Option<Value> {
    const TYPES: [(&str, &str); 6] = [
        ("array", "array"),
        ("boolean", "boolean"),
        ("integer", "integer"),
        ("number", "number"),
        ("object", "object"),
        ("string", "string"),
    ];
    let mut properties = Map::new();
    let mut required = Vec::new();
    for item in node.items(100)? {
        let object = item.object()?;
        let name = object.required("name", "name the parameter").and_then(|n| n.text(128));
        let kind = object.required("type", "give the parameter's JSON type").and_then(|n| n.word(&TYPES));
        let mut schema = Map::new();
        schema.insert("type".into(), kind?.into());
        for key in ["description", "default", "enum", "items", "format", "minimum", "maximum", "pattern"] {
            if let Some(value) = object.optional(key) {
                schema.insert(key.into(), value.value().clone());
            }
        }
        if object.optional("required").and_then(|n| n.boolean()) == Some(true) {
            required.push(name?);
        }
        if properties.insert(name?.to_owned(), Value::Object(schema)).is_some() {
            item.report("the parameter stands twice", "give each parameter its own name");
            return None;
        }
    }
    Some(json!({ "type": "object", "properties": properties, "required": required }))
}

fn check(schema: &Value, place: &str, record: &Record) -> bool {
    let size = schema.to_string().len();
    if size > MAX_BYTES {
        record.report(place, format!("the schema has {size} bytes"), format!("keep it within {MAX_BYTES}"));
        return false;
    }
    let mut walk = Walk { root: schema, record, sound: true };
    walk.schema(schema, place, 0);
    if !walk.sound {
        return false;
    }
    match Expansion::of(schema) {
        Ok(size) if size <= MAX_EXPANDED => true,
        Ok(_) => {
            record.report(
                place,
                "checking one value by it takes too many steps",
                "reference less, spell the parts out, and nest no unevaluatedProperties or unevaluatedItems",
            );
            false
        }
        Err(pointer) => {
            record.report(
                place,
                format!("the reference {} leads back to itself, or through too many others", quote(&pointer)),
                "remove the recursion; arguments of bounded depth need none",
            );
            false
        }
    }
}

/// Visits every schema (not the data in `enum`, `const`, `default` and `examples`) and checks its keywords.
struct Walk<'a> {
    root: &'a Value,
    record: &'a Record,
    sound: bool,
}

impl Walk<'_> {
    fn fail(&mut self, place: &str, problem: impl Into<String>, hint: &str) {
        self.record.report(place, problem, hint);
        self.sound = false;
    }

    fn schema(&mut self, schema: &Value, place: &str, depth: usize) {
        let fields = match schema {
            Value::Bool(_) => return,
            Value::Object(fields) => fields,
            _ => return self.fail(place, "this is not a schema", "write an object, true or false"),
        };
        if depth > MAX_DEPTH {
            return self.fail(place, format!("schemas are nested deeper than {MAX_DEPTH}"), "flatten the arguments");
        }
        for (key, value) in fields {
            let key = key.as_str();
            // The place names only what the author wrote as a keyword or a property name, cut short.
            let shown: String = key.chars().take(40).collect();
            let place = format!("{place}.{shown}");
            if REFUSED.contains(&key) {
                self.fail(&place, format!("{key} is not allowed"), "use $ref with a pointer such as #/$defs/name");
            } else if key == "$ref" {
                self.reference(value, &place);
            } else if key == "$schema" {
                self.dialect(value, &place);
            } else if key == "pattern" {
                self.pattern(value, &place);
            }
            // Whatever is not known may be compiled as a schema by some draft, and nobody would have looked at it.
            let holds = matches!(value, Value::Object(_) | Value::Array(_));
            if holds && !is_known(key) && !REFUSED.contains(&key) {
                self.fail(
                    &place,
                    format!("{} is not a keyword of JSON Schema", quote(key)),
                    "remove it, or name it x-…",
                );
            }
            self.nested(key, value, &place, depth + 1);
        }
    }

    fn nested(&mut self, key: &str, value: &Value, place: &str, depth: usize) {
        if key == "patternProperties" {
            for pattern in value.as_object().into_iter().flat_map(Map::keys) {
                self.pattern(&Value::String(pattern.clone()), place);
            }
        }
        for (step, schema) in schemas_under(key, value) {
            self.schema(schema, &format!("{place}{step}"), depth);
        }
        let shape = if NAMED.contains(&key) {
            value.is_object()
        } else if MANY.contains(&key) {
            value.is_array()
        } else if key == "required" {
            value.as_array().is_some_and(|names| names.iter().all(Value::is_string))
        } else {
            true
        };
        if !shape {
            self.fail(place, format!("{key} has the wrong shape"), "see json-schema.org for the keyword");
        }
    }

    fn reference(&mut self, value: &Value, place: &str) {
        // Only into the drawers of the root: a pointer into `enum` or `default` would turn data, which nobody
        // looked at, into a schema.
        let pointer = value.as_str().and_then(|text| text.strip_prefix('#'));
        let name = pointer.and_then(|p| p.strip_prefix("/$defs/").or_else(|| p.strip_prefix("/definitions/")));
        match (pointer, name) {
            (Some(pointer), Some(name)) if !name.contains('/') => {
                if self.root.pointer(pointer).is_none() {
                    self.fail(place, "the reference leads nowhere", "add the schema below $defs");
                }
            }
            _ => self.fail(
                place,
                "only references into the schema's own $defs are allowed",
                "copy the schema below $defs and point to it: #/$defs/name",
            ),
        }
    }

    fn dialect(&mut self, value: &Value, place: &str) {
        let known = value.as_str().is_some_and(|uri| {
            let rest = uri.strip_prefix("https://").or_else(|| uri.strip_prefix("http://"));
            rest.is_some_and(|rest| rest.starts_with("json-schema.org/"))
        });
        if !known {
            self.fail(place, "the dialect is not known", "write https://json-schema.org/draft/2020-12/schema");
        }
    }

    fn pattern(&mut self, value: &Value, place: &str) {
        let Some(text) = value.as_str() else {
            return self.fail(place, "a pattern is text", "write a regular expression");
        };
        if text.len() > MAX_PATTERN {
            return self.fail(place, format!("the pattern has {} bytes", text.len()), "keep it within 512 bytes");
        }
        if let Err(bad) = self.record.patterns.admit(text) {
            self.fail(place, bad.problem(&quote(text)), bad.hint());
        }
    }
}

fn is_known(key: &str) -> bool {
    key == "items"
        || key.starts_with("x-")
        || ONE.contains(&key)
        || MANY.contains(&key)
        || NAMED.contains(&key)
        || DATA.contains(&key)
}

/// The schemas directly below a keyword, each with the rest of its place.
fn schemas_under<'v>(key: &str, value: &'v Value) -> Vec<(String, &'v Value)> {
    let listed = |items: &'v Vec<Value>| {
        items.iter().enumerate().map(|(index, schema)| (format!("[{index}]"), schema)).collect()
    };
    match value {
        Value::Object(named) if NAMED.contains(&key) => named
            .iter()
            .map(|(name, schema)| (format!(".{}", name.chars().take(40).collect::<String>()), schema))
            .collect(),
        // `items` is a schema, or a list of them in older drafts.
        Value::Array(items) if MANY.contains(&key) || key == "items" => listed(items),
        _ if ONE.contains(&key) || key == "items" => vec![(String::new(), value)],
        _ => Vec::new(),
    }
}

/// Counts the schemas behind every reference; fails, with the pointer, on a cycle and on a long chain.
struct Expansion<'a> {
    root: &'a Value,
    /// References that are being followed.
    depth: usize,
    /// Size of what a pointer leads to; nothing while it is being measured.
    sizes: BTreeMap<&'a str, Option<u64>>,
}

impl<'a> Expansion<'a> {
    fn of(root: &'a Value) -> Result<u64, String> {
        Expansion { root, depth: 0, sizes: BTreeMap::new() }.size(root)
    }

    fn size(&mut self, schema: &'a Value) -> Result<u64, String> {
        let Value::Object(fields) = schema else { return Ok(1) };
        let again = match ["unevaluatedItems", "unevaluatedProperties"].iter().any(|key| fields.contains_key(*key)) {
            true => REVISITS,
            false => 1,
        };
        let mut size = 1_u64;
        for (key, value) in fields {
            // What only sits in a drawer costs nothing until it is referred to.
            let drawer = matches!(key.as_str(), "$defs" | "definitions");
            for (_, schema) in schemas_under(key, value) {
                let nested = self.size(schema)?;
                let visits = if IN_PLACE.contains(&key.as_str()) { again } else { 1 };
                size = size.saturating_add(if drawer { 0 } else { nested.saturating_mul(visits) });
            }
        }
        if let Some(pointer) = fields.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix('#')) {
            size = size.saturating_add(self.target(pointer)?.saturating_mul(again));
        }
        Ok(size)
    }

    fn target(&mut self, pointer: &'a str) -> Result<u64, String> {
        match self.sizes.get(pointer) {
            Some(Some(size)) => return Ok(*size),
            Some(None) => return Err(format!("#{pointer}")),
            None if self.depth == MAX_DEPTH => return Err(format!("#{pointer}")),
            None => {}
        }
        self.sizes.insert(pointer, None);
        self.depth += 1;
        let size = self.root.pointer(pointer).map_or(Ok(0), |schema| self.size(schema))?;
        self.depth -= 1;
        self.sizes.insert(pointer, Some(size));
        Ok(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(schema: &Value) -> Vec<String> {
        let record = Record::default();
        let sound = parameters(&Node::root(schema, &record)).is_some();
        let (violations, _) = record.into_parts();
        assert_eq!(sound, violations.is_empty(), "{schema}");
        violations.into_iter().map(|violation| violation.problem).collect()
    }

    #[test]
    fn attack_20_schemas_hide_nowhere() {
        let mut bomb = serde_json::Map::new();
        bomb.insert("x".into(), json!({"$ref": "#/dependencies/a0"}));
        for level in 0..40 {
            let next = format!("#/dependencies/a{}", level + 1);
            bomb.insert(format!("a{level}"), json!({"allOf": [{"$ref": next.clone()}, {"$ref": next}]}));
        }
        for schema in [
            json!({"dependencies": bomb}),
            json!({"dependencies": {"a": {"pattern": "(?=(a+)+b)\\1"}}}),
            json!({"$schema": "http://json-schema.org/draft-04/schema#", "id": "https://elsewhere.example/"}),
            json!({"unheardOf": {"allOf": [{"pattern": "(?=x)"}]}}),
            json!({"unheardOf": [{"pattern": "(?=x)"}]}),
        ] {
            assert!(!problems(&schema).is_empty(), "{schema}");
        }
        let doubled = |levels: usize| {
            let mut drawer = serde_json::Map::new();
            for level in 0..levels {
                let next = format!("#/$defs/a{}", level + 1);
                drawer.insert(format!("a{level}"), json!({"allOf": [{"$ref": next.clone()}, {"$ref": next}]}));
            }
            drawer.insert(format!("a{levels}"), json!({"type": "string"}));
            json!({"$defs": drawer, "properties": {"x": {"$ref": "#/$defs/a0"}}})
        };
        assert_eq!(problems(&doubled(4)), Vec::<String>::new());
        assert!(!problems(&doubled(12)).is_empty());
    }

    #[test]
    fn sound_schemas_pass() {
        for schema in [
            json!({}),
            json!({"type": "object"}),
            json!({"type": "object", "properties": {"a": {"type": "string", "pattern": "^[a-z]+$"}}, "required": ["a"]}),
            json!({"type": "object", "properties": {"$ref": {"type": "string"}, "pattern": {"type": "string"}}}),
            json!({"type": "object", "properties": {"a": {"enum": [{"$ref": "https://x"}]}}}),
            json!({"$defs": {"id": {"type": "integer"}}, "properties": {"a": {"$ref": "#/$defs/id"}}}),
            json!({"$schema": "https://json-schema.org/draft/2020-12/schema"}),
        ] {
            assert_eq!(problems(&schema), Vec::<String>::new(), "{schema}");
        }
    }

    #[test]
    fn unsound_schemas_are_refused() {
        let check = |schema: Value, part: &str| {
            let problems = problems(&schema);
            assert!(problems.iter().any(|problem| problem.contains(part)), "{schema}: {problems:?}");
        };
        check(json!("object"), "not a JSON Schema");
        check(json!({"type": "string"}), "always an object");
        check(json!({"type": ["object", "null"]}), "always an object");
        check(json!({"properties": {"a": {"$ref": "https://example.com/schema"}}}), "only references into");
        check(json!({"properties": {"a": {"$ref": "file:///etc/passwd"}}}), "only references into");
        check(json!({"properties": {"a": {"$ref": "#"}}}), "only references into");
        check(json!({"properties": {"a": {"$ref": "#/$defs/b"}}}), "leads nowhere");
        check(json!({"$id": "https://example.com/"}), "not allowed");
        check(json!({"$schema": "https://example.com/schema"}), "dialect");
        check(json!({"properties": {"a": 1}}), "not a schema");
        check(json!({"properties": []}), "wrong shape");
        check(json!({"required": "a"}), "wrong shape");
        check(json!({"properties": {"a": {"pattern": "(?=x)y"}}}), "linear time");
        check(json!({"patternProperties": {"(a{999}){999}": true}}), "linear time");
        check(json!({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"not": {"$ref": "#/$defs/a"}}}}), "back to itself");
        check(json!({"$defs": {"a": {"properties": {"x": {"$ref": "#/$defs/a"}}}}}), "back to itself");
        check(
            json!({"properties": {"a": {"enum": [{"$ref": "https://x"}]}, "b": {"$ref": "#/properties/a/enum/0"}}}),
            "only references into",
        );
        let chain: Map<_, _> =
            (0..50).map(|n| (format!("d{n}"), json!({"$ref": format!("#/$defs/d{}", (n + 1).min(50))}))).collect();
        let mut chain = json!({ "$defs": chain });
        chain["$defs"]["d50"] = json!(true);
        check(chain, "too many others");
        let mut deep = json!({});
        for _ in 0..40 {
            deep = json!({ "not": deep });
        }
        check(deep, "nested deeper");
        check(json!({"description": "x".repeat(MAX_BYTES)}), "bytes");
    }

    #[test]
    fn references_that_multiply_are_refused() {
        let mut defs = Map::new();
        defs.insert("d0".into(), json!({"type": "string"}));
        for level in 1..20 {
            let below = format!("#/$defs/d{}", level - 1);
            defs.insert(format!("d{level}"), json!({"allOf": [{"$ref": below}, {"$ref": below}]}));
        }
        let schema = json!({"$defs": defs, "properties": {"a": {"$ref": "#/$defs/d19"}}});
        assert!(problems(&schema)[0].contains("too many"));
    }

    /// Checking an object of one field by 18 such levels took minutes.
    #[test]
    fn attack_20_what_is_visited_again_and_again_is_refused() {
        let nested = |levels: usize, around: &dyn Fn(Value) -> Value| {
            (0..levels).fold(json!({"properties": {"z": true}}), |inner, _| around(inner))
        };
        let arounds: [&dyn Fn(Value) -> Value; 5] = [
            &|inner| json!({"anyOf": [inner], "unevaluatedProperties": false}),
            &|inner| json!({"allOf": [inner], "unevaluatedProperties": {"type": "number"}}),
            &|inner| json!({"oneOf": [inner, {"required": ["q"]}], "unevaluatedItems": false}),
            &|inner| json!({"if": inner, "unevaluatedProperties": false}),
            &|inner| json!({"dependentSchemas": {"a": inner}, "unevaluatedProperties": false}),
        ];
        for around in arounds {
            assert_eq!(problems(&nested(3, around)), Vec::<String>::new());
            assert!(problems(&nested(12, around))[0].contains("too many"));
        }
        // Level by level behind references, too.
        let mut drawer = Map::new();
        drawer.insert("a0".into(), json!({"properties": {"z": true}}));
        for level in 1..12 {
            let below = format!("#/$defs/a{}", level - 1);
            drawer.insert(format!("a{level}"), json!({"$ref": below, "unevaluatedProperties": false}));
        }
        assert!(problems(&json!({"$defs": drawer, "$ref": "#/$defs/a11"}))[0].contains("too many"));
        // Below a property there is another value, and nothing is visited twice.
        let flat = |inner: Value| json!({"properties": {"a": inner}, "unevaluatedProperties": false});
        assert_eq!(problems(&nested(12, &flat)), Vec::<String>::new());
    }

    #[test]
    fn the_list_form_of_the_templates_becomes_a_schema() {
        let record = Record::default();
        let list = json!([
            {"name": "name", "type": "string", "description": "Who.", "required": true},
            {"name": "times", "type": "integer", "required": false},
        ]);
        assert_eq!(
            parameters(&Node::root(&list, &record)),
            Some(json!({
                "type": "object",
                "properties": {"name": {"type": "string", "description": "Who."}, "times": {"type": "integer"}},
                "required": ["name"],
            }))
        );
    }
}
