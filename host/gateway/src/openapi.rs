//! The OpenAPI document, made from the table of routes: what is served is what is described.

use crate::admission::Access;
use crate::routes::{Answer, Described, Route, Verb};
use crate::wire::ProblemBody;
use bytes::Bytes;
use std::collections::BTreeMap;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ComponentsBuilder, Object, Schema, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    InfoBuilder, OpenApiBuilder, PathItem, PathsBuilder, Ref, RefOr, Required, ResponseBuilder, ResponsesBuilder,
};

/// The name of the one way to authenticate.
const KEY: &str = "api_key";

/// The document for these routes, as JSON.
pub(crate) fn document(routes: &[Route]) -> Bytes {
    let problem = Described::of::<ProblemBody>();
    let mut schemas = BTreeMap::new();
    let mut paths = PathsBuilder::new();
    remember(&mut schemas, &problem);
    for route in routes {
        let mut operation = OperationBuilder::new()
            .summary(Some(route.summary))
            .description(Some(access(route.access)))
            .operation_id(Some(operation_id(route)))
            .tag(tag(route.path));
        for name in in_path(route.path) {
            operation = operation.parameter(
                ParameterBuilder::new()
                    .name(name)
                    .parameter_in(ParameterIn::Path)
                    .required(Required::True)
                    .schema(Some(Object::with_type(Type::String))),
            );
        }
        for (name, words) in route.queries {
            operation = operation.parameter(
                ParameterBuilder::new()
                    .name(*name)
                    .parameter_in(ParameterIn::Query)
                    .required(Required::False)
                    .description(Some(*words))
                    .schema(Some(Object::with_type(Type::String))),
            );
        }
        if let Some(body) = &route.takes {
            remember(&mut schemas, body);
            let content = ContentBuilder::new().schema(Some(reference(body))).build();
            let body = RequestBodyBuilder::new().content("application/json", content).required(Some(Required::True));
            operation = operation.request_body(Some(body.build()));
        }
        let mut responses = ResponsesBuilder::new();
        for (status, answer) in &route.answers {
            let mut response = ResponseBuilder::new().description(words(*status));
            match answer {
                Answer::Json(body) => {
                    remember(&mut schemas, body);
                    let content = ContentBuilder::new().schema(Some(reference(body))).build();
                    response = response.content("application/json", content);
                }
                Answer::Raw(media_type) => {
                    let content = ContentBuilder::new().schema(Some(Object::with_type(Type::String))).build();
                    response = response.content(*media_type, content);
                }
                Answer::Nothing => {}
            }
            responses = responses.response(status.to_string(), response.build());
        }
        let content = ContentBuilder::new().schema(Some(reference(&problem))).build();
        let failed = ResponseBuilder::new().description("A problem.").content("application/problem+json", content);
        operation = operation.responses(responses.response("default", failed.build()).build());
        if matches!(route.access, Access::Roles(_)) {
            operation = operation.security(SecurityRequirement::new::<_, [String; 0], String>(KEY, []));
        }
        paths = paths.path(route.path, PathItem::new(method(route.verb), operation.build()));
    }
    let mut components =
        ComponentsBuilder::new().security_scheme(KEY, SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    for (name, schema) in schemas {
        components = components.schema(name, schema);
    }
    let info = InfoBuilder::new()
        .title("Sophon Host")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("Tools for agents, run in a sandbox. Errors are RFC 9457 problems."));
    let document =
        OpenApiBuilder::new().info(info.build()).paths(paths.build()).components(Some(components.build())).build();
    // Serialising plain data to memory does not fail; an empty document would be seen by the test below.
    document.to_json().unwrap_or_default().into()
}

fn remember(schemas: &mut BTreeMap<String, RefOr<Schema>>, described: &Described) {
    schemas.insert(described.name.clone(), described.schema.clone());
    schemas.extend(described.needs.iter().cloned());
}

fn reference(described: &Described) -> RefOr<Schema> {
    RefOr::Ref(Ref::from_schema_name(&described.name))
}

fn in_path(path: &'static str) -> impl Iterator<Item = &'static str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

fn method(verb: Verb) -> HttpMethod {
    match verb {
        Verb::Get => HttpMethod::Get,
        Verb::Post => HttpMethod::Post,
        Verb::Put => HttpMethod::Put,
        Verb::Delete => HttpMethod::Delete,
    }
}

fn operation_id(route: &Route) -> String {
    let words = route.path.split(['/', '.', '-']).filter(|part| !part.is_empty() && *part != "v1");
    let words: Vec<_> = words.map(|part| part.trim_matches(['{', '}'])).collect();
    format!("{}_{}", route.verb.as_str().to_lowercase(), words.join("_"))
}

fn tag(path: &'static str) -> &'static str {
    match path.strip_prefix("/v1/").and_then(|rest| rest.split('/').next()) {
        Some(subject) => subject,
        None => "operations",
    }
}

fn access(access: Access) -> String {
    match access {
        Access::Exempt | Access::Public => "No key needed.".to_owned(),
        Access::Roles(roles) => {
            let names: Vec<_> = roles.iter().map(|role| role.as_str()).collect();
            format!("For keys with the role {}.", names.join(" or "))
        }
    }
}

fn words(status: u16) -> &'static str {
    match status {
        201 => "Made.",
        202 => "Not over yet: ask again.",
        204 => "Done.",
        _ => "The answer.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes;
    use serde_json::Value;

    #[test]
    fn every_route_is_described_and_every_reference_leads_somewhere() {
        let routes = routes::table();
        let text = document(&routes);
        let document: Value = serde_json::from_slice(&text).unwrap();
        for route in &routes {
            let operation = &document["paths"][route.path][route.verb.as_str().to_lowercase()];
            assert!(operation.is_object(), "{} {}", route.verb.as_str(), route.path);
            assert!(operation["responses"]["default"].is_object(), "{operation}");
            let secured = operation["security"].is_array();
            assert_eq!(secured, matches!(route.access, Access::Roles(_)), "{}", route.path);
        }
        let text = String::from_utf8(text.to_vec()).unwrap();
        for reference in text.split("\"$ref\":\"#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(document["components"]["schemas"][name].is_object(), "{name} is not described");
        }
    }
}
