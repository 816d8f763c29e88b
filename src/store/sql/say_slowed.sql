-- What WhatsApp said of the speed of senders, so that who works them next knows it. It is a fact and needs no epoch: what was said last
-- stands, and no silence is shortened. What lies ahead of the clock was written before that was set back, and gives way.
with here as materialized (
  select clock_timestamp() as now
), said as (
  select s.sender, h.now, h.now - make_interval(secs => s.ago) as slowed_at, s.slowed_to,
    h.now + make_interval(secs => s.silent_for) as silent_until
  from here h, unnest($1::text[], $2::float8[], $3::float8[], $4::float8[]) as s (sender, ago, slowed_to, silent_for)
), locked as materialized (
  -- As a begin locks them, or the two meet in a deadlock.
  select l.sender from wa.leases l where l.sender = any ($1) order by l.sender for no key update
)
update wa.leases l
set slowed_at = case when l.slowed_at between s.slowed_at and s.now then l.slowed_at else s.slowed_at end,
  slowed_to = case when l.slowed_at between s.slowed_at and s.now then l.slowed_to else s.slowed_to end,
  silent_until = case when l.slowed_at > s.now then s.silent_until else greatest(l.silent_until, s.silent_until) end
from said s join locked k using (sender)
where l.sender = s.sender
