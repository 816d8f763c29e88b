//! What is typed.

use tempfile::TempDir;

use super::{Bad, Section, typed};
use crate::support::world::World;

pub(super) async fn section() -> Section {
    let world = World::at_rest().await;
    let folder = TempDir::new().expect("a folder");
    world
        .run_sql("insert into wa.outbox (recipient, payload, dedup_key) values ('+16505551234', '{\"type\":\"text\",\"text\":{\"body\":\"Hello\"}}', 'order-17')")
        .await;
    let mut bad = Vec::new();
    for line in [
        "sned --to +16505551234 --text Hello",
        "send",
        "send --to 16505551234 --text Hello",
        "send --to +1650CALLME --text Hello",
        "send --to +16505551234 --text ''",
        "send --to +16505551234 --text Hello --template promo",
        "send --to +16505551234 --text Hello --sender 4711",
        "send --to +16505551234 --text Hello --priority 11",
        "send --to +16505551234 --text Hello --at tomorrow",
        "send --to +16505551234 --text Hello --expires-in 2",
        "send --to +16505551234 --payload missing.json",
        "send --to +16505551234 --text Hello --dedup-key order-17",
        "message show 4711",
        "message show order-17",
        "message cancel 4711",
        "message list --state sent",
        "why sender 4711",
        "why message 4711",
        "sender add 106540352242923 --credential EAAGm0PX4ZCpsBO",
        "sender add 106540352242922 --credential env:TOKEN",
        "sender set 106540352242922",
        "sender set 4711 --rate-per-second 10",
        "sender set 106540352242922 --rate-per-second 0",
        "sender set 106540352242922 --pair-burst -1",
        "sender set 106540352242922 --api-version 23.0",
        "sender set 106540352242922 --base-url graph.facebook.com",
        "sender set 106540352242922 --base-url https://graph.facebook.com/v23.0",
        "sender set 106540352242922 --base-url https://ada:hunter2@example.com",
        "sender set 106540352242922 --default-country Germany",
        "sender set 106540352242922 --provider bsp --path messages",
        "sender hold 106540352242922",
        "sender release 4711",
        "sequence resume 106540352242922 +16505551234 order-17 --reason x",
        "sequence show order-17",
        "template release promo",
        "template hold 'Bad Name' --reason x",
        "campaign start spring",
        "campaign create spring --rate-share 1.5 --template missing.json",
        "campaign create spring --slow-to NaN --template missing.json",
        "campaign create spring --template missing.json",
        "campaign create ' ' --template missing.json",
        "campaign pause spring",
        "import missing.csv --as ''",
        "suppress add 0151234 --reason 'asked to stop'",
        "suppress remove +16505551234",
        "suppress list --recipient 16505551234",
        "uncertain resolve 4711 --not-sent --reason 'asked them'",
        "uncertain resolve 4711 --send-again --reason 'asked them'",
        "uncertain resolve 4711 --accepted wamid.HBgL…A= --reason 'copied'",
        "media upload missing.jpg",
        "prune",
        "prune --older-than 7d",
        "run --roles sender",
        "run --roles webhook --drain",
        "simulate --listen 0.0.0.0:8090",
        "simulate --fault slow=2",
        "simulate --webhook-url notaurl",
        "check missing.json",
        "completions powershell",
    ] {
        let (code, says) = typed(&world, folder.path(), line).await;
        assert!(code == 1 || code == 2, "{line}: {code}: {says}");
        assert!(
            !says.contains("hunter2") && !says.contains("EAAGm0PX4ZCpsBO"),
            "a secret is shown: {says}"
        );
        bad.push(Bad::new(line, says));
    }
    (
        "Command lines",
        "`wa-outbox` and these words; exit code 1, or 2 where it cannot be meant.",
        bad,
    )
}
