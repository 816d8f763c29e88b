-- What stands in front of one message, and how its request goes. Each count is read from the front of an index and goes no further
-- than $2 rows; the order is the index's, and keeps the planner from reading a whole queue of one sender.
select
  q.state, q.attempt, q.begun_at, q.deadline < clock_timestamp() as is_overdue,
  (select count(*) from (
     select from generate_series(0, q.priority) as p (priority)
     cross join lateral (
       select from wa.queue f
       where f.sender = q.sender and f.campaign = q.campaign and f.priority = p.priority::smallint and f.state = 'queued'
         and (f.due_at, f.id) < (case when p.priority < q.priority then now() else q.due_at end,
                                 case when p.priority < q.priority then 9223372036854775807 else q.id end)
       order by f.due_at, f.id
       limit $2
     ) d
     limit $2
   ) c) as "ahead!",
  (select count(*) from (
     select from generate_series(0, q.priority - 1) as p (priority)
     cross join lateral (
       select from wa.queue f
       where f.sender = q.sender and f.campaign = q.campaign and f.priority = p.priority::smallint and f.state = 'queued'
         and f.due_at <= now()
       order by f.due_at, f.id
       limit $2
     ) d
     limit $2
   ) c) as "more_urgent!",
  (select count(*) from (
     select from wa.waiting w
     where (w.sender, w.recipient, w.sequence) = (o.sender, o.recipient, o.sequence) and w.id < o.id
     order by w.id
     limit $2
   ) c) as "before_in_sequence!"
from wa.outbox o
left join wa.queue q on q.id = o.id and q.sender = o.sender
where o.id = $1
