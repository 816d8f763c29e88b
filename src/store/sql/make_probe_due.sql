-- Makes one message due that was set aside for a hold, if there is one: the probe. A statement of its own, after the hold was marked,
-- so that it sees what was set aside until then: who set it aside saw no probe yet and has left none due.
with one as materialized (
  select a.id, a.sender
  from wa.template_holds h
  cross join wa.lanes(h.sender) as n (campaign)
  cross join generate_series(0, 9) as p (priority)
  cross join lateral (
    select q.id, q.sender from wa.queue q
    where q.sender = h.sender and q.campaign = n.campaign and q.priority = p.priority::smallint and q.due_at = wa.set_aside_at(h.hold)
      and exists (select from wa.outbox o where o.id = q.id and o.sender = q.sender and o.due_at <> q.due_at)
    order by q.id
    limit 1
  ) a
  where h.hold = $1
  order by p.priority
  limit 1
)
update wa.queue q set due_at = least(o.due_at, now()), waiting_for = null
from one join wa.outbox o on o.id = one.id and o.sender = one.sender
where q.id = one.id and q.sender = one.sender
