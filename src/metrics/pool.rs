//! The pool, the waiting room and the faults at the moment of asking.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::{Sources, dollars};
use crate::keys::state::KeyState;

/// Looks when it is asked.
#[derive(Debug)]
pub(super) struct Now(pub(super) Sources);

impl Collector for Now {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Sources { keys, clock, started, waiting, faults } = &self.0;
        let keys = keys.state(clock.now()).keys;
        let to = &mut encoder;
        let none: [(&str, &str); 0] = [];
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        gauge(to, "build_info", "The version that runs", [(version, 1)])?;
        #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 are far below 2^53")]
        let started = started.0 as f64 / 1e3;
        gauge(to, "start_time_seconds", "When the server started, since 1970", [(none, started)])?;
        let in_flight: u64 = keys.iter().map(|key| u64::from(key.in_flight)).sum();
        gauge(to, "in_flight", "Requests under way upstream", [(none, whole(in_flight))])?;
        let waiting = u64::try_from(waiting()).unwrap_or(u64::MAX);
        gauge(to, "waiting", "Requests that wait for a key", [(none, whole(waiting))])?;

        let each = |what: fn(&KeyState) -> u64| keys.iter().map(move |key| (named(key), whole(what(key))));
        gauge(to, "key_in_flight", "Requests under way with a key", each(|key| key.in_flight.into()))?;
        gauge(to, "key_used_today", "Attempts with a key on this UTC day", each(|key| key.used_today))?;
        let cost = keys.iter().map(|key| (named(key), dollars(key.cost_today)));
        gauge(to, "key_cost_today_usd", "US dollars spent with a key on this UTC day", cost)?;
        let minute = keys.iter().filter_map(|key| Some((named(key), whole(key.free_minute_left?))));
        gauge(
            to,
            "key_free_minute_left",
            "Free requests of the key's account left in this minute, where known",
            minute,
        )?;
        let day = keys.iter().filter_map(|key| Some((named(key), whole(key.free_day_left?))));
        gauge(
            to,
            "key_free_day_left",
            "Free requests of the key's account left in this UTC day, where known",
            day,
        )?;
        let cap = keys.iter().filter_map(|key| Some((named(key), dollars(key.cap_left?))));
        gauge(to, "key_cap_left_usd", "US dollars left of the key's cap, where it has one", cap)?;
        let now = clock.now().0;
        let rests = keys.iter().flat_map(|key| key.rests.iter().map(move |rest| (key, rest)));
        #[expect(clippy::cast_precision_loss, reason = "a rest is far shorter than 2^53 ms")]
        let rests = rests.map(|(key, rest)| {
            let left = rest.until_ms.map_or(f64::INFINITY, |until| (until - now).max(0) as f64 / 1e3);
            ([("key", key.name.as_str()), ("what", &rest.what), ("why", &rest.why)], left)
        });
        gauge(
            to,
            "key_rest_seconds",
            "How long something of a key rests on; +Inf until a person acts",
            rests,
        )?;

        let faults = faults();
        let mut met = to.encode_descriptor(
            "faults",
            "Attempts that met a fault, by its kind",
            None,
            MetricType::Counter,
        )?;
        for (kind, key, count) in &faults.met {
            let kind = kind.replace(' ', "_").replace('\'', "");
            let labels = [("key", &**key), ("kind", kind.as_str())];
            met.encode_family(&labels)?.encode_counter::<NoLabelSet, u64, u64>(count, None)?;
        }
        let help = "Requests that hermux answered with an error of its own, by its status";
        let mut refused = to.encode_descriptor("refused", help, None, MetricType::Counter)?;
        for (status, count) in &faults.refused {
            let labels = [("status", status.to_string())];
            refused.encode_family(&labels)?.encode_counter::<NoLabelSet, u64, u64>(count, None)?;
        }
        Ok(())
    }
}

fn named(key: &KeyState) -> [(&'static str, &str); 1] {
    [("key", &key.name)]
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn gauge<L: EncodeLabelSet, V: EncodeGaugeValue>(
    to: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = (L, V)>,
) -> fmt::Result {
    let mut metric = to.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in values {
        metric.encode_family(&labels)?.encode_gauge(&value)?;
    }
    Ok(())
}
