//! The served client: the npm package's browser builds at `/socket.io/socket.io.js` and its variants.
//!
//! Files are embedded, compressed on first use and kept; `tests/assets/check.sh` holds them to the npm package.
//! Relies on the caller for the method (405), for CORS, and for `serve_client(false)`.

use std::io::Write as _;
use std::sync::OnceLock;

use axum::body::Body;
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};

/// What npm's server sends: browsers may keep a copy, and ask each time whether it is current.
const CACHE: HeaderValue = HeaderValue::from_static("public, max-age=0");
const JAVASCRIPT: HeaderValue = HeaderValue::from_static("application/javascript; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

struct ClientFile {
    name: &'static str,
    content: &'static [u8],
    etag: OnceLock<Option<HeaderValue>>,
    gzip: OnceLock<Option<Bytes>>,
}

macro_rules! client_files {
    ($($name:literal),+ $(,)?) => {
        [$(ClientFile {
            name: $name,
            content: include_bytes!(concat!("../assets/socket.io-client/", $name)),
            etag: OnceLock::new(),
            gzip: OnceLock::new(),
        }),+]
    };
}

static FILES: [ClientFile; 8] = client_files![
    "socket.io.js",
    "socket.io.js.map",
    "socket.io.min.js",
    "socket.io.min.js.map",
    "socket.io.esm.min.js",
    "socket.io.esm.min.js.map",
    "socket.io.msgpack.min.js",
    "socket.io.msgpack.min.js.map",
];

/// Answers GET/HEAD of `/socket.io/<name>` for the vendored client; `None` when the name is none of them.
///
/// `If-None-Match` is answered with 304, and `Accept-Encoding` with gzip where the client prefers it.
pub(crate) fn respond(method: &Method, name: &str, headers: &HeaderMap) -> Option<Response<Body>> {
    let file = FILES.iter().find(|file| file.name == name)?;

    // RFC 9110, section 15.4.5: a 304 carries the caching fields of the 200 it stands for.
    let mut response = Response::new(Body::empty());
    response.headers_mut().insert(CACHE_CONTROL, CACHE);
    response.headers_mut().insert(VARY, HeaderValue::from(ACCEPT_ENCODING));
    if let Some(etag) = file.etag() {
        response.headers_mut().insert(ETAG, etag.clone());
        if matches_etag(headers, etag) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return Some(response);
        }
    }

    let compressed = if prefers_gzip(headers) { file.gzip() } else { None };
    if compressed.is_some() {
        response
            .headers_mut()
            .insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    let content = compressed.unwrap_or(Bytes::from_static(file.content));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, if name.ends_with(".map") { JSON } else { JAVASCRIPT });
    // Set for HEAD too, where it says what GET would send (RFC 9110, section 8.6).
    response
        .headers_mut()
        .insert(CONTENT_LENGTH, HeaderValue::from(content.len()));
    if *method != Method::HEAD {
        *response.body_mut() = Body::from(content);
    }
    Some(response)
}

impl ClientFile {
    /// Weak, because the gzip and the plain form share it (RFC 9110, section 8.8.3.3). npm's server sends the
    /// package's version instead, which would stay the same if a file were patched.
    fn etag(&self) -> Option<&HeaderValue> {
        let value = || HeaderValue::try_from(format!("W/\"{:016x}\"", fnv1a(self.content))).ok();
        self.etag.get_or_init(value).as_ref()
    }

    fn gzip(&self) -> Option<Bytes> {
        self.gzip.get_or_init(|| compress(self.content).ok()).clone()
    }
}

fn compress(content: &[u8]) -> std::io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(content.len() / 3), Compression::best());
    encoder.write_all(content)?;
    let mut compressed = encoder.finish()?;
    compressed.shrink_to_fit();
    Ok(Bytes::from(compressed))
}

/// FNV-1a, 64 bits: the same in every build and process, so that an `ETag` outlives a restart. It guards against
/// accidents only; nobody but us chooses the content.
fn fnv1a(content: &[u8]) -> u64 {
    content.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The values of a list field over all of its lines, split at commas (RFC 9110, section 5.6.1).
fn list<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    let lines = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    lines
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .filter(|value| !value.is_empty())
}

/// Whether `If-None-Match` names `etag`, by weak comparison (RFC 9110, section 13.1.2).
///
/// Splitting at commas is safe: our tag has none, so a foreign one that has is no match either way.
fn matches_etag(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    fn opaque(tag: &str) -> &str {
        tag.strip_prefix("W/").unwrap_or(tag)
    }
    let Ok(etag) = etag.to_str() else {
        return false;
    };
    list(headers, &IF_NONE_MATCH).any(|tag| tag == "*" || opaque(tag) == opaque(etag))
}

