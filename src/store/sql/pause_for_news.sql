-- Pauses the campaigns that bad news is about: those of the senders meant, and where it is about a template, those that send it. What
-- was started, or resumed by a person, after it happened goes on; so news that comes twice or late changes nothing.
select c.id as "campaign!", c.name as "name!", c.sender as "sender!", 'paused' as "state!", $6::text as "reason!",
  wa.lead_campaign(c.id, 'pause', $7, $6) as "is_changed!"
from (
  select c.id, c.name, c.sender
  from wa.campaigns c
  join wa.senders_meant($1, $2) m on m.sender = c.sender and coalesce(m.restored_at < $5, true)
  where c.state = 'running' and c.state_changed_at < $5
    and ($3::text is null or c.payload -> 'template' ->> 'name' = $3
      and ($4::text is null or replace(c.payload -> 'template' -> 'language' ->> 'code', '-', '_') = $4))
  order by c.id
  for update of c
) c
