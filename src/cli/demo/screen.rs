//! What a person sees: a table that is drawn again and again on a terminal, one line a change anywhere else.
//!
//! The table never takes more lines than the terminal has, nor more columns, because a line that wraps or scrolls cannot be
//! drawn over. Where not every message fits, those that something is happening to are shown.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use super::standing::{Standing, Tone};
use crate::cli::output::plain;
use crate::cli::terminal::Terminal;
use crate::cli::text::{TIED, fit, span, wrapped};
use crate::standing::facts::width;

const WHAT_WIDTH: usize = 28;
const TO_WIDTH: usize = 8;
/// On a terminal with fewer columns the recipient is left out.
const NARROW: usize = 100;

/// One message.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) id: i64,
    pub(super) what: String,
    pub(super) to: String,
    pub(super) standing: Standing,
    /// In one word, for the tally.
    pub(super) word: String,
    pub(super) is_open: bool,
    /// There is more to tell of it than of most.
    pub(super) is_notable: bool,
}

/// Where it is shown.
pub(super) struct Screen {
    terminal: Terminal,
    /// Whether the table is drawn over; once it was left, changes are told line by line.
    draws: bool,
    /// What was last shown of each message, and at which change.
    shown: HashMap<i64, (String, u64)>,
    changes: u64,
    remark: String,
}

impl Screen {
    /// Standard output.
    pub(super) fn of_process() -> Self {
        Self::on(Terminal::of_process())
    }

    fn on(terminal: Terminal) -> Self {
        Self {
            draws: terminal.is_one(),
            terminal,
            shown: HashMap::new(),
            changes: 0,
            remark: String::new(),
        }
    }

    /// Columns that a text may take.
    pub(super) fn columns(&self) -> usize {
        self.terminal.columns().clamp(40, 110)
    }

    /// Says something that stays, above the table if there is one.
    pub(super) fn say(&mut self, text: &str) -> io::Result<()> {
        self.terminal.say(text)
    }

    /// Says that something has been started.
    pub(super) fn step(&mut self, what: &str) -> io::Result<()> {
        let done = self.toned(Tone::Good, "✓");
        self.say(&format!("  {done} {what}"))
    }

    /// A text in bold, where there is bold.
    pub(super) fn bold(&self, text: &str) -> String {
        self.terminal.painted("1", text)
    }

    /// A text that stands back.
    pub(super) fn dim(&self, text: &str) -> String {
        self.terminal.painted("2", text)
    }

