-- Campaigns of these senders whose rows may leave now, as far as the campaign is concerned. Read each second: a small table, by its
-- index.
select c.id as "campaign!", c.name as "name!", c.sender as "sender!", c.priority as "priority!", c.payload::text as "payload!",
  c.category, c.rate_share as "rate_share!", c.max_per_second, c.ramp::text as ramp,
  greatest(c.started_at, c.starts_at) as "began_at!", c.ends_at, c.quiet_hours, c.time_zone as "time_zone!"
from wa.campaigns c
where c.sender = any ($1) and c.state = 'running' and wa.campaign_is_open(c.state, c.starts_at, c.ends_at)
order by c.sender, c.priority, c.id
