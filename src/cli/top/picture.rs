//! What `top` shows of a look: a header, a line for each sender, and the keys.

use time::OffsetDateTime;

use super::Look;
use crate::cli::output::{bold, plain};
use crate::cli::terminal::{Key, Terminal};
use crate::cli::text::fit;
use crate::standing::facts::width as columns_of;
use crate::standing::sender::{Doing, Reading, counted, rate};
use crate::standing::time::{age, span};
use crate::store::StoreError;
use crate::store::summary::SenderStanding;

/// An error is worth a place beside a sender that goes well for so long.
const ERROR_IS_NEWS: time::Duration = time::Duration::minutes(10);
/// A table on a pipe is as wide as it needs to be.
const ANY_WIDTH: usize = 10_000;

/// By what the lines are in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// Those that something keeps first.
    Trouble,
    Name,
    Rate,
    Due,
    Oldest,
}

impl Order {
    fn next(self) -> Self {
        match self {
            Self::Trouble => Self::Name,
            Self::Name => Self::Rate,
            Self::Rate => Self::Due,
            Self::Due => Self::Oldest,
            Self::Oldest => Self::Trouble,
        }
    }

    fn in_words(self) -> &'static str {
        match self {
            Self::Trouble => "trouble",
            Self::Name => "sender",
            Self::Rate => "rate",
            Self::Due => "due",
            Self::Oldest => "oldest due",
        }
    }
}

/// The last look, and how it is to be shown.
pub(super) struct View {
    look: Look,
    order: Order,
    filter: String,
    is_typing: bool,
    is_paused: bool,
    /// Why the last look failed.
    error: Option<String>,
}

impl View {
    pub(super) fn new(look: Look) -> Self {
        Self {
            look,
            order: Order::Trouble,
            filter: String::new(),
            is_typing: false,
            is_paused: false,
            error: None,
        }
    }

    pub(super) fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// Takes a key. `false`: it ends.
    pub(super) fn takes(&mut self, key: Key) -> bool {
        if self.is_typing {
            match key {
                Key::Letter(letter) => self.filter.push(letter),
                Key::Back => drop(self.filter.pop()),
                Key::Enter => self.is_typing = false,
                Key::Escape => (self.is_typing, self.filter) = (false, String::new()),
                Key::Interrupt => return false,
            }
            return true;
        }
        match key {
            Key::Letter('q') | Key::Interrupt => return false,
            Key::Letter('s') => self.order = self.order.next(),
            Key::Letter('p') => self.is_paused = !self.is_paused,
            Key::Letter('/') => self.is_typing = true,
            Key::Escape => self.filter.clear(),
            Key::Letter(_) | Key::Enter | Key::Back => {}
        }
        true
    }

    /// Takes what a look has found; one that failed leaves the last one where it is, and says so.
    pub(super) fn saw(&mut self, look: Result<Look, StoreError>) {
        match look {
            Ok(look) => (self.look, self.error) = (look, None),
            Err(error) => self.error = Some(error.to_string()),
        }
    }

    /// All of it, for a terminal of this size.
    pub(super) fn lines(&self, terminal: &Terminal) -> Vec<String> {
        let width = terminal.width();
        let mut lines: Vec<String> = header(&self.look)
            .iter()
            .map(|line| fit(line, width))
            .collect();
        lines.push(String::new());
        lines.push(terminal.painted("1", &fit(&TITLES.render(width), width)));
        let filter = self.filter.to_lowercase();
        let mut rows: Vec<Row> = self.look.senders.iter().map(Row::of).collect();
        rows.retain(|row| row.render(ANY_WIDTH).to_lowercase().contains(&filter));
        rows.sort_by(|one, other| self.order.compare(one, other));
        // Below them: one line that is empty, the keys, and the line of the cursor.
        let room = terminal.lines().saturating_sub(lines.len() + 3);
        let shown = match rows.len() > room {
            true => room.saturating_sub(1),
            false => rows.len(),
        };
        for row in &rows[..shown] {
            let line = fit(&row.render(width), width);
            lines.push(match row.is_kept {
                true => terminal.painted("31", &line),
                false => line,
            });
        }
        if shown < rows.len() {
            lines.push(fit(&format!("… and {} more", rows.len() - shown), width));
        }
        lines.push(String::new());
        lines.push(terminal.painted("2", &fit(&self.keys(), width)));
        lines
    }

