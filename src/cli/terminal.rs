//! A terminal that a picture is drawn on again and again, and the keys that are pressed there.
//!
//! A picture never takes more lines than the terminal has, nor more columns, because a line that wraps or scrolls cannot be drawn
//! over. However the program ends, the terminal is left as it was found.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Read as _, Stdout, Write};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::sync::mpsc;

/// For what is no terminal, or one that does not say.
const USUAL_SIZE: Size = Size {
    columns: 100,
    lines: 24,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Size {
    columns: usize,
    lines: usize,
}

/// Standard output, as far as it is a terminal.
pub(super) struct Terminal {
    out: Stdout,
    is_one: bool,
    colours: bool,
    /// Lines of the picture that the cursor stands below.
    drawn: usize,
    size: Size,
    /// Nobody knows where the lines of the last picture are now.
    is_resized: bool,
}

impl Terminal {
    /// Standard output.
    pub(super) fn of_process() -> Self {
        let out = io::stdout();
        let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
        let is_one = out.is_terminal() && !dumb;
        // https://no-color.org: present and not empty, whatever its value.
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            size: size_of(&out),
            out,
            is_one,
            colours: is_one && !no_color,
            drawn: 0,
            is_resized: false,
        }
    }

    /// One of a certain size, that nothing is written to.
    #[cfg(test)]
    pub(super) fn of_size(columns: usize, lines: usize) -> Self {
        Self {
            out: io::stdout(),
            is_one: false,
            colours: false,
            drawn: 0,
            size: Size { columns, lines },
            is_resized: false,
        }
    }

    /// Whether it is a terminal that can be drawn on.
    pub(super) fn is_one(&self) -> bool {
        self.is_one
    }

    /// Its columns.
    pub(super) fn columns(&self) -> usize {
        self.size.columns
    }

    /// Its lines.
    pub(super) fn lines(&self) -> usize {
        self.size.lines
    }

    /// Columns that a line may take: one that fills the last column makes some terminals wrap.
    pub(super) fn width(&self) -> usize {
        self.size.columns.saturating_sub(1)
    }

    /// Takes note of its size, before a picture is made for it.
    pub(super) fn look_at_its_size(&mut self) {
        let size = size_of(&self.out);
        self.is_resized |= size != self.size;
        self.size = size;
    }

    /// Draws lines over those of the last picture.
    pub(super) fn draw(&mut self, lines: &[String]) -> io::Result<()> {
        let mut written = String::from("\x1b[?25l");
        if std::mem::take(&mut self.is_resized) {
            written.push_str("\x1b[2J\x1b[H");
        } else {
            written.push_str(&self.up());
        }
        for line in lines {
            let _ = writeln!(written, "{line}\x1b[K");
        }
        written.push_str("\x1b[J");
        self.drawn = lines.len();
        self.write(&written)
    }

    /// Says something that stays, above the picture if there is one.
    pub(super) fn say(&mut self, text: &str) -> io::Result<()> {
        let mut written = self.up();
        if self.drawn > 0 {
            written.push_str("\x1b[J");
        }
        self.drawn = 0;
        written.push_str(text);
        written.push('\n');
        self.write(&written)
    }

    /// Leaves the picture where it is; what is said next stands below it.
    pub(super) fn leave(&mut self) -> io::Result<()> {
        self.drawn = 0;
        self.write("\x1b[?25h")
    }

    /// A text with attributes, as a terminal knows them by number.
    pub(super) fn painted(&self, code: &str, text: &str) -> String {
        match self.colours {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }

    /// In one piece, so that no half picture is ever seen.
    pub(super) fn write(&mut self, text: &str) -> io::Result<()> {
        let mut out = self.out.lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    /// Back to the first line of the picture.
    fn up(&self) -> String {
        match self.drawn {
            0 => String::new(),
            lines => format!("\x1b[{lines}F"),
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if self.is_one {
            // The cursor comes back however it ends; whoever reads no more does not miss it.
            let _ = self.write("\x1b[?25h");
        }
    }
}

fn size_of(out: &Stdout) -> Size {
    match tcgetwinsize(out) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => Size {
            columns: size.ws_col.into(),
            lines: size.ws_row.into(),
        },
        Ok(_) | Err(_) => USUAL_SIZE,
    }
}

/// A key that was pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// A letter, a digit or a sign.
    Letter(char),
    /// Return.
    Enter,
    /// Esc, and what begins like it: arrows and the like have no meaning here.
    Escape,
    /// Backspace.
    Back,
    /// Ctrl-c or ctrl-d.
    Interrupt,
}

/// The keys of a terminal, each told as it is pressed; the terminal shows none of them until this is dropped.
pub(super) struct Keys {
    pressed: mpsc::Receiver<Key>,
    usual: Termios,
}

impl Keys {
    /// Of standard input; none where that is no terminal.
    pub(super) fn of_process() -> Option<Self> {
        let input = io::stdin();
        let usual = tcgetattr(&input).ok().filter(|_| input.is_terminal())?;
        let mut raw = usual.clone();
        raw.make_raw();
        // What is written goes on to mean what it does.
        raw.output_modes = usual.output_modes;
        tcsetattr(&input, OptionalActions::Now, &raw).ok()?;
        let (tell, pressed) = mpsc::channel(16);
        // It waits in a read that nothing ends but a key, so it is a thread that nobody waits for.
        std::thread::spawn(move || {
            let mut bytes = [0; 64];
            while let Ok(count @ 1..) = io::stdin().read(&mut bytes) {
                for key in keys(&bytes[..count]) {
                    if tell.blocking_send(key).is_err() {
                        return;
                    }
                }
            }
        });
        Some(Self { pressed, usual })
    }

    /// The next key; none when there will be no more.
    pub(super) async fn next(&mut self) -> Option<Key> {
        self.pressed.recv().await
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.usual);
    }
}

/// The keys behind what one read gave.
fn keys(bytes: &[u8]) -> Vec<Key> {
    if bytes.first() == Some(&0x1b) {
        return vec![Key::Escape];
    }
    let text = String::from_utf8_lossy(bytes);
    let key = |letter| match letter {
        '\r' | '\n' => Some(Key::Enter),
        '\u{3}' | '\u{4}' => Some(Key::Interrupt),
        '\u{8}' | '\u{7f}' => Some(Key::Back),
        letter if letter.is_control() => None,
        letter => Some(Key::Letter(letter)),
    };
    text.chars().filter_map(key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_the_keys_that_people_pressed() {
        assert_eq!(keys(b"s/"), [Key::Letter('s'), Key::Letter('/')]);
        assert_eq!(keys(b"\r\x7f"), [Key::Enter, Key::Back]);
        assert_eq!(keys("ü".as_bytes()), [Key::Letter('ü')]);
        assert_eq!(keys(b"\x03"), [Key::Interrupt]);
        assert_eq!(keys(b"\x1b[A"), [Key::Escape], "an arrow is no letter");
        assert_eq!(keys(b"\x01"), []);
    }
}
