//! The description of the API: what the routes declare, and what the kinds of sources add to it.

use crate::api::IDEMPOTENCY_KEY;
use crate::domain::source::WEBHOOKS;
use crate::sources::{KINDS, Kind};
use crate::{api, ingest};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use utoipa::OpenApi as _;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{Object, Type};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{
    Content, ContentBuilder, ObjectBuilder, OpenApi, Ref, RefOr, Required, ResponseBuilder, Schema, Server,
};

/// Where the schemas are.
const SCHEMAS: &str = "#/components/schemas/";

/// The problems of a webhook, whose codes may also be the checks of its source.
const WEBHOOK_PROBLEM: &str = "WebhookProblem";

/// The description of the API: the routes that every command has.
pub fn openapi() -> OpenApi {
    of_kinds(KINDS)
}

/// The same with these kinds of sources. The examples are those of the first one.
fn of_kinds(kinds: &[Kind]) -> OpenApi {
    let mut description = api::Description::openapi();
    description.merge(ingest::routes().into_openapi());
    description.merge(api::protected().into_openapi());
    description.merge(api::open().into_openapi());
    description.merge(api::metrics().into_openapi());
    if let Some(kind) = kinds.first() {
        add_examples(&mut description, kind);
    }
    describe_webhook(&mut description, kinds);
    describe_idempotency(&mut description);
    complete(&mut description);
    description
}

/// Marks every property of a response as required, since the service sends all of them: null, if it has no value.
/// States of every operation whether it requires a key.
pub(super) fn complete(description: &mut OpenApi) {
    state_security(description);
    let Ok(Value::Object(whole)) = serde_json::to_value(&*description) else { return };
    let schemas = whole.get("components").and_then(|components| components.get("schemas"));
    let Some(Value::Object(schemas)) = schemas else { return };
    let references: BTreeMap<_, _> =
        schemas.iter().map(|(name, schema)| (name.as_str(), references_of(schema))).collect();
    let operations: Vec<_> = whole
        .get("paths")
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(|paths| paths.values().filter_map(Value::as_object).flat_map(|path| path.values()))
        .collect();
    let named = |part: &str| {
        let mut found: BTreeSet<String> = BTreeSet::new();
        let mut next: Vec<String> =
            operations.iter().filter_map(|operation| operation.get(part)).flat_map(references_of).collect();
        while let Some(name) = next.pop() {
            next.extend(references.get(name.as_str()).into_iter().flatten().cloned());
            if !found.insert(name) {
                next.retain(|name| !found.contains(name));
            }
        }
        found
    };
    let (sent, received) = (named("responses"), named("requestBody"));
    for (name, schema) in description.components.iter_mut().flat_map(|components| &mut components.schemas) {
        if sent.contains(name)
            && !received.contains(name)
            && let RefOr::T(schema) = schema
        {
            require_properties(schema);
        }
    }
}

fn state_security(description: &mut OpenApi) {
    let by_default = description.security.clone();
    let operations =
        description.paths.paths.values_mut().flat_map(|path| {
            [&mut path.get, &mut path.post, &mut path.put, &mut path.patch, &mut path.delete]
        });
    for operation in operations.flatten() {
        match &operation.security {
            None => operation.security.clone_from(&by_default),
            // What the routes write for "without a key" means "with or without one".
            Some(security) if *security == [SecurityRequirement::default()] => {
                operation.security = Some(Vec::new());
            }
            Some(_) => {}
        }
    }
}

