//! What the operator lets a key do: the optional columns of `tokens.csv`.

/// Bounds and preferences of one key; by default none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Column `account`: the account that the operator says the key belongs to.
    pub account: Option<Box<str>>,
    /// Column `daily_requests`: attempts in a UTC day.
    pub daily_requests: Option<u64>,
    /// Column `daily_cost`: nano-dollars (1e-9 USD) in a UTC day.
    pub daily_cost: Option<i64>,
    /// Column `weight`, in thousandths: a key of 2000 is lent twice as often as one of 1000.
    pub weight: u32,
    /// Column `models`: patterns of the models it may serve, `*` standing for any text; empty for all of them.
    pub models: Box<[Box<str>]>,
    /// Column `enabled`: false rests the key until the operator says otherwise.
    pub enabled: bool,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            account: None,
            daily_requests: None,
            daily_cost: None,
            weight: 1000,
            models: Box::default(),
            enabled: true,
        }
    }
}

/// An optional column of `tokens.csv`. An empty field means the same as no such column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// `account`: any text without a key in it.
    Account,
    /// `daily_requests`: a whole number.
    DailyRequests,
    /// `daily_cost`: US dollars such as `5` or `0.25`, to the nano-dollar.
    DailyCost,
    /// `weight`: a number such as `2` or `0.5`, to the thousandth.
    Weight,
    /// `models`: patterns such as `openai/*`, several parted by `;` or blanks.
    Models,
    /// `enabled`: `true` or `false`, `yes` or `no`, `1` or `0`.
    Enabled,
}

impl Column {
    pub(super) const ALL: [Self; 6] =
        [Self::Account, Self::DailyRequests, Self::DailyCost, Self::Weight, Self::Models, Self::Enabled];

    /// As it stands in the header.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::DailyRequests => "daily_requests",
            Self::DailyCost => "daily_cost",
            Self::Weight => "weight",
            Self::Models => "models",
            Self::Enabled => "enabled",
        }
    }

    /// What belongs into it, as a hint.
    pub(super) fn hint(self) -> &'static str {
        match self {
            Self::Account => "give the keys of one account the same name of up to 128 characters",
            Self::DailyRequests => "write how many attempts a UTC day may have, such as 500, or nothing",
            Self::DailyCost => {
                "write US dollars such as 5 or 0.25, with at most 9 digits behind the point, or nothing"
            }
            Self::Weight => "write a number from 0.001 to 1000, such as 2 or 0.5, or nothing",
            Self::Models => "write patterns such as openai/*;*:free, parted by `;` or blanks, or nothing",
            Self::Enabled => "write true or false, or nothing",
        }
    }
}

impl Terms {
    /// Takes over a field that is not empty; false where its text does not belong there.
    pub(super) fn set(&mut self, column: Column, text: &str) -> bool {
        let done = match column {
            Column::Account => account(text).map(|account| self.account = Some(account)),
            Column::DailyRequests => whole(text).map(|number| self.daily_requests = Some(number)),
            Column::DailyCost => fixed_point(text, 9)
                .and_then(|nanos| i64::try_from(nanos).ok())
                .map(|nanos| self.daily_cost = Some(nanos)),
            Column::Weight => fixed_point(text, 3)
                .and_then(|weight| u32::try_from(weight).ok())
                .filter(|weight| (1..=HEAVIEST).contains(weight))
                .map(|weight| self.weight = weight),
            Column::Models => models(text).map(|models| self.models = models),
            Column::Enabled => switch(text).map(|enabled| self.enabled = enabled),
        };
        done.is_some()
    }
}

/// The greatest `weight`, in thousandths.
const HEAVIEST: u32 = 1_000_000;

fn account(text: &str) -> Option<Box<str>> {
    let fine = text.len() <= 128 && !text.contains(char::is_control) && !text.contains("sk-or-");
    fine.then(|| text.into())
}

