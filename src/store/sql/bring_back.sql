-- Makes due again what a released hold had set aside: at the due times their applications gave, so they take their places in
-- line. One hold at a time, a bounded number of messages a call; a call that finds none ends the work on its hold.
with hold as materialized (
  select h.hold, h.sender
  from wa.template_holds h
  where h.released_at is not null and h.brought_back_at is null
  order by h.sender, h.hold
  limit 1
  for update skip locked
), aside as materialized (
  select a.id, a.sender
  from hold h
  cross join wa.lanes(h.sender) as n (campaign)
  cross join generate_series(0, 9) as p (priority)
  cross join lateral (
    select q.id, q.sender from wa.queue q
    where q.sender = h.sender and q.campaign = n.campaign and q.priority = p.priority::smallint and q.due_at = wa.set_aside_at(h.hold)
      and exists (select from wa.outbox o where o.id = q.id and o.sender = q.sender and o.due_at <> q.due_at)
    order by q.id
    limit $1
  ) a
  limit $1
), back as (
  update wa.queue q set due_at = least(o.due_at, now()), waiting_for = null
  from aside a join wa.outbox o on o.id = a.id and o.sender = a.sender
  where q.id = a.id and q.sender = a.sender
), done as (
  update wa.template_holds h set brought_back_at = clock_timestamp()
  from hold where h.hold = hold.hold and h.sender = hold.sender and not exists (select from aside)
)
select (select count(*) from hold) as "holds!", (select count(*) from aside) as "messages!"
