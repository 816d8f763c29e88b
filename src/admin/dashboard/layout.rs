//! How every page is built: its frame, and the pieces that pages are made of.
//!
//! Pages are whole without a script. What a script adds is that they stay live, that ages are counted on and that times are told on
//! the clock of whoever looks. Nothing is written into an attribute that a browser would run, and no style stands in a tag: the
//! content policy allows neither.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::page::NAVIGATION;
use super::session::{Role, Visitor};
use crate::standing::facts::{plain, plain_lines, thousands};
use crate::standing::time::stamp;
use crate::store::summary::COUNTED_AT_MOST;

/// A part of a page that is brought up to date by itself.
pub(super) struct Section {
    /// Unique on its page.
    pub(super) id: &'static str,
    pub(super) html: Markup,
}

/// What a page shows.
pub(super) struct Shown {
    pub(super) title: String,
    pub(super) sections: Vec<Section>,
}

impl Shown {
    pub(super) fn new(title: impl Into<String>) -> Self {
        Self {
            title: plain(&title.into()).into_owned(),
            sections: Vec::new(),
        }
    }

    /// Adds a part, and lets nothing into the page that would steer how it is read, whoever wrote it and wherever it is shown.
    pub(super) fn section(mut self, id: &'static str, html: Markup) -> Self {
        let html = PreEscaped(plain_lines(&html.into_string()).into_owned());
        self.sections.push(Section { id, html });
        self
    }

    pub(super) fn whole(&self) -> Markup {
        html! {
            @for section in &self.sections {
                section #(section.id) { (section.html) }
            }
        }
    }
}

/// How something stands; never told by colour alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Well,
    Quiet,
    Doubt,
    Bad,
}

impl Tone {
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Quiet => "quiet",
            Self::Doubt => "doubt",
            Self::Bad => "bad",
        }
    }

    fn sign(self) -> &'static str {
        match self {
            Self::Well => "✓",
            Self::Quiet => "·",
            Self::Doubt => "!",
            Self::Bad => "✕",
        }
    }
}

/// The frame of a page that somebody may see. `heading`: what of the navigation it belongs to; `live`: its address, where it is
/// brought up to date.
pub(super) fn framed(
    visitor: &Visitor,
    form_word: Option<&str>,
    shown: &Shown,
    heading: &str,
    live: Option<&str>,
) -> Markup {
    let who = visitor.name.as_deref();
    bare(
        &shown.title,
        html! {
            header {
                a.brand href="/" { span.mark aria-hidden="true" { "▶" } " wa-outbox" }
                nav aria-label="Pages" {
                    @for (address, name) in NAVIGATION {
                        a href=(address) aria-current=[(address == heading).then_some("page")] { (name) }
                    }
                }
                @if let Some(word) = form_word {
                    form.search action="/search" method="post" role="search" {
                        input type="hidden" name="form" value=(word);
                        label.hidden for="q" { "Find a message by id, reference, recipient or wamid" }
                        input #q type="search" name="q" placeholder="id, reference, +number, wamid" autocomplete="off" spellcheck="false";
                        button { "Find" }
                    }
                }
            }
            main #main data-live=[live] {
                h1 { (shown.title) }
                (shown.whole())
            }
            footer {
                span #live-state role="status" { "Not live" }
                @if live.is_some() { button #pause type="button" hidden { "Pause" } }
                span { (who.unwrap_or("Somebody on this machine")) ", " (visitor.role.as_str()) }
                @if let (Some(word), Some(_)) = (form_word, who) {
                    form action="/logout" method="post" {
                        input type="hidden" name="form" value=(word);
                        button.link { "Log out" }
                    }
                }
                span.keys { "Keys: " kbd { "/" } " find, " kbd { "p" } " pause, " kbd { "t" } " light or dark" }
            }
        },
    )
}

