//! Draws the screen: a head, two charts, the keys, the last errors and the waiting room, and a foot.

use jiff::Timestamp;
use ratatui::Frame;
use ratatui::layout::{Constraint, Flex, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{
    Block, Borders, Cell, Clear, Paragraph, RenderDirection, Row, Sparkline, Table, TableState,
};

use super::app::{App, Sort};
use crate::clock::Time;
use crate::commands::keys::words;
use crate::commands::stats::{decimals, dollars};
use crate::control::live::{Awaited, Failure, SAMPLE_MS, Sample};
use crate::keys::state::{KeyState, RestState};

/// What stands where nothing is known, or nothing is limited.
const NOTHING: &str = "-";

/// Over how long requests and tokens are counted for one point of a chart, milliseconds.
const MINUTE_MS: i64 = 60_000;

const HELP: &str = " \
up, down, k, j     choose a key; also PageUp, PageDown, Home, End
 s                  sort by the next column
 S                  turn the order round
 /                  only keys whose name, account or reason has a text
 space, p           pause, so that nothing moves
 r                  end the cooldowns of the chosen key and its account
 ?, h               this help
 q, Esc, Ctrl-C     quit

 free min/day       free requests of the key's account left in this
                    minute and in this UTC day
 requests a minute  in the minute before each point, a point for 10 s";

/// Draws `app`.
pub(super) fn draw(app: &App, frame: &mut Frame<'_>) {
    let area = frame.area();
    // On a low screen the keys are worth most.
    let charts = if area.height >= 24 { 7 } else { 0 };
    let lists = if area.height >= 16 { (area.height / 4).clamp(5, 12) } else { 0 };
    let [head, charts, keys, lists, foot] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(charts),
        Constraint::Min(3),
        Constraint::Length(lists),
        Constraint::Length(1),
    ])
    .areas(area);
    draw_head(app, frame, head);
    if charts.height > 0 {
        let [left, right] = Layout::horizontal([Constraint::Fill(1); 2]).areas(charts);
        let (samples, now) = (&app.live.samples, Sample::of(Time(app.live.now_ms), &app.live.counts));
        draw_chart(app, frame, left, "requests a minute", &rates(samples, now, |sample| sample.requests));
        draw_chart(app, frame, right, "tokens a minute", &rates(samples, now, |sample| sample.tokens));
    }
    draw_keys(app, frame, keys);
    if lists.height > 0 {
        let halves = [Constraint::Fill(3), Constraint::Fill(2)];
        let [left, right] = Layout::horizontal(halves).areas(lists);
        draw_errors(app, frame, left);
        draw_room(app, frame, right);
    }
    draw_foot(app, frame, foot);
    if app.help {
        draw_help(frame, area);
    }
}

fn style(app: &App, color: Color) -> Style {
    if app.colored { Style::new().fg(color) } else { Style::new() }
}

fn dim() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}

fn strong() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

fn draw_head(app: &App, frame: &mut Frame<'_>, area: Rect) {
    let [first, second] = Layout::vertical([Constraint::Length(1); 2]).areas(area);
    let (server, live) = (&app.server, &app.live);
    let up = span(live.now_ms.saturating_sub(server.started_ms));
    let clock = match Timestamp::from_millisecond(live.now_ms) {
        Ok(now) => now.strftime("%H:%M:%S UTC").to_string(),
        Err(_) => String::new(),
    };
    let mut right = vec![Span::raw(clock), Span::raw(" ")];
    if app.paused {
        let paused = style(app, Color::Yellow).add_modifier(Modifier::REVERSED | Modifier::BOLD);
        right.insert(0, Span::styled(" paused ", paused));
        right.insert(1, Span::raw(" "));
    }
    let right = Line::from(right);
    let width = u16::try_from(right.width()).unwrap_or(0);
    let [left_area, right_area] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Length(width)]).areas(first);
    let left = vec![
        Span::styled(format!(" hermux {}", server.version), strong()),
        Span::raw(format!(" at {}", server.address)),
        Span::raw(format!(", process {}", server.pid)),
        Span::raw(format!(", up {up}")),
    ];
    let left = fitting_parts(left, usize::from(left_area.width.saturating_sub(1)));
    frame.render_widget(left, left_area);
    frame.render_widget(right, right_area);
    let counted = if let Some(lost) = &app.lost {
        Line::styled(format!(" {lost}"), style(app, Color::Red).add_modifier(Modifier::BOLD))
    } else {
        let counts = &live.counts;
        let tokens = counts.prompt_tokens + counts.completion_tokens;
        let parts = vec![
            Span::styled(
                format!(" {} in flight, {} waiting", live.state.in_flight, live.state.waiting.requests),
                strong(),
            ),
            Span::raw(format!("; since then {} requests", counts.requests)),
            Span::raw(format!(", {} attempts", counts.attempts)),
            Span::raw(format!(", {} failed", counts.failed)),
            Span::raw(format!(", {} tokens", short(tokens))),
            Span::raw(format!(", {} USD", dollars(counts.cost, 2))),
        ];
        fitting_parts(parts, usize::from(second.width))
    };
    frame.render_widget(counted, second);
}