    fn keys(&self) -> String {
        if self.is_typing {
            return format!("filter: {}▏  Enter keeps it, Esc ends it", self.filter);
        }
        let filter = match self.filter.as_str() {
            "" => "/ filter".to_owned(),
            filter => format!("/ filter: {filter} (Esc ends it)"),
        };
        let pause = match self.is_paused {
            true => "p go on, PAUSED",
            false => "p pause",
        };
        let order = self.order.in_words();
        let error = self
            .error
            .as_ref()
            .map_or_else(String::new, |error| format!("  NO LOOK: {error}"));
        format!("q quit  s sort: {order}  {filter}  {pause}{error}")
    }
}

/// One look as a table for people, as wide as it needs to be.
pub(super) fn table(look: &Look, colours: bool) -> String {
    let mut text = header(look).join("\n") + "\n\n";
    text += &bold(&TITLES.render(ANY_WIDTH), colours);
    text += "\n";
    for sender in &look.senders {
        text += &Row::of(sender).render(ANY_WIDTH);
        text += "\n";
    }
    text
}

/// What concerns all of them.
fn header(look: &Look) -> [String; 2] {
    let all = &look.overview;
    let sum = |pick: fn(&SenderStanding) -> f64| -> f64 {
        let fresh = look.senders.iter().filter(|it| !Reading(it).is_stale());
        // The sum of nothing is -0, which people would read.
        fresh.map(pick).fold(0.0, |sum, one| sum + one)
    };
    let count = |pick: fn(&SenderStanding) -> i64| -> String {
        let is_over = |it: &SenderStanding| pick(it) >= it.counted_at_most;
        let more = match look.senders.iter().any(is_over) {
            true => "more than ",
            false => "",
        };
        let counts = look
            .senders
            .iter()
            .map(|it| pick(it).min(it.counted_at_most - 1));
        format!("{more}{}", counts.sum::<i64>())
    };
    let person = match all.needs_person {
        0 => String::new(),
        some => format!(", {} for a person", counted(some)),
    };
    [
        format!(
            "workers {}  senders {}  {}/s of {}/s  {} out  {} due  {} queued",
            all.workers,
            look.senders.len(),
            rate(Some(sum(|it| it.rate_now.unwrap_or_default()))),
            rate(Some(sum(|it| it.rate_limit.unwrap_or_default()))),
            rate(Some(sum(|it| it.in_flight.map_or(0.0, f64::from)))),
            count(|it| it.due),
            count(|it| it.queued),
        ),
        format!(
            "uncertain {}{person}  webhooks {}",
            counted(all.uncertain),
            webhooks(look)
        ),
    ]
}

fn webhooks(look: &Look) -> String {
    let all = &look.overview;
    let lag = match all.oldest_delivery_at {
        Some(oldest) => format!("{} behind", span(all.now - oldest)),
        None => "applied".to_owned(),
    };
    let last = all.last_status_at.map_or_else(
        || ", no status yet".to_owned(),
        |at| format!(", last status {}", age(at, all.now)),
    );
    match all.is_listening {
        Some(true) => format!("{lag}{last}"),
        Some(false) => format!("{lag}{last}, NOBODY LISTENS"),
        None => "nobody has listened yet".to_owned(),
    }
}

/// A line of the table, with what it is put in order by.
struct Row {
    cells: [String; 7],
    is_kept: bool,
    rate: f64,
    due: i64,
    oldest: Option<OffsetDateTime>,
}

/// The titles are a line like any other.
struct Titles;
const TITLES: Titles = Titles;

impl Titles {
    fn render(&self, width: usize) -> String {
        let titles = [
            "SENDER",
            "RATE/LIMIT",
            "OUT",
            "DUE",
            "QUEUED",
            "OLDEST",
            "STANDS",
        ];
        line(&titles.map(str::to_owned), width)
    }
}

