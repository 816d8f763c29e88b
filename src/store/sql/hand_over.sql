-- Hands senders over to workers that are alive, and calls them. A begin of the old owner that is under way holds the lease row
-- for share: it is waited for; one that comes later finds another worker and another epoch, and begins nothing.
with given as (
  update wa.leases l
  set worker = p.receiver, epoch = l.epoch + 1, taken_at = now(), problem = null
  from unnest($2::text[], $3::bigint[], $4::bigint[]) as p (sender, epoch, receiver)
  where l.sender = p.sender and l.worker = $1 and l.epoch = p.epoch
    and exists (select from wa.workers w where w.worker = p.receiver and w.expires_at > now() and not w.leaving)
  returning l.worker
), told as materialized (
  select pg_notify('wa_outbox_lease', r.worker::text) from (select distinct g.worker from given g) r
)
select (select count(*) from given) as "given!", (select count(*) from told) as "told!"