/// For now and each sample before it, the newest first, what was counted in the minute before.
fn rates(samples: &[Sample], now: Sample, of: fn(&Sample) -> u64) -> Vec<u64> {
    let rate = |at: &Sample, before: &[Sample]| {
        let begin = at.at_ms - MINUTE_MS;
        // The first sample is as old as the server, or an hour.
        let then = before.iter().rev().find(|sample| sample.at_ms <= begin).or(before.first());
        then.map_or(0, |then| of(at).saturating_sub(of(then)))
    };
    let earlier = (0..samples.len()).rev().map(|place| rate(&samples[place], &samples[..place]));
    std::iter::once(rate(&now, samples)).chain(earlier).collect()
}

fn draw_chart(app: &App, frame: &mut Frame<'_>, area: Rect, what: &str, rates: &[u64]) {
    let shown = usize::from(area.width.saturating_sub(2));
    let most = rates.iter().take(shown).max().copied().unwrap_or(0);
    let now = rates.first().copied().unwrap_or(0);
    let mut title = format!(" {what}: {}, at most {} ", short(now), short(most));
    if title.chars().count() > shown {
        title = format!(" {what}: {} ", short(now));
    }
    let back = i64::try_from(shown).unwrap_or(0) * SAMPLE_MS;
    let block = Block::new()
        .borders(Borders::ALL)
        .border_style(dim())
        .title(Span::styled(title, strong()))
        .title_bottom(Line::styled(format!(" {} ago ", span(back)), dim()))
        .title_bottom(Line::styled(" now ", dim()).right_aligned());
    let chart = Sparkline::default()
        .block(block)
        .data(rates)
        .max(most.max(1))
        .direction(RenderDirection::RightToLeft)
        .style(style(app, Color::Cyan));
    frame.render_widget(chart, area);
}

