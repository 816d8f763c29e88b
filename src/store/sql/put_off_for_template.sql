-- Sets messages aside for the holds of their templates. The holds are locked for share, so a release waits for us and then finds
-- what we have set aside; after it nothing is set aside any more.
with held as materialized (
  select h.hold, h.sender, h.template
  from wa.template_holds h
  where h.hold = any ($2) and h.released_at is null
  order by h.hold
  for share
)
update wa.queue q
set due_at = wa.set_aside_at(h.hold), waiting_for = format('its template %s, held', h.template)
from unnest($1::bigint[], $2::bigint[]) as m (id, hold)
join held h on h.hold = m.hold
where q.id = m.id and q.sender = h.sender and q.state = 'queued'
