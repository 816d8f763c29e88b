-- Writes messages into the outbox, in the order they are given. One whose dedup_key is taken is left out, and its id is missing.
-- Defaults are filled in here, because a row that has them all passes the trigger's WHEN without its function.
insert into wa.outbox (sender, recipient, recipient_kind, payload, variables, campaign_id, priority, due_at, expires_at, sequence,
  dedup_key, on_uncertain, reference)
select m.sender, m.recipient, m.recipient_kind, m.payload::json, m.variables::jsonb, m.campaign_id, coalesce(m.priority, 5),
  coalesce(m.due_at, now()), m.expires_at, m.sequence, m.dedup_key, m.on_uncertain, m.reference
from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::smallint[], $8::timestamptz[],
    $9::timestamptz[], $10::text[], $11::text[], $12::text[], $13::text[])
  with ordinality as m (sender, recipient, recipient_kind, payload, variables, campaign_id, priority, due_at, expires_at, sequence,
    dedup_key, on_uncertain, reference, place)
order by m.place
on conflict (sender, dedup_key) where dedup_key is not null do nothing
returning id
