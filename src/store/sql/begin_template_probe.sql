-- Begins the probe of a held template, and makes one message due that was set aside for it, if there is one.
with probe as (
  update wa.template_holds h set probing_until = clock_timestamp() + make_interval(secs => $3)
  where h.hold = $2 and h.released_at is null and h.cause <> 'operator' and h.held_until <= clock_timestamp()
    and (h.probing_until is null or h.probing_until <= clock_timestamp())
    and exists (select from wa.leases l where l.sender = h.sender and l.worker = $1)
  returning h.hold, h.sender
), one as materialized (
  select a.id, a.sender
  from probe h
  cross join wa.lanes(h.sender) as n (campaign)
  cross join generate_series(0, 9) as p (priority)
  cross join lateral (
    select q.id, q.sender from wa.queue q
    where q.sender = h.sender and q.campaign = n.campaign and q.priority = p.priority::smallint and q.due_at = wa.set_aside_at(h.hold)
      and exists (select from wa.outbox o where o.id = q.id and o.sender = q.sender and o.due_at <> q.due_at)
    order by q.id
    limit 1
  ) a
  order by p.priority
  limit 1
), due as (
  update wa.queue q set due_at = least(o.due_at, now()), waiting_for = null
  from one join wa.outbox o on o.id = one.id and o.sender = one.sender
  where q.id = one.id and q.sender = one.sender
)
select exists (select from probe) as "is_begun!"
