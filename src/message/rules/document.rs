//! The rules as a page of the documentation.

use super::rules;

const HEAD: &str = "# Rules for message bodies

What `wa-outbox check` looks for, and what a sender with `validate = refuse` (the default) is held to before a request is spent.
This page is written by `wa-outbox check --rules`; do not edit it.

**refused**: the API is sure to reject it, so the message fails with these words and no request is made. **doubtful**: it is let
through with a warning. A sender with `strict = true` also refuses `unknown_field`. Where Meta's pages disagree the more permissive value
counts. Meta counts \"characters\" and does not say which: Unicode scalar values are counted, never more than UTF-16 units.

Not looked at, because a body does not tell: sizes and formats of files; whether a template exists and has as many parameters; texts that
stand in the template itself (button labels of 25, footers of 60 characters); which fields an order has beside its amounts, for they differ by
country; whether the window of 24 hours is open.
";

/// The page, in Markdown.
pub fn document() -> String {
    let mut page = HEAD.to_owned();
    let mut part = "";
    for (of, rule) in rules() {
        if of != part {
            part = of;
            page.push_str(&format!(
                "\n## {part}\n| rule | class | demands | limit | source |\n|---|---|---|---|---|\n"
            ));
        }
        let cell = |text: &str| text.replace('|', "\\|");
        page.push_str(&format!(
            "| `{}` | {} | {} | {} | {} |\n",
            rule.id,
            rule.class.name(),
            cell(rule.demand),
            cell(&rule.limit.to_string()),
            cell(rule.source)
        ));
    }
    page
}