    /// A text in the colour of a tone.
    pub(super) fn toned(&self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Quiet => "2",
            Tone::Moving => return text.to_owned(),
            Tone::Doubt => "33",
            Tone::Good => "32",
            Tone::Seen => "36",
            Tone::Bad => "31",
        };
        self.terminal.painted(code, text)
    }

    /// Shows where the messages stand, and what is going on.
    pub(super) fn show(&mut self, rows: &[Row], elapsed: Duration, remark: &str) -> io::Result<()> {
        let changed = self.take_note(rows);
        if self.draws {
            return self.draw(rows, elapsed, remark);
        }
        let mut lines = String::new();
        let at = format!("{:>6.1} s", elapsed.as_secs_f64());
        if !remark.is_empty() && remark != self.remark {
            remark.clone_into(&mut self.remark);
            let _ = writeln!(lines, "{at}  {remark}");
        }
        for row in changed {
            let words = self.toned(row.standing.tone, &plain(&row.standing.words));
            let (id, what) = (row.id, &row.what);
            let _ = writeln!(lines, "{at}  #{id:<3} {what}: {words}");
        }
        self.terminal.write(&lines)
    }

    /// Shows all messages a last time; what is said next stands below them.
    pub(super) fn leave(&mut self, rows: &[Row], elapsed: Duration) -> io::Result<()> {
        self.show(rows, elapsed, "")?;
        if self.draws {
            let lines = self.lines(rows, elapsed, "", usize::MAX);
            self.terminal.draw(&lines)?;
            self.terminal.leave()?;
            self.draws = false;
        }
        Ok(())
    }

    /// Remembers what is shown of each message, and gives back those of which there is news.
    fn take_note<'a>(&mut self, rows: &'a [Row]) -> Vec<&'a Row> {
        self.changes += 1;
        let mut changed = Vec::new();
        for row in rows {
            let known = self.shown.get(&row.id);
            if known.is_none_or(|(words, _)| *words != row.standing.words) {
                let news = (row.standing.words.clone(), self.changes);
                self.shown.insert(row.id, news);
                changed.push(row);
            }
        }
        changed
    }

    fn draw(&mut self, rows: &[Row], elapsed: Duration, remark: &str) -> io::Result<()> {
        self.terminal.look_at_its_size();
        let lines = self.lines(rows, elapsed, remark, self.terminal.lines());
        self.terminal.draw(&lines)
    }

    /// The whole table, with room left for the line that the cursor is on.
    fn lines(&self, rows: &[Row], elapsed: Duration, remark: &str, height: usize) -> Vec<String> {
        let below = self.below(rows, elapsed, remark);
        let visible = self.visible(rows, height.saturating_sub(below.len() + 2));
        let heading = columns("#", "message", "to", self.terminal.columns());
        let mut lines = vec![self.dim(&fit(&format!("{heading}where it stands"), self.width()))];
        lines.extend(visible.iter().map(|row| self.line(row)));
        if visible.len() < rows.len() {
            let more = format!("      … and {} more", rows.len() - visible.len());
            lines.push(self.dim(&fit(&more, self.width())));
        }
        lines.extend(below);
        lines
    }

    /// What stands below the messages: how many stand where, and what is going on.
    fn below(&self, rows: &[Row], elapsed: Duration, remark: &str) -> Vec<String> {
        let time = format!("{:>6.1} s  ", elapsed.as_secs_f64());
        let indent = " ".repeat(time.len());
        let tally = wrapped(&time, &indent, &tally(rows), self.width());
        let remark = match remark {
            "" => String::new(),
            remark => wrapped(&indent, &indent, remark, self.width()),
        };
        let mut lines = vec![String::new()];
        lines.extend(
            tally
                .lines()
                .map(|line| self.bold(&fit(line, self.width()))),
        );
        lines.extend(remark.lines().map(|line| fit(line, self.width())));
        lines
    }

    fn line(&self, row: &Row) -> String {
        let start = columns(
            &row.id.to_string(),
            &row.what,
            &row.to,
            self.terminal.columns(),
        );
        let room = self.width().saturating_sub(width(&start));
        let start = fit(&start, self.width());
        let countdown = match row.standing.goes_on_in_s {
            Some(seconds) => fit(&format!(" ({})", span(seconds)), room),
            None => String::new(),
        };
        // Where it is tight, the seconds say more than the end of the words.
        let words = fit(&row.standing.words, room.saturating_sub(width(&countdown)));
        let words = self.toned(row.standing.tone, &format!("{words}{countdown}"));
        format!("{start}{words}")
    }

    /// The rows that fit: those that something is happening to, those worth telling of, those that last changed.
    fn visible<'a>(&self, rows: &'a [Row], room: usize) -> Vec<&'a Row> {
        if rows.len() <= room {
            return rows.iter().collect();
        }
        let mut ranked: Vec<&Row> = rows.iter().collect();
        ranked.sort_by_key(|row| {
            let happening = row.is_open && row.standing.tone != Tone::Quiet;
            let change = self.shown.get(&row.id).map_or(0, |(_, change)| *change);
            let rank = match (happening, row.is_notable) {
                (true, _) => 0,
                (false, true) => 1,
                (false, false) => 2,
            };
            (rank, std::cmp::Reverse(change), row.id)
        });
        // One line says how many more there are.
        ranked.truncate(room.saturating_sub(1));
        ranked.sort_by_key(|row| row.id);
        ranked
    }

    fn width(&self) -> usize {
        self.terminal.width()
    }
}

