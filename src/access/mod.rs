//! Who may use hermux: the access tokens of `allow.txt`, the check of a request, what each of them may use, and new tokens.

pub mod allowance;
pub mod file;
mod terms;
mod token;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;

use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderName};
use sha2::{Digest as _, Sha256};

use self::allowance::{Allowance, Counts, UsedUp};
pub use self::terms::{Attribute, Terms};
pub use self::token::{generate, looks_mistyped};
use crate::clock::Time;

/// Where Anthropic's clients put it.
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The named holder of an access token.
#[derive(Debug)]
pub struct Caller {
    /// The name beside the token in `allow.txt`, else the first 8 hex digits of its SHA-256.
    pub name: Arc<str>,
    /// What bounds it; none where nothing does, so that nothing has to be looked at.
    pub allowance: Option<Arc<Allowance>>,
}

/// The access tokens in force: SHA-256 digest to caller, so that no plain token is kept and a look-up
/// tells nothing by its timing.
#[derive(Default)]
pub struct Access {
    callers: HashMap<Digest, Arc<Caller>, BuildHasherDefault<FirstBytes>>,
    /// What is counted, by the caller's name.
    counts: HashMap<Arc<str>, Arc<Counts>>,
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
    /// The same, but it looks as if it was not copied well.
    Mistyped,
    /// It is in `allow.txt`, but its time is over.
    Expired,
}

impl Access {
    /// The holders of these access tokens, each with its name and terms. Of a token that is named twice the first counts.
    #[must_use]
    pub fn new(tokens: impl IntoIterator<Item = (Digest, Arc<str>, Terms)>) -> Self {
        let mut access = Self::default();
        let mut all: Vec<_> = tokens.into_iter().collect();
        for (_, name, terms) in &all {
            if terms.bounds_use() && !access.counts.contains_key(name) {
                access.counts.insert(Arc::clone(name), Arc::default());
            }
        }
        // From behind, so that the first of two stays.
        while let Some((digest, name, terms)) = all.pop() {
            // Two tokens of one caller are counted as one, also where only one of them is bounded.
            let counts = access.counts.get(&name).cloned();
            let is_bounded = counts.is_some() || terms != Terms::default();
            let allowance = is_bounded.then(|| Arc::new(Allowance::new(terms, counts)));
            access.callers.insert(digest, Arc::new(Caller { name, allowance }));
        }
        access
    }

    /// Goes on with what was counted `before` a change of the file; to be called before any request was let in. Tells whose
    /// use was not counted until now. Of callers who are gone the counts stay, for they may come back while requests of
    /// theirs are under way.
    pub fn go_on_from(&mut self, before: &Self) -> Vec<Arc<str>> {
        for caller in self.callers.values_mut() {
            let Some(allowance) = caller.allowance.as_ref().filter(|allowance| allowance.is_counted()) else {
                continue;
            };
            if let Some(counts) = before.counts.get(&caller.name) {
                let allowance = Some(Arc::new(allowance.with_counts(Arc::clone(counts))));
                *caller = Arc::new(Caller { name: Arc::clone(&caller.name), allowance });
            }
        }
        let mut new = Vec::new();
        for (name, counts) in &mut self.counts {
            match before.counts.get(name) {
                Some(before) => *counts = Arc::clone(before),
                None => new.push(Arc::clone(name)),
            }
        }
        // A caller who is still there without bounds uses what nobody counts, so those counts would be wrong.
        let there: HashSet<&str> = self.callers.values().map(|caller| &*caller.name).collect();
        for (name, counts) in &before.counts {
            if !there.contains(&**name) {
                self.counts.insert(Arc::clone(name), Arc::clone(counts));
            }
        }
        new
    }

    /// Takes over what a caller used before its use was counted; nothing where nothing of it is bounded.
    pub fn restore(&self, caller: &str, used: &UsedUp, now: Time) {
        if let Some(counts) = self.counts.get(caller) {
            counts.restore(used, now);
        }
    }

    /// The callers whose use is counted.
    pub fn counted(&self) -> impl Iterator<Item = &Arc<str>> {
        self.counts.keys()
    }

    /// Adds what a request of `caller` cost, nano-dollars, that was let in at `at`, where that is told only after its
    /// answer; nothing where nothing of the caller is bounded.
    pub fn spend(&self, caller: &str, cost: i64, at: Time) {
        if let Some(counts) = self.counts.get(caller) {
            counts.spend(cost, at);
        }
    }

