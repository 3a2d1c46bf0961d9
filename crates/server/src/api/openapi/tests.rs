use std::collections::BTreeSet;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use super::*;
use crate::api::{for_back_ends, for_pages};

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// The API of a server with this in its configuration.
fn api(more: &str) -> Router {
    let text = format!("[auth]\nhs256 = \"{KEY}\"\n{more}\n[api]\nkey = \"{KEY}\"\n");
    let config = Config::of_text(&text).unwrap();
    let (_, api, _) = crate::setup::server(&config, None, None).unwrap();
    crate::api::routes(&api)
}

async fn ask(api: &Router, request: axum::http::request::Builder, body: &str) -> Response {
    let request = request.body(Body::from(body.to_owned())).unwrap();
    api.clone().oneshot(request).await.unwrap()
}

async fn served(api: &Router) -> Value {
    let response = ask(api, Request::get(PATH), "").await;
    assert_eq!(response.status(), 200);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&body).unwrap()
}

#[tokio::test]
async fn every_route_is_in_the_document_and_nothing_else() {
    let api = api("");
    let document = served(&api).await;
    let paths = document["paths"].as_object().unwrap();
    let described: BTreeSet<&str> = paths.keys().map(String::as_str).collect();
    let endpoints = for_pages().into_iter().chain(for_back_ends());
    let routes: BTreeSet<&str> = endpoints.map(|(path, _)| path).collect();
    assert_eq!(described, routes);

    for (path, item) in paths {
        let segments = path.split('/').map(|segment| match segment.strip_prefix('{') {
            Some(_) => "x",
            None => segment,
        });
        let uri = segments.collect::<Vec<_>>().join("/");
        let request = Request::builder().method(Method::from_bytes(b"PROPFIND").unwrap());
        let response = ask(&api, request.uri(uri), "").await;
        assert_eq!(response.status(), 405, "{path}");
        let allow = response.headers()[header::ALLOW].to_str().unwrap();
        // Whoever knows GET knows HEAD.
        let known: BTreeSet<String> = allow
            .split(',')
            .filter(|method| *method != "HEAD")
            .map(str::to_lowercase)
            .collect();
        let item = item.as_object().unwrap();
        let described: BTreeSet<String> = item.keys().filter(|key| *key != "parameters").cloned().collect();
        assert_eq!(described, known, "{path}");
    }
}

#[tokio::test]
async fn the_limits_that_the_library_keeps_to_itself_are_its_own() {
    let reserved = schemas::RESERVED.into_iter().chain(["tidings:x"]);
    for name in reserved {
        assert!(tidings::check_event_name(name).is_err(), "{name}");
    }
    let api = api("");
    for (bytes, status) in [(schemas::KEY_BYTES_MAX, 200), (schemas::KEY_BYTES_MAX + 1, 400)] {
        let request = Request::post("/api/v1/publish").header(header::AUTHORIZATION, format!("Bearer {KEY}"));
        let body = json!({ "channel": "room:1", "event": "e", "key": "k".repeat(bytes) }).to_string();
        assert_eq!(ask(&api, request, &body).await.status(), status, "{bytes}");
    }
}

#[tokio::test]
async fn it_tells_what_the_configuration_says() {
    let plain = served(&api("")).await;
    let history = |document: &Value| document["paths"]["/api/v1/channels/{channel}/history"]["get"].clone();
    assert_eq!(history(&plain)["security"].as_array().unwrap().len(), 3);
    let more = served(&api(
        "anonymous = true\ncookie = \"sid\"\n[limits]\nmessage_bytes = 12345",
    ))
    .await;
    let security = history(&more)["security"].as_array().unwrap().clone();
    assert!(security.contains(&json!({})) && security.contains(&json!({ "userTokenInCookie": [] })));
    assert_eq!(
        more["components"]["securitySchemes"]["userTokenInCookie"]["name"],
        "sid"
    );
    let event = more["components"]["schemas"]["EventToOne"]["description"]
        .as_str()
        .unwrap();
    assert!(event.contains("12345"), "{event}");
}

#[tokio::test]
async fn it_follows_the_configuration() {
    let config = |more: &str| {
        let text = format!("[auth]\nhs256 = \"{KEY}\"\n{more}\n[api]\nkey = \"{KEY}\"\n");
        Config::of_text(&text).unwrap()
    };
    let (_, api, _) = crate::setup::server(&config(""), None, None).unwrap();
    let routes = crate::api::routes(&api);
    let tag = async || ask(&routes, Request::get(PATH), "").await.headers()[header::ETAG].clone();
    let before = tag().await;
    api.follow(&config("anonymous = true"));
    assert_ne!(tag().await, before);
    api.follow(&config(""));
    assert_eq!(tag().await, before);
}

#[tokio::test]
async fn who_has_it_is_not_sent_it_again() {
    let api = api("");
    let first = ask(&api, Request::get(PATH), "").await;
    assert_eq!(first.headers()[header::CONTENT_TYPE], "application/json");
    let tag = first.headers()[header::ETAG].to_str().unwrap();
    for (known, status) in [
        (tag.to_owned(), 304),
        (format!("\"x\", W/{tag}"), 304),
        ("*".to_owned(), 304),
        ("\"x\"".to_owned(), 200),
    ] {
        let request = Request::get(PATH).header(header::IF_NONE_MATCH, &known);
        let response = ask(&api, request, "").await;
        assert_eq!(response.status(), status, "{known}");
        assert_eq!(response.headers()[header::ETAG], tag);
    }
    assert_eq!(ask(&api, Request::post(PATH), "").await.status(), 405);
}
