//! Who may use hermux: the access tokens of `allow.txt`, the check of a request, and new tokens.

pub mod file;

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;

use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderName};
use sha2::{Digest as _, Sha256};

/// Where Anthropic's clients put it.
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The named holder of an access token.
#[derive(Debug, PartialEq, Eq)]
pub struct Caller {
    /// The name beside the token in `allow.txt`, else the first 8 hex digits of its SHA-256.
    pub name: Arc<str>,
}

/// The access tokens in force: SHA-256 digest to caller, so that no plain token is kept and a look-up
/// tells nothing by its timing.
#[derive(Default)]
pub struct Access {
    callers: HashMap<Digest, Arc<Caller>, BuildHasherDefault<FirstBytes>>,
}

/// A request that was let in: who it is from, and the credential it presented.
#[derive(Debug)]
pub struct Admitted<'a, 'h> {
    /// The holder of the token.
    pub caller: &'a Arc<Caller>,
    /// The access token as it stood in the header, so that it can be kept from going upstream.
    pub token: &'h [u8],
}

/// Why a request was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// No credential at all.
    Missing,
    /// More than one, or an empty one.
    Ambiguous,
    /// Not in `allow.txt`.
    Unknown,
}

impl Access {
    /// Checks the credential of a request: `Authorization: Bearer T` (any case of the scheme),
    /// `Authorization: T`, or `x-api-key: T` where there is no Authorization.
    pub fn check<'a, 'h>(&'a self, headers: &'h HeaderMap) -> Result<Admitted<'a, 'h>, Denied> {
        let token = match only(headers, AUTHORIZATION)? {
            Some(value) => without_scheme(value),
            None => only(headers, X_API_KEY)?.ok_or(Denied::Missing)?,
        };
        if token.is_empty() {
            return Err(Denied::Ambiguous);
        }
        let caller = self.callers.get(&Digest::of(token)).ok_or(Denied::Unknown)?;
        Ok(Admitted { caller, token })
    }

    /// Lets the holder of `token` in, under `name` or, without one, under the first digits of the digest.
    /// A token that is in force already keeps its first name; the answer is then `false`.
    pub fn insert(&mut self, token: &str, name: Option<&str>) -> bool {
        let digest = Digest::of(token.as_bytes());
        if self.callers.contains_key(&digest) {
            return false;
        }
        let name = name.map_or_else(|| digest.short().into(), Arc::from);
        self.callers.insert(digest, Arc::new(Caller { name }));
        true
    }

    /// How many access tokens are in force.
    #[must_use]
    pub fn len(&self) -> usize {
        self.callers.len()
    }

    /// Whether nobody can be let in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.callers.is_empty()
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("tokens", &self.len()).finish_non_exhaustive()
    }
}

/// The value of a header that may stand there once, without blanks around it.
fn only(headers: &HeaderMap, name: HeaderName) -> Result<Option<&[u8]>, Denied> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => Ok(Some(value.as_bytes().trim_ascii())),
        _ => Err(Denied::Ambiguous),
    }
}

/// `T` of `Bearer T`, in any case of the scheme. Any other value is taken for the token itself.
fn without_scheme(value: &[u8]) -> &[u8] {
    const SCHEME: usize = "bearer".len();
    match value.split_at_checked(SCHEME) {
        Some((scheme, rest))
            if scheme.eq_ignore_ascii_case(b"bearer") && rest.first().is_none_or(u8::is_ascii_whitespace) =>
        {
            rest.trim_ascii_start()
        }
        _ => value,
    }
}

/// The SHA-256 of an access token.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Digest([u8; 32]);

impl Digest {
    fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }

    fn first_bytes(&self) -> u64 {
        u64::from_be_bytes(*self.0.first_chunk().expect("a digest has 32 bytes"))
    }

    /// The first 8 hex digits.
    fn short(&self) -> String {
        format!("{:08x}", self.first_bytes() >> 32)
    }
}

impl Hash for Digest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.first_bytes());
    }
}