/// A page without navigation: the login, an error.
pub(super) fn bare(title: &str, body: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                title { (title) " · wa-outbox" }
                link rel="icon" href="/assets/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/assets/style.css";
                script src="/assets/theme.js" {}
                script src="/assets/idiomorph.js" defer {}
                script src="/assets/app.js" defer {}
            }
            body {
                a.skip href="#main" { "Skip to the page" }
                (body)
            }
        }
    }
}

/// A moment: its time by the clock of this machine, until a script tells how long ago it is.
pub(super) fn moment(at: OffsetDateTime) -> Markup {
    let machine = at.format(&Rfc3339).unwrap_or_default();
    html! { time datetime=(machine) { (stamp(at)) } }
}

/// The same, where there is one.
pub(super) fn some_moment(at: Option<OffsetDateTime>) -> Markup {
    at.map_or_else(|| html! { "–" }, moment)
}

/// A word with its tone.
pub(super) fn pill(tone: Tone, word: &str) -> Markup {
    html! { span class={ "pill " (tone.class()) } { span aria-hidden="true" { (tone.sign()) } " " (word) } }
}

/// The sentence that a page begins with.
pub(super) fn verdict(tone: Tone, sentence: &str) -> Markup {
    html! { p class={ "verdict " (tone.class()) } { span aria-hidden="true" { (tone.sign()) } " " (plain(sentence)) } }
}

/// Facts in two columns.
pub(super) fn facts<'a>(rows: impl IntoIterator<Item = (&'a str, Markup)>) -> Markup {
    html! {
        dl { @for (label, value) in rows { div { dt { (label) } dd { (value) } } } }
    }
}

/// A table. On a phone each row becomes a card, its cells named by their titles.
pub(super) fn table<const N: usize>(
    caption: &str,
    titles: [&str; N],
    rows: impl IntoIterator<Item = [Markup; N]>,
) -> Markup {
    html! {
        div.table {
            table {
                caption { (caption) }
                thead { tr { @for title in titles { th scope="col" { (title) } } } }
                tbody {
                    @for row in rows {
                        tr { @for (title, cell) in titles.into_iter().zip(row) { td data-title=(title) { div { (cell) } } } }
                    }
                }
            }
        }
    }
}

/// A number that stands right.
pub(super) fn number(number: i64) -> Markup {
    html! { span.number { (thousands(number)) } }
}

/// A count that goes no further than [`COUNTED_AT_MOST`].
pub(super) fn counted(count: i64) -> Markup {
    counted_to(COUNTED_AT_MOST, count)
}

/// A count that goes no further than a bound.
pub(super) fn counted_to(at_most: i64, count: i64) -> Markup {
    if count >= at_most {
        html! { span.number title="it is counted no further" { (thousands(at_most - 1)) "+" } }
    } else {
        number(count)
    }
}

/// A link to a message.
pub(super) fn message_link(id: i64) -> Markup {
    html! { a href={ "/messages/" (id) } { "#" (id) } }
}

/// A link to something that may be done; whoever may not is told who may.
pub(super) fn act(
    visitor: &Visitor,
    verb: &str,
    target: impl std::fmt::Display,
    words: &str,
) -> Markup {
    match visitor.role {
        Role::Operator => html! { a.button href={ "/confirm/" (verb) "/" (target) } { (words) } },
        Role::Viewer => {
            html! { span.button.off title="Only operators may; you are a viewer" { (words) } }
        }
    }
}

/// Nothing to show, and what that means.
pub(super) fn nothing(words: &str) -> Markup {
    html! { p.nothing { (words) } }
}

/// A text of a stranger on one line, shortened.
pub(super) fn short(text: &str, at_most: usize) -> Markup {
    let text = plain(text);
    if text.chars().count() <= at_most {
        return html! { (text) };
    }
    let start: String = text.chars().take(at_most).collect();
    html! { span title=(text) { (start) "…" } }
}

/// Markup that was written by us and holds nothing of a stranger.
pub(super) fn ours(text: String) -> Markup {
    PreEscaped(text)
}