    /// The names of keys that access tokens are confined to.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        let allowances = self.callers.values().filter_map(|caller| caller.allowance.as_ref());
        allowances
            .filter_map(|allowance| allowance.terms.keys.as_ref())
            .flat_map(|keys| keys.iter())
            .map(|key| &**key)
    }

    /// Checks the credential of a request: `Authorization: Bearer T` (any case of the scheme),
    /// `Authorization: T`, or `x-api-key: T` where there is no Authorization. Whether its time is over is not looked at.
    pub fn check<'a, 'h>(&'a self, headers: &'h HeaderMap) -> Result<Admitted<'a, 'h>, Denied> {
        let token = match only(headers, AUTHORIZATION)? {
            Some(value) => without_scheme(value),
            None => only(headers, X_API_KEY)?.ok_or(Denied::Missing)?,
        };
        if token.is_empty() {
            return Err(Denied::Ambiguous);
        }
        let Some(caller) = self.callers.get(&Digest::of(token)) else {
            return Err(if looks_mistyped(token) { Denied::Mistyped } else { Denied::Unknown });
        };
        Ok(Admitted { caller, token })
    }

    /// Whether `text` is an access token of anybody.
    #[must_use]
    pub fn knows(&self, text: &str) -> bool {
        self.callers.contains_key(&Digest::of(text.as_bytes()))
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

/// The SHA-256 of an access token; `Debug` shows no more of it than a caller without a name is called.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest([u8; 32]);

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

impl Digest {
    /// The digest of a token.
    #[must_use]
    pub fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// Reads 64 hex digits.
    #[must_use]
    pub fn parse(hex: &str) -> Option<Self> {
        let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
        if pairs.len() != 32 || !rest.is_empty() {
            return None;
        }
        let mut digest = [0; 32];
        for (byte, pair) in digest.iter_mut().zip(pairs) {
            let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(digest))
    }

    fn first_bytes(&self) -> u64 {
        u64::from_be_bytes(*self.0.first_chunk().expect("a digest has 32 bytes"))
    }

    /// The first 8 hex digits.
    #[must_use]
    pub fn short(&self) -> String {
        format!("{:08x}", self.first_bytes() >> 32)
    }
}

/// All 64 hex digits.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
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

    use super::{Access, Denied, Digest, Terms, UsedUp};
    use crate::clock::Time;

    fn access() -> Access {
        Access::new([(Digest::of(b"hmx_secret"), "ci".into(), Terms::default())])
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
        for value in ["Bearer secret", "Basic hmx_secret", "Bearerhmx_secret", "Bearer bearer hmx_secret"] {
            assert_eq!(answer(&[("authorization", value)]), Err(Denied::Unknown), "{value}");
        }
        assert_eq!(answer(&[("x-api-key", "Bearer hmx_secret")]), Err(Denied::Unknown));
        for value in ["Bearer hmx_", "Bearer hmx_secret2"] {
            assert_eq!(answer(&[("authorization", value)]), Err(Denied::Mistyped), "{value}");
        }
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
    fn of_a_token_given_twice_the_first_counts() {
        let token = Digest::of(b"abc"); // SHA-256 ba7816bf 8f01cfea …, the example of FIPS 180-4
        assert_eq!(token.short(), "ba7816bf");
        assert_eq!(Digest::parse(&token.to_string()), Some(token));
        let access = Access::new(["one", "two"].map(|name| (token, name.into(), Terms::default())));
        let mut headers = HeaderMap::new();
        headers.insert("x-api-key", HeaderValue::from_static("abc"));
        assert_eq!(&*access.check(&headers).unwrap().caller.name, "one");
        assert_eq!(access.len(), 1);
    }

    #[test]
    fn a_digest_is_64_hex_digits() {
        let digits = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Digest::parse(digits), Some(Digest::of(b"abc")));
        assert_eq!(Digest::parse(&digits.to_uppercase()), Some(Digest::of(b"abc")));
        for bad in
            ["", &digits[1..], &format!("{digits}0"), &digits.replace('b', "g"), &digits.replace("ba", "é")]
        {
            assert_eq!(Digest::parse(bad), None, "{bad}");
        }
    }

    fn token(token: &str, caller: &str, daily_requests: Option<u64>) -> (Digest, std::sync::Arc<str>, Terms) {
        (Digest::of(token.as_bytes()), caller.into(), Terms { daily_requests, ..Terms::default() })
    }

    fn take(access: &Access, token: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert("x-api-key", HeaderValue::from_str(token).unwrap());
        let caller = access.check(&headers).unwrap().caller;
        caller.allowance.as_ref().is_none_or(|allowance| allowance.take(Time(0)).is_ok())
    }

    #[test]
    fn the_tokens_of_a_caller_are_counted_as_one_and_others_have_nothing_to_look_at() {
        let access =
            Access::new([token("old", "ci", Some(3)), token("new", "ci", None), token("x", "bob", None)]);
        assert!(take(&access, "new") && take(&access, "old") && take(&access, "new"));
        assert!(!take(&access, "old") && take(&access, "new"));
        let mut headers = HeaderMap::new();
        headers.insert("x-api-key", HeaderValue::from_static("x"));
        assert!(access.check(&headers).unwrap().caller.allowance.is_none());
    }

    #[test]
    fn a_changed_file_goes_on_with_what_was_counted() {
        let before = Access::new([token("a", "ann", Some(2)), token("b", "bob", None)]);
        assert!(take(&before, "a"));
        let mut after = Access::new([token("a2", "ann", Some(3)), token("b", "bob", Some(5))]);
        assert_eq!(after.go_on_from(&before), ["bob".into()], "whose use nobody counted yet");
        assert!(take(&before, "a"), "a request that began before the change");
        assert!(take(&after, "a2") && !take(&after, "a2"));
        after.restore("bob", &UsedUp { requests: 4, ..UsedUp::default() }, Time(0));
        assert!(take(&after, "b") && !take(&after, "b"));
    }

    #[test]
    fn who_was_gone_for_a_while_goes_on_with_what_was_under_way() {
        let ann = || Access::new([token("a", "ann", Some(2))]);
        let used = |access: &Access| {
            let caller = access.callers.values().next().unwrap();
            caller.allowance.as_ref().unwrap().used(Time(0)).unwrap().requests
        };
        let before = ann();
        assert!(take(&before, "a"));
        let mut gone = Access::default();
        assert!(gone.go_on_from(&before).is_empty());
        assert!(take(&before, "a"), "a request that began before the change");
        let mut again = ann();
        assert!(again.go_on_from(&gone).is_empty(), "it never was uncounted");
        assert_eq!(used(&again), 2);
        assert!(!take(&again, "a"));

        let mut unbounded = Access::new([token("a", "ann", None)]);
        unbounded.go_on_from(&before);
        assert_eq!(ann().go_on_from(&unbounded), ["ann".into()], "the ledger knows what was used meanwhile");
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