/// A digest is as good as random already: its first 8 bytes are its hash.
#[derive(Default)]
struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn write_u64(&mut self, first: u64) {
        self.0 = first;
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only digests are hashed")
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::{Access, Denied};

    fn access() -> Access {
        let mut access = Access::default();
        assert!(access.insert("hmx_secret", Some("ci")));
        access
    }

    fn answer(headers: &[(&'static str, &str)]) -> Result<(String, String), Denied> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        let access = access();
        let admitted = access.check(&map)?;
        Ok((admitted.caller.name.to_string(), String::from_utf8(admitted.token.to_vec()).unwrap()))
    }

    #[test]
    fn a_token_is_taken_with_any_case_of_the_scheme_without_one_or_as_api_key() {
        for value in
            ["Bearer hmx_secret", "bearer hmx_secret", "BEARER  hmx_secret ", "hmx_secret", " hmx_secret"]
        {
            assert_eq!(
                answer(&[("authorization", value)]),
                Ok(("ci".into(), "hmx_secret".into())),
                "{value}"
            );
        }
        assert_eq!(answer(&[("x-api-key", "hmx_secret")]), Ok(("ci".into(), "hmx_secret".into())));
    }

    #[test]
    fn authorization_counts_where_both_headers_stand() {
        let good = ("authorization", "Bearer hmx_secret");
        assert!(answer(&[good, ("x-api-key", "other")]).is_ok());
        assert_eq!(
            answer(&[("authorization", "Bearer other"), ("x-api-key", "hmx_secret")]),
            Err(Denied::Unknown)
        );
        assert_eq!(answer(&[("authorization", ""), ("x-api-key", "hmx_secret")]), Err(Denied::Ambiguous));
    }

    #[test]
    fn no_credential_is_told_from_a_wrong_one() {
        assert_eq!(answer(&[]), Err(Denied::Missing));
        for value in [
            "Bearer hmx_",
            "Bearer hmx_secret2",
            "Basic hmx_secret",
            "Bearerhmx_secret",
            "Bearer bearer hmx_secret",
        ] {
            assert_eq!(answer(&[("authorization", value)]), Err(Denied::Unknown), "{value}");
        }
        assert_eq!(answer(&[("x-api-key", "Bearer hmx_secret")]), Err(Denied::Unknown));
    }

    #[test]
    fn repeated_or_empty_credentials_are_refused() {
        let good = ("authorization", "Bearer hmx_secret");
        assert_eq!(answer(&[good, good]), Err(Denied::Ambiguous));
        assert_eq!(answer(&[good, ("authorization", "x")]), Err(Denied::Ambiguous));
        assert_eq!(
            answer(&[("x-api-key", "hmx_secret"), ("x-api-key", "hmx_secret")]),
            Err(Denied::Ambiguous)
        );
        for value in ["", " ", "Bearer", "bearer ", "Bearer \t "] {
            assert_eq!(answer(&[("authorization", value)]), Err(Denied::Ambiguous), "{value:?}");
        }
        assert_eq!(answer(&[("x-api-key", " ")]), Err(Denied::Ambiguous));
    }

    #[test]
    fn a_caller_without_a_name_is_called_by_the_first_digits_of_the_digest() {
        let mut access = Access::default();
        assert!(access.insert("abc", None)); // SHA-256 ba7816bf 8f01cfea …, the example of FIPS 180-4
        assert!(!access.insert("abc", Some("again")));
        let mut headers = HeaderMap::new();
        headers.insert("x-api-key", HeaderValue::from_static("abc"));
        assert_eq!(&*access.check(&headers).unwrap().caller.name, "ba7816bf");
        assert_eq!(access.len(), 1);
    }

    #[test]
    fn nobody_is_let_in_where_there_are_no_tokens() {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", HeaderValue::from_static("Bearer x"));
        let nobody = Access::default();
        assert!(nobody.is_empty());
        assert_eq!(nobody.check(&headers).unwrap_err(), Denied::Unknown);
    }

    #[test]
    fn debug_shows_neither_token_nor_digest() {
        assert_eq!(format!("{:?}", access()), "Access { tokens: 1, .. }");
    }
}
