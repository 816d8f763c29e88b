-- Sets messages aside for the holds of their templates. The holds are locked for share, so a release waits for us and then finds
-- what we have set aside; after it nothing is set aside any more. Where a probe has begun meanwhile, which found nothing that was
-- set aside, the first message stays due, to be the probe.
with held as materialized (
  select h.hold, h.sender, h.template, coalesce(h.probing_until > clock_timestamp(), false) as is_probed
  from wa.template_holds h
  where h.hold = any ($2) and h.released_at is null
  order by h.hold
  for share
), asked as (
  select m.id, m.hold, row_number() over (partition by m.hold order by m.id) as nth
  from unnest($1::bigint[], $2::bigint[]) as m (id, hold)
)
update wa.queue q
set due_at = wa.set_aside_at(h.hold), waiting_for = format('its template %s, held', h.template)
from asked m
join held h on h.hold = m.hold
where q.id = m.id and q.sender = h.sender and q.state = 'queued' and not (h.is_probed and m.nth = 1)