fn draw_keys(app: &App, frame: &mut Frame<'_>, area: Rect) {
    let keys = app.keys();
    let all = app.live.state.pool.keys.len();
    let count = if keys.len() == all { all.to_string() } else { format!("{} of {all}", keys.len()) };
    let order = if app.reversed { ", turned round" } else { "" };
    let mut title = format!(" keys: {count}, sorted by {}{order} ", app.sort.word());
    if app.sort == Sort::File {
        title = format!(" keys: {count}, {}{order} ", app.sort.word());
    }
    if !app.filter.is_empty() {
        title = format!("{title}with `{}` ", app.filter);
    }
    let block = Block::new().borders(Borders::ALL).border_style(dim()).title(Span::styled(title, strong()));
    if keys.is_empty() {
        let why = if all == 0 { "no keys" } else { "no key has this text; Esc shows all" };
        frame.render_widget(Paragraph::new(why).block(block), area);
        return;
    }
    let of_costs = keys.iter().map(|key| decimals(key.cost_today)).fold(2, usize::max);
    let of_caps = keys.iter().filter_map(|key| key.cap_left).map(decimals).fold(2, usize::max);
    let now = Time(app.live.now_ms);
    let cells: Vec<[String; COLUMNS]> = keys.iter().map(|key| cells(key, of_costs, of_caps, now)).collect();
    let header =
        ["name", "in flight", "used today", "free min/day", "cap left USD", "cost USD", "account", "state"];
    let columns = fitting_columns(&header, &cells, usize::from(area.width.saturating_sub(2)));
    let widths =
        columns.iter().map(|&(_, width)| Constraint::Length(u16::try_from(width).unwrap_or(u16::MAX)));
    let rows = keys.iter().zip(&cells).map(|(key, cells)| {
        let is_out = key.rests.iter().any(|rest| rest.what == "all" && rest.until_ms.is_none());
        let row = match () {
            () if is_out => style(app, Color::Red),
            () if !key.rests.is_empty() => style(app, Color::Yellow),
            () => Style::new(),
        };
        Row::new(columns.iter().map(|&(column, width)| cell(column, &cut(&cells[column], width)))).style(row)
    });
    let head = Row::new(columns.iter().map(|&(column, width)| cell(column, &cut(header[column], width))));
    let head = head.style(strong());
    let table = Table::new(rows, widths)
        .header(head)
        .column_spacing(GAP)
        .block(block)
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut state = TableState::new().with_selected(app.chosen(&keys));
    frame.render_stateful_widget(table, area, &mut state);
}

/// The columns of the keys' table, and which is which.
const COLUMNS: usize = 8;
const NAME: usize = 0;
const ACCOUNT: usize = 6;
const STATE: usize = 7;

/// Blanks between two columns.
const GAP: u16 = 2;

/// The least and the most of a name that is shown, letters.
const SHORTEST_NAME: usize = 12;
const LONGEST_NAME: usize = 30;

/// The columns that have room in so many letters, from left to right, and how wide each is.
///
/// What rests and until when is worth most and gets its room first; then come counts, how long that is from now, and money and
/// accounts. What is left over is for names, then for reasons.
fn fitting_columns(
    header: &[&str; COLUMNS],
    cells: &[[String; COLUMNS]],
    room: usize,
) -> Vec<(usize, usize)> {
    let widest = |column: usize, of: fn(&str) -> usize| {
        let widths = cells.iter().map(|row| of(&row[column]));
        widths.fold(header[column].chars().count(), usize::max)
    };
    let whole = |text: &str| text.chars().count();
    let name = widest(NAME, whole).min(LONGEST_NAME);
    let mut widths = [0; COLUMNS];
    widths[NAME] = name.min(SHORTEST_NAME);
    widths[STATE] = widest(STATE, |text| letters_before(text, &[" (", ": "]));
    let mut left = room.saturating_sub(widths[NAME] + usize::from(GAP) + widths[STATE]);
    let add = |widths: &mut [usize; COLUMNS], left: &mut usize, column: usize| {
        let wanted = widest(column, whole);
        let is_empty = cells.iter().all(|row| row[column] == NOTHING);
        if !is_empty && wanted + usize::from(GAP) <= *left {
            widths[column] = wanted;
            *left -= wanted + usize::from(GAP);
        }
    };
    for column in [1, 2, 3] {
        add(&mut widths, &mut left, column);
    }
    let state = widest(STATE, |text| letters_before(text, &[": "])).min(widths[STATE] + left);
    left -= state - widths[STATE];
    widths[STATE] = state;
    for column in [5, 4, ACCOUNT] {
        add(&mut widths, &mut left, column);
    }
    let longer = left.min(name - widths[NAME]);
    widths[NAME] += longer;
    widths[STATE] += left - longer;
    (0..COLUMNS).filter(|&column| widths[column] > 0).map(|column| (column, widths[column])).collect()
}

/// How many letters of `text` stand before the first of `marks`, and one that tells that there are more.
fn letters_before(text: &str, marks: &[&str]) -> usize {
    let end = marks.iter().filter_map(|mark| text.find(mark)).min().unwrap_or(text.len());
    text[..end].chars().count() + usize::from(end < text.len())
}

