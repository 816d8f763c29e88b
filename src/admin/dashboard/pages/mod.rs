//! The pages, each made from bounded looks at the database.

mod audit;
mod campaigns;
mod failures;
mod messages;
mod overview;
mod senders;
mod sequences;
mod uncertain;
mod webhooks;

use super::layout::Shown;
use super::page::Page;
use super::session::Visitor;
use super::{Dashboard, Trouble};

/// So many rows a page of a list has.
const ROWS: i64 = 50;

/// Makes a page for whoever looks.
pub(super) async fn make(
    dashboard: &Dashboard,
    visitor: &Visitor,
    page: &Page,
) -> Result<Shown, Trouble> {
    match page {
        Page::Overview(span) => overview::make(dashboard, *span).await,
        Page::Senders => senders::list(dashboard).await,
        Page::Sender(sender) => senders::one(dashboard, visitor, sender).await,
        Page::Messages(look) => messages::list(dashboard, visitor, look).await,
        Page::Message(id) => messages::one(dashboard, visitor, *id).await,
        Page::Campaigns => campaigns::list(dashboard).await,
        Page::Campaign(id) => campaigns::one(dashboard, visitor, *id).await,
        Page::Sequences(look) => sequences::list(dashboard, look).await,
        Page::Sequence(id) => sequences::one(dashboard, visitor, *id).await,
        Page::Failures(look) => failures::list(dashboard, visitor, look).await,
        Page::Uncertain(look) => uncertain::list(dashboard, visitor, look).await,
        Page::Webhooks => webhooks::show(dashboard).await,
        Page::Audit(look) => audit::list(dashboard, look).await,
    }
}