impl Row {
    fn of(it: &SenderStanding) -> Self {
        let reading = Reading(it);
        let fresh = !reading.is_stale();
        let figure = |value: Option<f64>| match value.filter(|_| fresh) {
            Some(value) => rate(Some(value)),
            None => "-".to_owned(),
        };
        let oldest = it.oldest_due_at;
        let is_kept = !matches!(reading.doing(), Doing::Idle | Doing::Sending);
        Self {
            cells: [
                it.sender.clone(),
                format!("{}/{}", figure(it.rate_now), figure(it.rate_limit)),
                figure(it.in_flight.map(f64::from)),
                short(it.counted_at_most, it.due),
                short(it.counted_at_most, it.queued),
                oldest.map_or_else(|| "-".to_owned(), |oldest| span(it.now - oldest)),
                plain(&stands(reading, is_kept)).into_owned(),
            ],
            is_kept,
            rate: it.rate_now.filter(|_| fresh).unwrap_or_default(),
            due: it.due,
            oldest,
        }
    }

    fn render(&self, width: usize) -> String {
        line(&self.cells, width)
    }
}

impl Order {
    fn compare(self, one: &Row, other: &Row) -> std::cmp::Ordering {
        let by = match self {
            Self::Trouble => other.is_kept.cmp(&one.is_kept),
            Self::Name => std::cmp::Ordering::Equal,
            Self::Rate => other.rate.total_cmp(&one.rate),
            Self::Due => other.due.cmp(&one.due),
            // Who has nothing due comes last.
            Self::Oldest => {
                (one.oldest.is_none(), one.oldest).cmp(&(other.oldest.is_none(), other.oldest))
            }
        };
        by.then_with(|| one.cells[0].cmp(&other.cells[0]))
    }
}

/// What keeps it; else what it may be slowed by; else what went wrong lately; else what it does.
fn stands(reading: Reading<'_>, is_kept: bool) -> String {
    let it = reading.0;
    if is_kept {
        return reading.says();
    }
    let mut notes = Vec::new();
    if !reading.is_stale()
        && it
            .rate_limit
            .is_some_and(|limit| limit < it.rate_per_second)
    {
        notes.push(format!(
            "limit: {}",
            it.limit_source.as_deref().unwrap_or("lowered")
        ));
    }
    match it.held_templates {
        0 => {}
        1 => notes.push("one template held".to_owned()),
        many => notes.push(format!("{many} templates held")),
    }
    if let (Some(error), Some(at)) = (&it.last_error, it.last_error_at)
        && it.now - at < ERROR_IS_NEWS
    {
        notes.push(format!("{error} ({})", age(at, it.now)));
    }
    if notes.is_empty() {
        notes.push(match reading.doing() {
            Doing::Sending => "sends".to_owned(),
            _ => reading.says(),
        });
    }
    notes.join("; ")
}

/// A count that is not to take much room.
fn short(at_most: i64, count: i64) -> String {
    match count >= at_most {
        true => format!(">{}", at_most - 1),
        false => count.to_string(),
    }
}

/// The cells of a line; on a terminal that is narrow the queue is left out, which what is due tells more of.
fn line(cells: &[String; 7], width: usize) -> String {
    let [sender, rates, out, due, queued, oldest, stands] = cells;
    let queued = match width >= NARROW {
        true => format!("  {queued:>6}"),
        false => String::new(),
    };
    let gap = " ".repeat(SENDER.saturating_sub(columns_of(sender)));
    format!("{sender}{gap}  {rates:>10}  {out:>3}  {due:>6}{queued}  {oldest:>6}  {stands}")
}

