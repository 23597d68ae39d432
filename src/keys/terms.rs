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
