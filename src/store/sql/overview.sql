-- What concerns all senders, in numbers that go no further than $1 rows.
select
  (select count(*) from wa.workers w where w.expires_at > clock_timestamp()) as "workers!",
  u.uncertain as "uncertain!", u.needs_person as "needs_person!",
  (select w.received_at from wa.oldest_waiting_delivery w) as oldest_delivery_at,
  (select max(f.last_status_at) from wa.webhook_flow f) as last_status_at,
  (select wa.is_of_now(l.last_said_at, $2) from wa.webhook_listening l) as is_listening,
  clock_timestamp() as "now!"
from (
  select count(*) as uncertain, count(*) filter (where b.needs_person) as needs_person
  from (select c.needs_person from wa.uncertain c limit $1) b
) u