/// The names of the schemas to which a part of the description refers.
fn references_of(part: &Value) -> Vec<String> {
    match part {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(name, value)| match value.as_str().filter(|_| name == "$ref") {
                Some(reference) => reference.strip_prefix(SCHEMAS).map(str::to_owned).into_iter().collect(),
                None => references_of(value),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(references_of).collect(),
        _ => Vec::new(),
    }
}

fn require_properties(schema: &mut Schema) {
    match schema {
        Schema::Object(object) => object.required = object.properties.keys().cloned().collect(),
        Schema::AllOf(all) => {
            for part in &mut all.items {
                if let RefOr::T(part) = part {
                    require_properties(part);
                }
            }
        }
        _ => {}
    }
}

/// The base address in the description.
pub(super) fn server(path: &str) -> Server {
    let mut server = Server::new(path);
    server.description = Some("This service".to_owned());
    server
}

/// Gives an example to each property that only a sender can exemplify.
fn add_examples(description: &mut OpenApi, kind: &Kind) {
    let examples =
        [("source", kind.name), ("event_id", kind.examples.event_id), ("type", kind.examples.event_type)];
    for schema in description.components.iter_mut().flat_map(|components| components.schemas.values_mut()) {
        let RefOr::T(Schema::Object(schema)) = schema else { continue };
        // A problem's `type` is not the type of an event.
        let has_event = schema.properties.contains_key("event_id");
        for (name, example) in examples {
            let is_meant = !example.is_empty() && (name != "type" || has_event);
            if let Some(RefOr::T(Schema::Object(property))) = schema.properties.get_mut(name)
                && is_meant
            {
                property.example = Some(example.into());
            }
        }
    }
}

/// Completes the webhook's operation: an example of its path, and the headers that carry a signature.
fn describe_webhook(description: &mut OpenApi, kinds: &[Kind]) {
    add_webhook_problem(description);
    let webhook = description.paths.paths.get_mut("/api/v1/webhooks/{source}");
    let Some(operation) = webhook.and_then(|path| path.post.as_mut()) else { return };
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(response) = response
            && let Some(content) = response.content.get_mut("application/problem+json")
        {
            *content = RefOr::T(Content::new(Some(Ref::from_schema_name(WEBHOOK_PROBLEM))));
        }
    }
    let parameters = operation.parameters.get_or_insert_default();
    for parameter in parameters.iter_mut() {
        if let RefOr::T(source) = parameter {
            let example = kinds.first().map(|kind| kind.name.into());
            *source = ParameterBuilder::from(std::mem::take(source)).example(example).build();
        }
    }
    for kind in kinds {
        let Some(header) = kind.signature_header else { continue };
        let meaning =
            format!("The signature of {}; a source of the kind {} requires it", kind.sender, kind.name);
        let parameter = ParameterBuilder::new()
            .name(header)
            .parameter_in(ParameterIn::Header)
            .description(Some(meaning))
            .required(Required::False)
            .schema(Some(Object::with_type(Type::String)));
        parameters.push(RefOr::T(parameter.build()));
    }
}

/// Adds the header `Idempotency-Key` to every operation that changes something, except for webhooks, which have
/// keys of their own: the ids of their events. Operations that have it already are left as they are.
pub(super) fn describe_idempotency(description: &mut OpenApi) {
    let problem = || Ref::from_schema_name("Problem");
    let response = |text: &str| {
        let content = ContentBuilder::new().schema(Some(problem())).build();
        ResponseBuilder::new().description(text).content("application/problem+json", content).build()
    };
    for (path, item) in &mut description.paths.paths {
        if path.starts_with(WEBHOOKS) {
            continue;
        }
        for operation in
            [&mut item.post, &mut item.put, &mut item.patch, &mut item.delete].into_iter().flatten()
        {
            let parameters = operation.parameters.get_or_insert_default();
            let is_key =
                |known: &RefOr<Parameter>| matches!(known, RefOr::T(known) if known.name == IDEMPOTENCY_KEY);
            if parameters.iter().any(is_key) {
                continue;
            }
            let key = ParameterBuilder::new()
                .name(IDEMPOTENCY_KEY)
                .parameter_in(ParameterIn::Header)
                .description(Some(
                    "Makes the request safe to repeat: for 24 hours, a repetition with the same key gets the first response of success, with the header Idempotent-Replayed: true, and changes nothing. A refused request gives its key back.",
                ))
                .required(Required::False)
                .schema(Some(
                    ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(255)),
                ));
            parameters.push(RefOr::T(key.build()));
            let has_body = operation.request_body.is_some();
            let too_large = ("413", "The body of a request with an Idempotency-Key has more than 64 KiB");
            let responses = &mut operation.responses.responses;
            for (status, text) in [
                ("400", "The Idempotency-Key cannot be read, or belongs to another request"),
                ("409", "A request with this Idempotency-Key is being processed"),
            ]
            .into_iter()
            .chain(has_body.then_some(too_large))
            {
                match responses.get_mut(status) {
                    Some(RefOr::T(known)) => {
                        known.description.push_str("; or: ");
                        known.description.push_str(text);
                    }
                    Some(RefOr::Ref(_)) => {}
                    None => {
                        responses.insert(status.to_owned(), RefOr::T(response(text)));
                    }
                }
            }
        }
    }
}

