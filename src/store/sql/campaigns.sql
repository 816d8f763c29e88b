-- Campaigns with their settings and states: the one of this number or name, or all of them.
select c.id, c.name, c.sender, c.payload::text as "payload!", c.category, c.state, c.state_reason, c.state_changed_at, c.state_changed_by,
  c.priority, c.rate_share, c.max_per_second, c.ramp, c.starts_at, c.ends_at, c.quiet_hours, c.time_zone,
  extract(epoch from c.expires_after)::float8 as expires_after_s, c.pause_failure_share,
  extract(epoch from c.pause_window)::float8 as "pause_window_s!", c.pause_at_least, c.complete, c.preflight::text as preflight,
  c.preflight_at, c.started_at, c.created_at, c.created_by
from wa.campaigns c
where ($1::bigint is null or c.id = $1) and ($2::text is null or c.name = $2)
order by c.state in ('done', 'cancelled'), c.id desc
