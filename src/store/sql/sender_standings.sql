-- How each sender stands. Every count and every oldest is read from the front of an index (queue_in_turn), a priority at a time,
-- and no further than a bound, in the index's order, which keeps the planner from reading a whole queue of one sender; due is what
-- stands in lanes that are read. The bound is $2 for one sender; of all of them each has its share of $3, 100 at least.
with bound as materialized (
  select case when $1::text is null then least($2, greatest(100, $3 / greatest(count(*), 1)) + 1) else $2 end as rows from wa.senders
)
select s.sender as "sender!", s.credential as "credential!", s.base_url as "base_url!", s.rate_per_second as "rate_per_second!",
  s.held_reason, s.held_by, s.held_at, s.held_until, s.held_cause, s.held_code, s.probe_at, s.probes as "probes!", s.probing_until,
  s.released_at, s.released_by, s.released_why,
  w.name as "worker?", w.worker as "worker_id?", coalesce(l.epoch, 0) as "epoch!", l.problem as "problem?",
  (select count(*) from wa.workers x where x.expires_at > clock_timestamp()) as "workers!",
  r.updated_at as "said_at?", r.rate_now as "rate_now?", r.rate_limit as "rate_limit?", r.limit_source as "limit_source?",
  r.in_flight as "in_flight?", r.at_hand as "at_hand?", r.breaker as "breaker?", r.breaker_until, r.slow_until,
  r.last_error, r.last_error_at,
  (select count(*) from (
     select from wa.open_lanes(s.sender) as n (campaign), generate_series(0, 9) as p (priority)
     cross join lateral (
       select from wa.queue q
       where q.sender = s.sender and q.campaign = n.campaign and q.priority = p.priority::smallint and q.due_at <= now() and q.state = 'queued'
       order by q.due_at, q.id
       limit (select rows from bound)
     ) d
     limit (select rows from bound)
   ) c) as "due!",
  (select count(*) from (
     select from wa.queue q where q.sender = s.sender and q.campaign >= 0
     order by q.campaign, q.priority, q.due_at, q.id limit (select rows from bound)
   ) c) as "queued!",
  (select rows from bound) as "counted_at_most!",
  (select min(f.due_at)
   from wa.open_lanes(s.sender) as n (campaign), generate_series(0, 9) as p (priority)
   cross join lateral (
     select q.due_at from wa.queue q
     where q.sender = s.sender and q.campaign = n.campaign and q.priority = p.priority::smallint and q.due_at <= now() and q.state = 'queued'
     order by q.due_at, q.id limit 1
   ) f) as oldest_due_at,
  (select min(f.due_at)
   from wa.open_lanes(s.sender) as n (campaign), generate_series(0, 9) as p (priority)
   cross join lateral (
     select q.due_at from wa.queue q
     where q.sender = s.sender and q.campaign = n.campaign and q.priority = p.priority::smallint and q.due_at > now()
       and q.due_at < timestamptz '9999-01-01 00:00:00+00' and q.state = 'queued'
     order by q.due_at, q.id limit 1
   ) f) as next_due_at,
  (select count(*) from wa.template_holds h
   where h.sender = s.sender and h.released_at is null
     and (h.cause <> 'operator' or h.held_until is null or h.held_until > clock_timestamp())) as "held_templates!",
  (select count(*) from wa.campaigns c
   where c.sender = s.sender and c.state in ('draft', 'running', 'paused')
     and c.id not in (select n.campaign from wa.open_lanes(s.sender) as n (campaign))
     and (select q.id from wa.queue q where q.sender = s.sender and q.campaign = c.id
          order by q.priority, q.due_at, q.id limit 1) is not null) as "resting_campaigns!",
  clock_timestamp() as "now!"
from wa.senders s
left join wa.leases l on l.sender = s.sender
left join wa.workers w on w.worker = l.worker and w.expires_at > clock_timestamp()
left join wa.sender_runtime r on r.sender = s.sender
where $1::text is null or s.sender = $1
order by s.sender
