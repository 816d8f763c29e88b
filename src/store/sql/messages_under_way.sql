-- Messages whose request is out, newest first. A message keeps its place in the queue while it is begun, so they stand in front of their
-- lanes: each lane and priority is read a little way, $1 rows together or 1,000 of each, in the order of the index.
select b.id as "id!"
from wa.senders s
cross join lateral wa.lanes(s.sender) as n (campaign)
cross join generate_series(0, 9) as p (priority)
cross join lateral (
  select q.id, q.state from wa.queue q
  where q.sender = s.sender and q.campaign = n.campaign and q.priority = p.priority::smallint
  order by q.due_at, q.id
  limit (select least(1000, greatest(100, $1 / greatest(count(*), 1))) from wa.senders)
) b
where b.state = 'sending'
order by b.id desc
limit $1
