-- A page of the rows of a campaign that wait to be sent, along the index they are read by. What belongs to a row is fetched by its
-- key, row by row: a join would read the whole outbox for each page. (OFFSET 0 keeps the planner from making it one.) Whatever it believes
-- of a table that was just filled, only the index of recipients can find the rows before: what other indexes have stands outside.
select q.id, o.recipient, o.recipient_kind, o.variables::text as "variables!", o.expires_at, q.due_at,
  case when (select exists (select from wa.suppressions)) then wa.suppressed_because(o.recipient, q.sender, c.category) is not null
    else false end as "is_suppressed!",
  (select count(*) from (
     select from (
       select e.id, e.sender, e.campaign_id from wa.outbox e
       where e.recipient = o.recipient and (e.recipient, e.id) < (o.recipient, q.id)
       offset 0) e
     where e.sender = q.sender and e.campaign_id = c.id
       and (select r.state from wa.results r where r.id = e.id and r.sender = e.sender) is distinct from 'cancelled'
     limit $5) earlier) as "earlier!"
from wa.campaigns c
cross join lateral (
  select w.id, w.sender, w.due_at from wa.queue w
  where w.sender = c.sender and w.campaign = c.id and w.priority = 0 and w.state = 'queued' and (w.due_at, w.id) > ($2, $3)
  order by w.due_at, w.id
  limit $4
) q
cross join lateral (
  select x.recipient, x.recipient_kind, x.variables, x.expires_at from wa.outbox x
  where x.id = q.id and x.sender = q.sender
  offset 0
) o
where c.id = $1
order by q.due_at, q.id