/// As wide as the id of a phone number.
const SENDER: usize = 15;
/// On a terminal with fewer columns there is no room for all of them.
const NARROW: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::standing::sender::tests::{busy, held};
    use crate::store::summary::Overview;

    fn look(senders: Vec<SenderStanding>) -> Look {
        Look {
            overview: Overview {
                workers: 2,
                uncertain: 3,
                needs_person: 1,
                oldest_delivery_at: None,
                last_status_at: Some(busy().now - time::Duration::seconds(4)),
                is_listening: Some(true),
                now: busy().now,
            },
            senders,
        }
    }

    fn named(sender: &str, standing: SenderStanding) -> SenderStanding {
        SenderStanding {
            sender: sender.into(),
            ..standing
        }
    }

    fn shown(view: &View, columns: usize, lines: usize) -> Vec<String> {
        view.lines(&Terminal::of_size(columns, lines))
    }

    /// The senders in the order of their lines.
    fn order(view: &View) -> Vec<String> {
        let lines = shown(view, 80, 24);
        let rows = lines[4..lines.len() - 2].iter();
        rows.map(|line| line.split(' ').next().unwrap_or_default().to_owned())
            .collect()
    }

    #[test]
    fn no_picture_is_wider_or_taller_than_its_terminal() {
        let many = (0..60).map(|n| SenderStanding {
            held_reason: Some("账户已被限制，请联系支持团队 🚫👩‍👩‍👧❤\u{fe0f} ".repeat(8)),
            ..named(&n.to_string(), held())
        });
        let many = many.collect();
        let view = View::new(look(many));
        for (columns, lines) in [(20, 10), (80, 24), (120, 40), (200, 100)] {
            let shown = shown(&view, columns, lines);
            assert!(shown.len() < lines, "{lines}: {}", shown.len());
            let widest = shown.iter().map(|line| columns_of(line)).max();
            assert!(widest < Some(columns), "{columns}: {widest:?}");
        }
        let shown = shown(&view, 80, 24);
        assert_eq!(shown[shown.len() - 3], "… and 44 more");
    }

    #[test]
    fn the_header_sums_up_and_a_line_says_what_keeps_its_sender() {
        let view = View::new(look(vec![busy(), named("4712", held())]));
        let lines = shown(&view, 150, 24);
        assert_eq!(
            lines[0],
            "workers 2  senders 2  156/s of 160/s  24 out  1000 due  more than 20000 queued"
        );
        assert_eq!(
            lines[1],
            "uncertain 3, 1 for a person  webhooks applied, last status 4 s ago"
        );
        assert!(
            lines[4].starts_with(
                "4712                  78/80   12     500  >10000  12 min  is held since 12 min by"
            ),
            "{}",
            lines[4]
        );
        assert!(lines[5].ends_with("12 min  sends"), "{}", lines[5]);
    }

    #[test]
    fn keys_sort_filter_pause_and_quit() {
        let slow = SenderStanding {
            rate_now: Some(1.0),
            due: 900,
            ..named("b", busy())
        };
        let mut view = View::new(look(vec![named("a", busy()), slow, named("c", held())]));
        assert_eq!(order(&view), ["c", "a", "b"], "what is kept comes first");
        let mut orders = Vec::new();
        for _ in 0..3 {
            assert!(view.takes(Key::Letter('s')));
            orders.push(order(&view).concat());
        }
        assert_eq!(orders, ["abc", "acb", "bac"], "by sender, by rate, by due");

        for key in [Key::Letter('/'), Key::Letter('Q'), Key::Back] {
            assert!(view.takes(key), "a q that is typed ends nothing");
        }
        for letter in "IS HELD".chars() {
            view.takes(Key::Letter(letter));
        }
        view.takes(Key::Enter);
        assert_eq!(order(&view), ["c"]);
        view.takes(Key::Escape);
        assert_eq!(order(&view).len(), 3);

        view.takes(Key::Letter('p'));
        assert!(view.is_paused());
        assert!(!view.takes(Key::Letter('q')));
    }

    #[test]
    fn a_look_that_fails_is_said_and_leaves_the_last_one() {
        let mut view = View::new(look(vec![busy()]));
        view.saw(Err(StoreError::StatementsMixedUp));
        let lines = shown(&view, 200, 24);
        assert!(lines.last().is_some_and(|line| line.contains("NO LOOK: ")));
        assert_eq!(order(&view), ["4711"]);
    }
}
