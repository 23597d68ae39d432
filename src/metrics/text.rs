//! `OpenMetrics` text: with exact amounts, and as the older form of Prometheus, in which a counter's header has its full name.

/// `text` with the values of lines that begin with `name`, nano-dollars, as dollars.
pub(super) fn with_dollars(text: &str, name: &str) -> String {
    let mut changed = String::with_capacity(text.len());
    for line in text.lines() {
        let value = line.strip_prefix(name).and_then(|rest| rest.rsplit(' ').next());
        match value.and_then(|value| Some((value, value.parse::<u64>().ok()?))) {
            Some((value, nanos)) => {
                let fraction = format!("{:09}", nanos % 1_000_000_000);
                let places = fraction.trim_end_matches('0').len().max(1);
                let whole = nanos / 1_000_000_000;
                let rest = &line[..line.len() - value.len()];
                changed.extend([rest, &whole.to_string(), ".", &fraction[..places]]);
            }
            None => changed.push_str(line),
        }
        changed.push('\n');
    }
    changed
}

/// `text` in the older form.
pub(super) fn classic(text: &str) -> String {
    let counters: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let mut classic = String::with_capacity(text.len());
    for line in text.lines().filter(|line| *line != "# EOF") {
        let header = line.strip_prefix("# ").and_then(|header| {
            let (word, rest) = header.split_once(' ')?;
            let (name, rest) = rest.split_once(' ')?;
            counters.contains(&name).then_some((word, name, rest))
        });
        match header {
            Some((word, name, rest)) => classic.extend(["# ", word, " ", name, "_total ", rest]),
            None => classic.push_str(line),
        }
        classic.push('\n');
    }
    classic
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_counters_header_gets_its_full_name_and_nothing_else_changes() {
        let open =
            "# HELP a_b Things.\n# TYPE a_b counter\na_b_total{c=\"# EOF\"} 1\n# TYPE d gauge\nd 2\n# EOF\n";
        assert_eq!(
            super::classic(open),
            "# HELP a_b_total Things.\n# TYPE a_b_total counter\na_b_total{c=\"# EOF\"} 1\n# TYPE d gauge\nd 2\n"
        );
    }
}
