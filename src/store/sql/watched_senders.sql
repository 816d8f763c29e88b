-- How the senders stand, for metrics. Counts and oldest are read from the front of an index (queue_in_turn), a priority at a time;
-- all counts together read no more than $1 rows, or 100 of each sender, in the index's order, which keeps the planner from reading more.
select s.sender as "sender!", s.rate_per_second as "rate_per_second!",
  (s.held_reason is not null and (s.held_until is null or s.held_until > clock_timestamp())) as "held!",
  (select count(*) from (
     select from wa.queue q where q.sender = s.sender and q.campaign >= 0 order by q.campaign, q.priority, q.due_at, q.id
     limit (select greatest(100, $1 / greatest(count(*), 1)) from wa.senders)
   ) c) as "queued!",
  (select coalesce(greatest(extract(epoch from now() - min(f.due_at)), 0), 0)::float8
   from wa.open_lanes(s.sender) as n (campaign), generate_series(0, 9) as p (priority)
   cross join lateral (
     select q.due_at from wa.queue q
     where q.sender = s.sender and q.campaign = n.campaign and q.priority = p.priority::smallint and q.due_at <= now() and q.state = 'queued'
     order by q.due_at, q.id limit 1
   ) f) as "oldest_due_s!",
  coalesce(extract(epoch from w.accepted_watermark), 0)::float8 as "status_watermark_s!"
from wa.senders s left join wa.webhook_flow w on w.sender = s.sender
order by s.sender
