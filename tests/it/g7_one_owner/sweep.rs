//! What an earlier holder had begun is found wherever it stands, and never sent again by the sweep itself.

use wa_outbox::domain::id::{Epoch, MessageId, SenderId};
use wa_outbox::store::sweep::{BegunBefore, Place};

use crate::support::make::a_text;
use crate::support::world::{SENDER, World};

#[tokio::test]
async fn a_search_in_slices_finds_everything_that_was_begun() {
    let world = World::at_rest().await;
    let worker = world.registers("earlier").await;
    world.store.take_senders(worker).await.expect("a look");
    let (_, epoch) = world.lease().await;
    let messages = world
        .enqueue_all((0..7).map(|number| a_text().with_priority(number)))
        .await;
    let begun = [messages[0], messages[3], messages[6]];
    for message in begun {
        assert_eq!(world.begins(worker, message, epoch).await.len(), 1);
    }

    let found = world.search(epoch, 2).await;
    let by_later_ones = world.search(Epoch(epoch.0 - 1), 2).await;

    assert_eq!(ids(&found), begun);
    assert_eq!(ids(&by_later_ones), []);
}

#[tokio::test]
async fn only_what_is_past_its_deadline_and_still_out_becomes_uncertain() {
    let world = World::at_rest().await;
    let worker = world.registers("earlier").await;
    world.store.take_senders(worker).await.expect("a look");
    let (_, epoch) = world.lease().await;
    let messages = world.enqueue_all((0..3).map(|_| a_text())).await;
    let [early, late, again] = [messages[0], messages[1], messages[2]];
    for message in [early, late, again] {
        assert_eq!(world.begins(worker, message, epoch).await.len(), 1);
    }
    let found = world.search(epoch, 100).await;
    let overdue = format!(
        "update wa.queue set deadline = now() - interval '1 s' where id in ({early}, {again})"
    );
    world.run_sql(&overdue).await;
    // Meanwhile the third came back and is out once more.
    world
        .run_sql(&format!(
            "update wa.queue set attempt = attempt + 1 where id = {again}"
        ))
        .await;

    let swept = world.store.sweep(&found).await.expect("a sweep");

    assert_eq!(ids(&swept.uncertain), [early]);
    assert_eq!(ids(&swept.remaining), [late]);
    assert_eq!(world.state_of(early).await, "uncertain");
    assert_eq!(world.state_of(late).await, "sending");
    assert_eq!(world.state_of(again).await, "sending");
}

fn ids<'a>(begun: impl IntoIterator<Item = &'a BegunBefore>) -> Vec<MessageId> {
    begun.into_iter().map(|one| one.id).collect()
}

impl World {
    /// A whole search, in slices of this size.
    async fn search(&self, up_to: Epoch, slice: i64) -> Vec<BegunBefore> {
        let (mut found, mut place) = (Vec::new(), Some(Place::FRONT));
        while let Some(after) = place {
            let slice = self
                .store
                .find_begun(&SenderId::from(SENDER), up_to, after, slice)
                .await
                .expect("a search");
            found.extend(slice.begun);
            place = slice.next;
        }
        found
    }
}