/// A problem whose code is open: a source names the check that a webhook failed.
fn add_webhook_problem(description: &mut OpenApi) {
    let Some(components) = &mut description.components else { return };
    let Some(RefOr::T(Schema::Object(problem))) = components.schemas.get("Problem") else { return };
    let mut problem = problem.clone();
    problem.description = Some(
        "A problem document (RFC 9457) in answer to a webhook. A source that rejects one names the failed check \
         as the code."
            .to_owned(),
    );
    let mut code = Object::with_type(Type::String);
    code.description = Some("A code of a problem, or the check that the webhook failed.".to_owned());
    code.example = Some("signature_no_match".into());
    problem.properties.insert("code".to_owned(), RefOr::T(Schema::Object(code)));
    components.schemas.insert(WEBHOOK_PROBLEM.to_owned(), RefOr::T(Schema::Object(problem)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::source::Examples;
    use serde_json::{Value, json};

    const TEA: Kind = Kind {
        signature_header: Some("Tea-Signature"),
        examples: Examples { event_id: "t-1", event_type: "tea.brewed", ..Examples::NONE },
        ..Kind::new("tea", "Tea", |_reader, _name| unreachable!("it is not configured"))
    };

    fn described(kinds: &[Kind]) -> Value {
        serde_json::to_value(of_kinds(kinds)).expect("JSON")
    }

    #[test]
    fn the_examples_are_those_of_the_first_kind() {
        let described = described(&[TEA, crate::sources::stripe::KIND]);
        let properties = &described["components"]["schemas"]["Event"]["properties"];
        for (property, example) in [("source", "tea"), ("event_id", "t-1"), ("type", "tea.brewed")] {
            assert_eq!(properties[property]["example"], example, "{property}");
        }
        let problem = &described["components"]["schemas"]["Problem"]["properties"];
        assert_eq!(problem["type"]["example"], "urn:eventbridge:problem:bad_request");
        let parameters = &described["paths"]["/api/v1/webhooks/{source}"]["post"]["parameters"];
        assert_eq!(parameters[0]["example"], "tea");
    }

    #[test]
    fn every_change_but_a_webhook_accepts_an_idempotency_key() {
        let described = described(&[TEA]);
        let mut changes = 0;
        for (path, item) in described["paths"].as_object().expect("paths") {
            for (method, operation) in item.as_object().expect("operations") {
                let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
                let has_key = parameters.iter().any(|parameter| parameter["name"] == IDEMPOTENCY_KEY);
                let is_change = method != "get" && !path.starts_with(WEBHOOKS);
                assert_eq!(has_key, is_change, "{method} {path}");
                assert!(!is_change || operation["responses"]["409"].is_object(), "{method} {path}");
                changes += usize::from(is_change);
            }
        }
        assert!(changes > 6, "only {changes} operations change something");
    }

    #[test]
    fn the_webhook_has_the_signature_headers_of_all_kinds() {
        let described = described(&[TEA, crate::sources::stripe::KIND]);
        let parameters = described["paths"]["/api/v1/webhooks/{source}"]["post"]["parameters"].clone();
        let parameters = parameters.as_array().expect("parameters").iter();
        let headers: Vec<_> = parameters.filter(|parameter| parameter["in"] == "header").collect();
        let names: Vec<_> = headers.iter().map(|header| &header["name"]).collect();
        assert_eq!(names, [&json!("Tea-Signature"), &json!("Stripe-Signature")]);
        assert!(headers.iter().all(|header| header["required"] == false), "{headers:?}");
    }

    #[test]
    fn every_field_of_an_answer_is_required_and_an_optional_field_of_a_request_is_not() {
        let mut described = described(&[TEA]);
        let schemas = described["components"]["schemas"].take();
        let names = |value: &Value| -> BTreeSet<String> {
            let words = value.as_array().into_iter().flatten();
            words.map(|word| word.as_str().expect("a name").to_owned()).collect()
        };
        for sent in ["Event", "Execution", "Problem", "WebhookProblem", "DestinationPause", "TimeWindow"] {
            let properties = schemas[sent]["properties"].as_object().expect(sent);
            assert_eq!(names(&schemas[sent]["required"]), properties.keys().cloned().collect(), "{sent}");
        }
        let own = &schemas["EventDetail"]["allOf"][1];
        assert_eq!(
            names(&own["required"]),
            ["executions", "payload", "payload_removal"].map(str::to_owned).into()
        );
        assert_eq!(schemas["Execution"]["properties"]["remote_id"]["type"], json!(["string", "null"]));
    }

    #[test]
    fn a_field_that_is_sent_and_received_stays_as_declared() {
        let mut description = of_kinds(&[TEA]);
        let components = description.components.as_mut().expect("components");
        let RefOr::T(Schema::Object(request)) =
            components.schemas.get_mut("PauseRequest").expect("a request")
        else {
            panic!("no object")
        };
        request.properties.insert("until".to_owned(), RefOr::T(Schema::Object(Object::new())));
        complete(&mut description);
        let described = serde_json::to_value(description).expect("JSON");
        assert_eq!(described["components"]["schemas"]["PauseRequest"]["required"], json!(["note"]));
    }

    #[test]
    fn every_operation_states_whether_it_requires_a_key() {
        let described = described(&[TEA]);
        let security = |path: &str, method: &str| described["paths"][path][method]["security"].clone();
        assert_eq!(security("/api/v1/events", "get"), json!([{"key": []}]));
        for open in ["/api/v1/health", "/livez", "/readyz"] {
            assert_eq!(security(open, "get"), json!([]), "{open}");
        }
        assert_eq!(security("/api/v1/webhooks/{source}", "post"), json!([]));
        assert_eq!(described["servers"][0]["url"], "/");
    }
}