/// `text` in at most so many letters, the last of which tells that there were more.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut shown: String = text.chars().take(width.saturating_sub(1)).collect();
    if width > 0 {
        shown.push('…');
    }
    shown
}

/// The same of a line in parts.
fn cut_line(line: Line<'_>, width: usize) -> Line<'_> {
    if line.width() <= width {
        return line;
    }
    let mut left = width;
    let mut parts = Vec::new();
    for part in line.spans {
        let letters = part.content.chars().count();
        // The end of what follows is cut off, so here too something has to tell.
        let is_last = letters >= left;
        let text =
            if is_last { cut(&format!("{}…", part.content), left) } else { part.content.into_owned() };
        left = left.saturating_sub(letters);
        parts.push(Span::styled(text, part.style));
        if is_last {
            break;
        }
    }
    Line::from(parts)
}

/// The first of `parts` that have room beside each other.
fn fitting_parts(parts: Vec<Span<'_>>, width: usize) -> Line<'_> {
    let mut used = 0;
    let fits = |part: &Span<'_>| {
        used += part.width();
        used <= width
    };
    Line::from(parts.into_iter().take_while(fits).collect::<Vec<_>>())
}

/// Numbers stand on the right.
fn cell(column: usize, text: &str) -> Cell<'static> {
    let line = Line::raw(text.to_owned());
    Cell::new(if (1..6).contains(&column) { line.right_aligned() } else { line })
}

fn cells(key: &KeyState, of_costs: usize, of_caps: usize, now: Time) -> [String; COLUMNS] {
    let shown = |left: Option<u64>| left.map_or(NOTHING.to_owned(), |left| left.to_string());
    let free = match (key.free_minute_left, key.free_day_left) {
        (None, None) => NOTHING.to_owned(),
        (minute, day) => format!("{}/{}", shown(minute), shown(day)),
    };
    let rests: Vec<String> = key.rests.iter().map(|rest| rest_text(rest, now)).collect();
    [
        key.name.clone(),
        key.in_flight.to_string(),
        key.used_today.to_string(),
        free,
        key.cap_left.map_or(NOTHING.to_owned(), |left| dollars(left, of_caps)),
        dollars(key.cost_today, of_costs),
        key.account.clone().unwrap_or_else(|| NOTHING.to_owned()),
        if rests.is_empty() { "ok".to_owned() } else { rests.join("; ") },
    ]
}

/// `free until 12:34 UTC (in 5 min): …`: the end first, since the reason may find no room.
fn rest_text(rest: &RestState, now: Time) -> String {
    words::rest(rest, now).replacen("resting until ", "until ", 1).replacen(" models until ", " until ", 1)
}

fn draw_errors(app: &App, frame: &mut Frame<'_>, area: Rect) {
    let lines = app.live.errors.iter().rev().map(|error| failure(app, error));
    let lines: Vec<Line<'_>> = lines.take(usize::from(area.height)).collect();
    draw_list(frame, area, " last errors ", lines, "none");
}

fn failure<'a>(app: &App, error: &'a Failure) -> Line<'a> {
    let at = Timestamp::from_millisecond(error.at_ms);
    let at = at.map_or_else(|_| String::new(), |at| at.strftime("%H:%M:%S").to_string());
    let status = error.status.map_or(String::new(), |status| format!("{status} "));
    let mut spans = vec![Span::styled(at, dim()), Span::raw(" ")];
    if let Some(key) = &error.key {
        spans.extend([Span::styled(plain(key), strong()), Span::raw(" ")]);
    }
    spans.push(Span::styled(format!("{status}{}", plain(&error.what)), style(app, Color::Red)));
    if let Some(model) = &error.model {
        spans.push(Span::raw(format!(", {}", plain(model))));
    }
    if let Some(caller) = &error.caller {
        spans.push(Span::styled(format!(", asked by {}", plain(caller)), dim()));
    }
    Line::from(spans)
}

