-- Due messages in order, for every sender and priority asked for, each from its own place in the index (queue_in_order).
select q.id as "id!", q.sender as "sender!", q.priority as "priority!", q.due_at as "due_at!",
  o.recipient as "recipient!", o.recipient_kind as "recipient_kind!", o.payload::text as "payload!", o.expires_at, q.attempt as "attempt!"
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
join wa.outbox o on o.id = q.id and o.sender = q.sender
order by q.priority, q.due_at, q.id
