-- Ends queued rows of campaigns whose recipients must not be messaged. One that was begun meanwhile is on its way and is left; one that
-- somebody holds locked is met again.
with asked as (
  select q.id, q.sender, q.attempts, q.campaign from wa.queue q
  where q.id = any ($1) and (q.campaign <> 0) is true and q.state = 'queued'
  order by q.id
  for update skip locked
), suppressed as (
  select a.*, wa.suppressed_because(o.recipient, a.sender, c.category) as reason
  from asked a
  join wa.outbox o on o.id = a.id and o.sender = a.sender
  join wa.campaigns c on c.id = a.campaign
)
insert into wa.results (id, sender, state, attempts, campaign, suppressed, error_message)
select id, sender, 'cancelled', attempts, campaign, true, 'its recipient must not be messaged: ' || reason
from suppressed where reason is not null
on conflict do nothing