fn draw_room(app: &App, frame: &mut Frame<'_>, area: Rect) {
    let waiting = app.live.state.waiting.requests;
    let title = match waiting {
        0 => " waiting room ".to_owned(),
        1 => " waiting room: 1 request ".to_owned(),
        _ => format!(" waiting room: {waiting} requests "),
    };
    let now = Time(app.live.now_ms);
    let model = |awaited: &Awaited| {
        let name = if awaited.model.is_empty() { "(no model)".to_owned() } else { plain(&awaited.model) };
        let until = awaited
            .until_ms
            .map_or(String::new(), |until| format!(", until {}", words::until_text(Time(until), now)));
        Line::raw(format!("{} for {name}{until}", awaited.waiting))
    };
    let caller =
        |(name, waiting): &(String, usize)| Line::styled(format!("{waiting} of {}", plain(name)), dim());
    let models = app.live.awaited.iter().map(model);
    let lines = models.chain(app.live.callers.iter().map(caller)).collect();
    draw_list(frame, area, &title, lines, "nobody waits");
}

fn draw_list(frame: &mut Frame<'_>, area: Rect, title: &str, lines: Vec<Line<'_>>, none: &str) {
    let title = cut(title, usize::from(area.width.saturating_sub(2)));
    let block = Block::new().borders(Borders::ALL).border_style(dim()).title(Span::styled(title, strong()));
    let lines = if lines.is_empty() { vec![Line::styled(none.to_owned(), dim())] } else { lines };
    let width = usize::from(area.width.saturating_sub(2));
    let lines: Vec<_> = lines.into_iter().map(|line| cut_line(line, width)).collect();
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn draw_foot(app: &App, frame: &mut Frame<'_>, area: Rect) {
    let line = if app.typing {
        Line::from(vec![
            Span::styled(format!(" filter: {}_", app.filter), strong()),
            Span::styled("  Enter keeps it, Esc drops it", dim()),
        ])
    } else if let Some(said) = &app.said {
        Line::styled(format!(" {said}"), strong())
    } else {
        let mut spans = Vec::new();
        let mut left = usize::from(area.width);
        for (key, what) in [
            ("q", "quit"),
            ("?", "help"),
            ("up/down", "choose"),
            ("s", "sort"),
            ("/", "filter"),
            ("space", "pause"),
            ("r", "end cooldowns"),
        ] {
            let part =
                [Span::raw(" "), Span::styled(key, strong()), Span::styled(format!(" {what} "), dim())];
            let Some(rest) = left.checked_sub(part.iter().map(Span::width).sum()) else { break };
            left = rest;
            spans.extend(part);
        }
        Line::from(spans)
    };
    frame.render_widget(line, area);
}

fn draw_help(frame: &mut Frame<'_>, area: Rect) {
    let lines = u16::try_from(HELP.lines().count()).unwrap_or(u16::MAX);
    let [row] = Layout::vertical([Constraint::Length(lines + 2)]).flex(Flex::Center).areas(area);
    let [place] = Layout::horizontal([Constraint::Length(74)]).flex(Flex::Center).areas(row);
    let block = Block::new().borders(Borders::ALL).title(Span::styled(" keys ", strong()));
    frame.render_widget(Clear, place);
    frame.render_widget(Paragraph::new(HELP).block(block), place);
}

/// Without what could move the cursor: names come from elsewhere.
fn plain(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).collect()
}

/// `950`, `12.3k`, `4.5M`.
fn short(number: u64) -> String {
    let (unit, word) = match number {
        0..10_000 => return number.to_string(),
        10_000..1_000_000 => (1_000, "k"),
        1_000_000..1_000_000_000 => (1_000_000, "M"),
        _ => (1_000_000_000, "G"),
    };
    format!("{}.{}{word}", number / unit, number % unit * 10 / unit)
}

/// `45 s`, `12 min`, `3 h 5 min`, `2 days`.
fn span(millis: i64) -> String {
    let seconds = millis.max(0) / 1000;
    match (seconds, seconds / 60 % 60) {
        (..60, _) => format!("{seconds} s"),
        (..3600, minutes) => format!("{minutes} min"),
        (..86_400, 0) => format!("{} h", seconds / 3600),
        (..172_800, minutes) => format!("{} h {minutes} min", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}