/// Whether `Accept-Encoding` allows gzip, and likes it no less than the plain form (RFC 9110, section 12.5.3).
///
/// Without the field the plain form is sent: who can't say that it decodes gzip often can't.
fn prefers_gzip(headers: &HeaderMap) -> bool {
    let (mut gzip, mut identity, mut any) = (None, None, None);
    for item in list(headers, &ACCEPT_ENCODING) {
        let (coding, parameters) = item.split_once(';').unwrap_or((item, ""));
        let weight = weight_thousandths(parameters);
        match coding.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => gzip = gzip.max(Some(weight)),
            "identity" => identity = Some(weight),
            "*" => any = Some(weight),
            _ => {}
        }
    }
    let gzip = gzip.or(any).unwrap_or(0);
    gzip > 0 && gzip >= identity.unwrap_or(0)
}

/// `;q=0.5` as 500; 1000 where there is none, 0 where it can't be read (RFC 9110, section 12.4.2).
fn weight_thousandths(parameters: &str) -> u16 {
    let mut weights = parameters.split(';').filter_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("q")
            .then(|| value.trim().parse::<f32>())
    });
    match weights.next() {
        None => 1000,
        Some(Ok(weight)) if (0.0..=1.0).contains(&weight) => (weight * 1000.0).round() as u16,
        Some(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::GzDecoder;
    use http_body_util::BodyExt as _;
    use std::io::Read as _;

    fn get(name: &str, fields: &[(HeaderName, &str)]) -> Response<Body> {
        ask(Method::GET, name, fields)
    }

    fn ask(method: Method, name: &str, fields: &[(HeaderName, &str)]) -> Response<Body> {
        let mut headers = HeaderMap::new();
        for (field, value) in fields {
            headers.append(field.clone(), HeaderValue::from_str(value).unwrap());
        }
        respond(&method, name, &headers).expect("a file of that name")
    }

    async fn body(response: Response<Body>) -> Bytes {
        response.into_body().collect().await.unwrap().to_bytes()
    }

    fn field(response: &Response<Body>, name: HeaderName) -> &str {
        response.headers().get(name).map_or("", |value| value.to_str().unwrap())
    }

    #[tokio::test]
    async fn every_build_and_its_map_is_served_as_vendored() {
        for build in [
            "socket.io.js",
            "socket.io.min.js",
            "socket.io.esm.min.js",
            "socket.io.msgpack.min.js",
        ] {
            let script = get(build, &[]);
            assert_eq!(script.status(), 200);
            assert_eq!(field(&script, CONTENT_TYPE), "application/javascript; charset=utf-8");
            assert_eq!(field(&script, CACHE_CONTROL), "public, max-age=0");
            assert_eq!(field(&script, VARY), "accept-encoding");
            assert_eq!(field(&script, CONTENT_ENCODING), "");
            let announced = field(&script, CONTENT_LENGTH).to_owned();
            let content = body(script).await;
            assert_eq!(content.len().to_string(), announced);
            let text = std::str::from_utf8(&content).unwrap();
            assert!(
                text.starts_with("/*!\n * Socket.IO v4."),
                "{build} has the package's banner"
            );
            assert!(
                text.contains(&format!("sourceMappingURL={build}.map")),
                "{build} names its map"
            );

            let map = get(&format!("{build}.map"), &[]);
            assert_eq!(field(&map, CONTENT_TYPE), "application/json; charset=utf-8");
            let map: serde_json::Value = serde_json::from_slice(&body(map).await).unwrap();
            assert_eq!(map["file"], build);
        }
    }

    #[test]
    fn other_names_are_left_to_the_caller() {
        for name in [
            "",
            "socket.io",
            "socket.io.js/",
            "/socket.io.js",
            "SOCKET.IO.JS",
            "../LICENSE",
            "README.md",
        ] {
            assert!(respond(&Method::GET, name, &HeaderMap::new()).is_none(), "{name}");
        }
    }

    #[tokio::test]
    async fn gzip_is_announced_and_decodes_to_the_same_content() {
        for file in &FILES {
            let response = get(file.name, &[(ACCEPT_ENCODING, "gzip, deflate, br")]);
            assert_eq!(field(&response, CONTENT_ENCODING), "gzip");
            assert_eq!(field(&response, VARY), "accept-encoding");
            let announced = field(&response, CONTENT_LENGTH).to_owned();
            let compressed = body(response).await;
            assert_eq!(compressed.len().to_string(), announced);
            assert!(compressed.len() < file.content.len() / 2, "{} shrinks", file.name);
            let mut plain = Vec::new();
            GzDecoder::new(&compressed[..]).read_to_end(&mut plain).unwrap();
            assert!(plain == file.content, "{} survives", file.name);
        }
    }

    #[test]
    fn compressed_once() {
        let first = FILES[0].gzip().unwrap();
        let second = FILES[0].gzip().unwrap();
        assert_eq!(first.as_ptr(), second.as_ptr());
    }

    #[test]
    fn accept_encoding_decides() {
        let cases = [
            (&["gzip"][..], true),
            (&["GZIP"], true),
            (&["x-gzip"], true),
            (&["*"], true),
            (&["br, gzip;q=0.2"], true),
            (&["br", "gzip"], true),
            (&["gzip ; q=0.001"], true),
            (&["gzip;q=1.0, identity;q=0.5"], true),
            (&["gzip, *;q=0"], true),
            (&["gzip;q=0.5, identity"], false),
            (&[""], false),
            (&["br"], false),
            (&["gzipped"], false),
            (&["gzip;q=0"], false),
            (&["gzip;q=0.000"], false),
            (&["gzip; Q=0"], false),
            (&["gzip;q=0, *"], false),
            (&["*;q=0"], false),
            (&["gzip;q=much"], false),
            (&["gzip;q=-1"], false),
            (&["gzip;q=NaN"], false),
            (&["gzip;q=inf"], false),
            (&["identity"], false),
        ];
        for (lines, expected) in cases {
            let fields: Vec<_> = lines.iter().map(|line| (ACCEPT_ENCODING, *line)).collect();
            let response = get("socket.io.min.js", &fields);
            assert_eq!(field(&response, CONTENT_ENCODING) == "gzip", expected, "{lines:?}");
        }
    }

    #[tokio::test]
    async fn a_current_copy_is_answered_304_without_a_body() {
        let etag = field(&get("socket.io.js", &[]), ETAG).to_owned();
        assert!(etag.starts_with("W/\"") && etag.ends_with('"'), "{etag}");
        let strong = etag.trim_start_matches("W/").to_owned();
        for tags in [
            etag.clone(),
            strong,
            format!("\"other, thing\", {etag}"),
            "*".to_owned(),
        ] {
            let response = get("socket.io.js", &[(IF_NONE_MATCH, &tags), (ACCEPT_ENCODING, "gzip")]);
            assert_eq!(response.status(), 304, "{tags}");
            assert_eq!(field(&response, ETAG), etag);
            assert_eq!(field(&response, CACHE_CONTROL), "public, max-age=0");
            assert_eq!(field(&response, VARY), "accept-encoding");
            assert_eq!(field(&response, CONTENT_ENCODING), "");
            assert!(body(response).await.is_empty());
        }
        for tags in ["\"4.8.4\"", "W/\"\"", "nonsense", ""] {
            assert_eq!(get("socket.io.js", &[(IF_NONE_MATCH, tags)]).status(), 200, "{tags}");
        }
    }

    #[test]
    fn each_file_has_its_own_etag() {
        let mut etags: Vec<_> = FILES
            .iter()
            .map(|file| field(&get(file.name, &[]), ETAG).to_owned())
            .collect();
        etags.sort();
        etags.dedup();
        assert_eq!(etags.len(), FILES.len());
    }

    #[tokio::test]
    async fn head_says_what_get_would_send_and_sends_nothing() {
        for fields in [&[][..], &[(ACCEPT_ENCODING, "gzip")]] {
            let (head, get) = (ask(Method::HEAD, "socket.io.js", fields), get("socket.io.js", fields));
            assert_eq!(head.status(), 200);
            assert_eq!(head.headers(), get.headers());
            assert!(body(head).await.is_empty());
        }
    }

    #[test]
    fn foreign_bytes_in_a_header_do_no_harm() {
        let mut headers = HeaderMap::new();
        headers.append(ACCEPT_ENCODING, HeaderValue::from_bytes(b"gzip;q=\xff").unwrap());
        headers.append(IF_NONE_MATCH, HeaderValue::from_bytes(b"\"\xff\"").unwrap());
        let response = respond(&Method::GET, "socket.io.js", &headers).unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(field(&response, CONTENT_ENCODING), "");
    }
}
