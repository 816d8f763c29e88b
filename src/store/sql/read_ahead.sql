-- Due messages in order, for every sender and priority asked for, each from its own place in the index (queue_in_order), but
-- for those that are known. The place in the middle keeps the planner from reading a payload before that, or all of them.
with fresh as materialized (
  select q.*
  from unnest($1::text[], $2::smallint[], $3::timestamptz[], $4::bigint[], $5::bigint[]) as ask (sender, priority, after_due, after_id, n)
  cross join lateral (
    select q.id, q.sender, q.priority, q.due_at, q.attempt
    from wa.queue q
    where q.sender = ask.sender and q.priority = ask.priority
      and (q.due_at, q.id) > (ask.after_due, ask.after_id) and q.due_at <= now()
      and q.state = 'queued'
    order by q.due_at, q.id
    limit ask.n
  ) q
  where not exists (select from unnest($6::bigint[]) as known (id) where known.id = q.id)
)
select q.id as "id!", q.sender as "sender!", q.priority as "priority!", q.due_at as "due_at!",
  o.recipient as "recipient!", o.recipient_kind as "recipient_kind!", o.payload as "payload!", o.expires_at, q.attempt as "attempt!"
from fresh q
cross join lateral (
  select o.recipient, o.recipient_kind, o.payload::text as payload, o.expires_at
  from wa.outbox o
  where o.id = q.id and o.sender = q.sender
  offset 0
) o
order by q.priority, q.due_at, q.id