fn columns(id: &str, what: &str, to: &str, width: usize) -> String {
    let what = fit(what, WHAT_WIDTH);
    match width >= NARROW {
        true => format!("{id:>4}  {what:<WHAT_WIDTH$}  {to:<TO_WIDTH$}  "),
        false => format!("{id:>4}  {what:<WHAT_WIDTH$}  "),
    }
}

/// The words of the tally, along the way of a message.
const WAY: [&str; 15] = [
    "waiting",
    "queued",
    "sending",
    "in doubt",
    "accepted",
    "sent",
    "delivered",
    "read",
    "played",
    "done",
    "not delivered",
    "refused",
    "failed",
    "expired",
    "cancelled",
];

/// How many stand where.
fn tally(rows: &[Row]) -> String {
    let counts = WAY.iter().filter_map(|word| {
        let count = rows.iter().filter(|row| row.word == *word).count();
        (count > 0).then(|| format!("{count} {word}").replace(' ', &TIED.to_string()))
    });
    let counts: Vec<String> = counts.collect();
    format!("{} messages: {}", rows.len(), counts.join(" · "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen(columns: usize, lines: usize) -> Screen {
        Screen::on(Terminal::of_size(columns, lines))
    }

    fn row(id: i64, words: &str, tone: Tone, is_open: bool) -> Row {
        Row {
            id,
            what: "text".to_owned(),
            to: "+165…01".to_owned(),
            standing: Standing {
                words: words.to_owned(),
                tone,
                goes_on_in_s: None,
            },
            word: words.to_owned(),
            is_open,
            is_notable: false,
        }
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let rows = [row(1, &"long ".repeat(50), Tone::Bad, false)];
        for columns in [1, 20, 40, 80, 99, 100, 200] {
            let screen = screen(columns, 24);
            for line in screen.lines(&rows, Duration::ZERO, &"remark ".repeat(4), 10) {
                assert!(width(&line) <= columns, "{columns}: {line:?}");
            }
        }
    }

    #[test]
    fn a_table_is_never_taller_than_the_terminal() {
        let rows: Vec<Row> = (1..=40)
            .map(|id| row(id, "queued", Tone::Quiet, true))
            .collect();
        for height in [8, 24, 45, 100] {
            let screen = screen(80, height);
            let lines = screen.lines(&rows, Duration::ZERO, "remark", height);
            assert!(lines.len() < height, "{height}: {}", lines.len());
        }
    }

    #[test]
    fn where_not_all_fit_what_happens_is_shown_in_order() {
        let mut screen = screen(80, 24);
        let mut rows: Vec<Row> = (1..=40)
            .map(|id| row(id, "queued", Tone::Quiet, true))
            .collect();
        screen.take_note(&rows);
        rows[38] = row(39, "answer lost", Tone::Doubt, true);
        screen.take_note(&rows);
        rows[19] = row(20, "read", Tone::Seen, false);
        screen.take_note(&rows);
        let visible: Vec<i64> = screen.visible(&rows, 4).iter().map(|row| row.id).collect();
        assert_eq!(visible, [1, 20, 39]);
    }

    #[test]
    fn only_news_is_told_again() {
        let mut screen = screen(80, 24);
        let rows = [row(1, "queued", Tone::Quiet, true)];
        assert_eq!(screen.take_note(&rows).len(), 1);
        assert_eq!(screen.take_note(&rows).len(), 0);
        let rows = [row(1, "sent", Tone::Moving, false)];
        assert_eq!(screen.take_note(&rows).len(), 1);
    }

    #[test]
    fn the_tally_adds_up() {
        let rows = [
            row(1, "read", Tone::Seen, false),
            row(2, "queued", Tone::Quiet, true),
            row(3, "read", Tone::Seen, false),
        ];
        assert_eq!(
            tally(&rows).replace(TIED, " "),
            "3 messages: 1 queued · 2 read"
        );
    }
}
