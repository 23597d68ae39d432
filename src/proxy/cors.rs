//! Requests of pages in a browser from other origins (CORS): preflights are answered here, and answers say who may read them.

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, CONTENT_TYPE, HeaderName, ORIGIN, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

/// What a page on a public site asks for before it may reach a private network, and what it is answered (the
/// specification of Private Network Access).
const REQUEST_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");

/// What upstream may say of its own pages.
const OF_UPSTREAM: [HeaderName; 7] = [
    ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_ALLOW_CREDENTIALS,
    ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_HEADERS,
    ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE,
    ALLOW_PRIVATE_NETWORK,
];

/// The methods that are passed on.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");

/// The headers of answers that a page may read besides those that every page may.
const EXPOSED: HeaderValue =
    HeaderValue::from_static("X-TOKEN-NAME, X-HERMUX-ATTEMPTS, X-Generation-Id, Retry-After");

/// How long a browser may remember a preflight, seconds; no browser takes much more.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// The origins whose pages may use hermux.
#[derive(Clone, Debug)]
pub struct Cors {
    /// As browsers write them; `None` for all of them.
    origins: Option<Box<[HeaderValue]>>,
}

impl Cors {
    /// Lets in the pages of these origins, of all where `*` is among them; `None` where there are none.
    #[must_use]
    pub fn new(origins: &[String]) -> Option<Self> {
        let all = origins.iter().any(|origin| origin == "*");
        let values = || origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()).collect();
        (!origins.is_empty()).then(|| Self { origins: (!all).then(values) })
    }

    /// Whether pages of the request's origin may use hermux. Without an origin it is from no page.
    pub(super) fn lists(&self, headers: &HeaderMap) -> bool {
        let mut values = headers.get_all(ORIGIN).iter();
        match (values.next(), values.next(), &self.origins) {
            (Some(origin), None, Some(origins)) => origins.contains(origin),
            (Some(_), None, None) => true,
            _ => false,
        }
    }

    /// The answer to a preflight: whether a page may ask what it wants to. It carries no access token, and none is asked.
    pub(super) fn preflight<B: From<Bytes>>(&self, parts: &Parts) -> Option<Response<B>> {
        let asked = &parts.headers;
        if parts.method != Method::OPTIONS
            || !asked.contains_key(ORIGIN)
            || !asked.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
        {
            return None;
        }
        let listed = self.lists(asked);
        let (status, text) = if listed {
            (StatusCode::NO_CONTENT, "")
        } else {
            (StatusCode::FORBIDDEN, "hermux: --cors does not list this origin\n")
        };
        let mut response = Response::new(B::from(Bytes::from_static(text.as_bytes())));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        self.mark(asked, headers);
        if listed {
            headers.remove(ACCESS_CONTROL_EXPOSE_HEADERS);
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
            // Echoed, since a `*` would not mean Authorization.
            if let Some(names) = asked.get(ACCESS_CONTROL_REQUEST_HEADERS) {
                headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
            }
            if asked.get(REQUEST_PRIVATE_NETWORK).is_some_and(|value| value == "true") {
                headers.insert(ALLOW_PRIVATE_NETWORK, HeaderValue::from_static("true"));
            }
            headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        } else {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        }
        Some(response)
    }

    /// Says in an answer to `asked` which pages may read it, in place of what upstream says.
    pub(super) fn mark(&self, asked: &HeaderMap, answer: &mut HeaderMap) {
        for name in &OF_UPSTREAM {
            answer.remove(name);
        }
        let allowed = if self.origins.is_none() {
            Some(HeaderValue::from_static("*"))
        } else {
            // A cache must not hand one origin's answer to another.
            answer.append(VARY, HeaderValue::from_static("Origin"));
            asked.get(ORIGIN).filter(|_| self.lists(asked)).cloned()
        };
        if let Some(origin) = allowed {
            answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::request::Parts;
    use http::{HeaderMap, Request, Response};

    use super::Cors;

    const APP: &str = "https://app.example";

    fn cors(origins: &[&str]) -> Cors {
        let origins: Vec<String> = origins.iter().map(|&origin| origin.to_owned()).collect();
        Cors::new(&origins).unwrap()
    }

    fn asked(method: &str, headers: &[(&str, &str)]) -> Parts {
        let request = Request::builder().method(method).uri("/v1/chat/completions");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.body(()).unwrap().into_parts().0
    }

    fn preflight(cors: &Cors, headers: &[(&str, &str)]) -> Option<Response<Bytes>> {
        cors.preflight(&asked("OPTIONS", headers))
    }

    #[test]
    fn a_preflight_of_a_listed_origin_is_granted_what_it_asks() {
        let wants = [
            ("origin", APP),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "authorization,content-type,x-stainless-os"),
        ];
        let answer = preflight(&cors(&["http://localhost:5173", APP]), &wants).unwrap();
        assert_eq!(answer.status(), 204);
        let headers = answer.headers();
        assert_eq!(headers["access-control-allow-origin"], APP);
        assert!(headers["access-control-allow-methods"].to_str().unwrap().contains("POST"));
        assert_eq!(headers["access-control-allow-headers"], wants[2].1);
        assert_eq!(headers["access-control-max-age"], "7200");
        assert_eq!(headers["vary"], "Origin");
        assert!(!headers.contains_key("access-control-allow-private-network"), "nobody asked");
        assert!(!headers.contains_key("access-control-allow-credentials"));

        let private = [&wants[..], &[("access-control-request-private-network", "true")]].concat();
        let answer = preflight(&cors(&["*"]), &private).unwrap();
        assert_eq!(answer.headers()["access-control-allow-origin"], "*");
        assert_eq!(answer.headers()["access-control-allow-private-network"], "true");
        assert!(!answer.headers().contains_key("vary"));
    }

    #[test]
    fn a_preflight_of_another_origin_is_refused() {
        for origin in
            ["https://app.example.evil", "http://app.example", "https://app.example:444", "null", ""]
        {
            let wants = [
                ("origin", origin),
                ("access-control-request-method", "POST"),
                ("access-control-request-private-network", "true"),
            ];
            let answer = preflight(&cors(&[APP]), &wants).unwrap();
            assert_eq!(answer.status(), 403, "{origin}");
            assert!(answer.headers().keys().all(|name| !name.as_str().starts_with("access-control-")));
        }
        let twice = [("origin", APP), ("origin", APP), ("access-control-request-method", "POST")];
        assert_eq!(preflight(&cors(&[APP]), &twice).unwrap().status(), 403);
    }

    #[test]
    fn other_requests_are_no_preflight() {
        let cors = cors(&["*"]);
        assert!(preflight(&cors, &[("origin", APP)]).is_none());
        assert!(preflight(&cors, &[("access-control-request-method", "POST")]).is_none());
        let post = asked("POST", &[("origin", APP), ("access-control-request-method", "POST")]);
        assert!(cors.preflight::<Bytes>(&post).is_none());
    }

    #[test]
    fn what_upstream_says_of_origins_is_replaced() {
        let upstreams = || {
            let mut answer = HeaderMap::new();
            answer.insert("access-control-allow-origin", "*".parse().unwrap());
            answer.append("access-control-expose-headers", "X-Theirs".parse().unwrap());
            answer.insert("access-control-allow-credentials", "true".parse().unwrap());
            answer.insert("vary", "Accept-Encoding".parse().unwrap());
            answer
        };
        let mut answer = upstreams();
        cors(&[APP]).mark(&asked("GET", &[("origin", APP)]).headers, &mut answer);
        assert_eq!(answer["access-control-allow-origin"], APP);
        assert_eq!(answer.get_all("access-control-expose-headers").iter().count(), 1);
        assert!(answer["access-control-expose-headers"].to_str().unwrap().contains("X-TOKEN-NAME"));
        assert!(!answer.contains_key("access-control-allow-credentials"));
        let vary: Vec<_> = answer.get_all("vary").iter().collect();
        assert_eq!(vary, ["Accept-Encoding", "Origin"]);

        for stranger in [&[("origin", "https://evil.example")][..], &[]] {
            let mut answer = upstreams();
            cors(&[APP]).mark(&asked("GET", stranger).headers, &mut answer);
            assert!(answer.keys().all(|name| !name.as_str().starts_with("access-control-")), "{answer:?}");
            assert_eq!(answer.get_all("vary").iter().count(), 2);
        }
    }

    #[test]
    fn without_origins_there_is_nothing_to_do() {
        assert!(Cors::new(&[]).is_none());
    }
}