fn whole(text: &str) -> Option<u64> {
    // `parse` alone would let a plus sign in.
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// A decimal without a sign, times ten to the power of `places`; none where that is not a whole number or too large.
fn fixed_point(text: &str, places: usize) -> Option<u64> {
    let (before, behind) = text.split_once('.').unwrap_or((text, "0"));
    if before.is_empty() || behind.is_empty() || behind.len() > places {
        return None;
    }
    whole(&format!("{before}{behind:0<places$}"))
}

fn models(text: &str) -> Option<Box<[Box<str>]>> {
    let patterns = text.split(|c: char| c == ';' || c.is_whitespace()).filter(|pattern| !pattern.is_empty());
    let fine = |pattern: &str| {
        pattern.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b',' | b'"'))
            && !pattern.contains("sk-or-")
    };
    patterns.map(|pattern| fine(pattern).then(|| pattern.into())).collect()
}

fn switch(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "1" => Some(true),
        "false" | "no" | "0" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Column, Terms};

    fn set(column: Column, text: &str) -> Option<Terms> {
        let mut terms = Terms::default();
        terms.set(column, text).then_some(terms)
    }

    #[test]
    fn amounts_are_exact() {
        let cost = |text| set(Column::DailyCost, text).and_then(|terms| terms.daily_cost);
        for (text, nanos) in [
            ("5", Some(5_000_000_000)),
            ("0.25", Some(250_000_000)),
            ("0.000000001", Some(1)),
            ("0", Some(0)),
            ("9223372036.854775807", Some(i64::MAX)),
            ("9223372036.854775808", None),
            ("0.0000000001", None),
            ("99999999999999999999", None),
            (".5", None),
            ("5.", None),
            (".", None),
            ("-1", None),
            ("+1", None),
            ("1e3", None),
            ("$5", None),
            ("0,5", None),
            ("1.2.3", None),
        ] {
            assert_eq!(cost(text), nanos, "{text}");
        }
        let weight = |text| set(Column::Weight, text).map(|terms| terms.weight);
        for (text, thousandths) in [
            ("1", Some(1_000)),
            ("0.5", Some(500)),
            ("1000", Some(1_000_000)),
            ("0.001", Some(1)),
            ("0", None),
            ("0.0005", None),
            ("1000.001", None),
            ("-2", None),
        ] {
            assert_eq!(weight(text), thousandths, "{text}");
        }
    }

    #[test]
    fn models_are_parted_by_semicolons_or_blanks() {
        let models = |text| set(Column::Models, text).map(|terms| terms.models.join(" "));
        for (text, patterns) in [
            ("openai/*", Some("openai/*")),
            ("openai/*;*:free", Some("openai/* *:free")),
            (" openai/* ; *:free\tx/y ;", Some("openai/* *:free x/y")),
            ("openai/*,x", None),
            ("é", None),
            ("sk-or-v1-12", None),
        ] {
            assert_eq!(models(text).as_deref(), patterns, "{text}");
        }
    }

    #[test]
    fn switches_and_counts_are_read_strictly() {
        let enabled = |text| set(Column::Enabled, text).map(|terms| terms.enabled);
        for text in ["true", "Yes", "1"] {
            assert_eq!(enabled(text), Some(true), "{text}");
        }
        for text in ["FALSE", "no", "0"] {
            assert_eq!(enabled(text), Some(false), "{text}");
        }
        assert_eq!((enabled("on"), enabled("2")), (None, None));
        let requests = |text| set(Column::DailyRequests, text).and_then(|terms| terms.daily_requests);
        assert_eq!((requests("0"), requests("500")), (Some(0), Some(500)));
        for text in ["-1", "+1", "1.5", "1e3", "many", "99999999999999999999999"] {
            assert_eq!(requests(text), None, "{text}");
        }
    }

    #[test]
    fn an_account_is_any_text_but_a_key() {
        let account = |text| set(Column::Account, text).and_then(|terms| terms.account);
        assert_eq!(account("Team Rot, Süd").as_deref(), Some("Team Rot, Süd"));
        assert_eq!((account("sk-or-v1-1"), account("a\u{7}"), account(&"a".repeat(129))), (None, None, None));
    }
}
