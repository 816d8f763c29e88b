-- Ends a slice of the waiting rows of a campaign that was cancelled or is over, in the order of its lane. What is on its way is left
-- to its answer; what is locked is left for the next round.
with over as (
  select c.*, wa.campaign_end_of_rows(c) as how, wa.campaign_end_in_words(c) as why from wa.campaigns c
  where c.id = $1 and wa.campaign_end_of_rows(c) is not null
), slice as materialized (
  select q.id, q.sender, q.attempts, q.due_at, o.id as campaign, o.how, o.why
  from over o
  cross join lateral (
    select q.* from wa.queue q
    where q.sender = o.sender and q.campaign = o.id and q.priority = 0 and (q.due_at, q.id) > ($2, $3) and q.state = 'queued'
    order by q.due_at, q.id
    limit $4
    for update skip locked
  ) q
), ended as (
  insert into wa.results (id, sender, state, attempts, campaign, error_message)
  select id, sender, how, attempts, campaign, why from slice
  on conflict do nothing
)
select count(*) as "rows!", max(s.due_at) as last_due_at,
  (select l.id from slice l order by l.due_at desc, l.id desc limit 1) as last_id
from slice s
