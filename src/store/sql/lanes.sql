-- Campaigns of these senders whose rows may leave now, as far as the campaign is concerned. Read each second: a small table, by its
-- index. What may be missing, or be a time that no program can read, is null: one row must not cost all senders the whole look.
select c.id as "campaign!", c.name as "name!", c.sender as "sender!", c.priority as "priority!", c.payload::text as "payload!",
  c.category, c.rate_share as "rate_share!", c.max_per_second, c.ramp::text as ramp,
  case when c.started_at between '1970-01-01 00:00Z' and '9999-12-31 00:00Z' then greatest(c.started_at, c.starts_at) end as began_at,
  case when c.ends_at < '10000-01-01 00:00Z' then c.ends_at end as ends_at, c.quiet_hours, c.time_zone as "time_zone!"
from wa.campaigns c
where c.sender = any ($1) and c.state = 'running' and wa.campaign_is_open(c.state, c.starts_at, c.ends_at)
order by c.sender, c.priority, c.id
