-- Takes senders that nobody alive holds: as many as are missing to the worker's fair share, or all of them. Whoever takes at
-- the same moment is passed by. A lease that changed since it was seen has another epoch and is left alone.
with mine as materialized (
  select greatest(s.fair - s.held, 0) as room
  from wa.fair_shares(make_interval(secs => $2)) s
  where s.worker = $1
), free as materialized (
  select l.sender, l.epoch from wa.leases l
  where not exists (select from wa.workers w where w.worker = l.worker and w.expires_at > now())
), locked as (
  select l.sender
  from wa.leases l join free f on f.sender = l.sender and f.epoch = l.epoch
  order by l.sender
  -- Without a row of its own the worker may take none; a limit of null would mean all.
  limit coalesce((select case when $3 then (select count(*) from free) else m.room end from mine m), 0)
  for update of l skip locked
), taken as (
  update wa.leases l
  set worker = $1, epoch = l.epoch + 1, taken_at = now(), problem = null
  from locked k
  where l.sender = k.sender
  returning l.sender
)
select (select count(*) from taken) as "taken!",
  (select count(*) from free) - (select count(*) from taken) as "left_over!"
