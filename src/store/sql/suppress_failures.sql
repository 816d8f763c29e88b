-- Suppresses the recipients of these messages for good. A suppression that has an end loses it; one that has none stays as it was
-- written. In one order, so two that write the same do not meet in a deadlock.
insert into wa.suppressions as s (recipient, sender, category, reason, source, created_by)
select distinct o.recipient, $2::text, $3::text, $4::text, 'operator', $5::text
from unnest($1::bigint[]) as m (id)
join wa.outbox o on o.id = m.id
order by o.recipient
on conflict (recipient, coalesce(sender, ''), coalesce(category, '')) do update
set reason = excluded.reason, expires_at = null, source = excluded.source, created_by = excluded.created_by, created_at = clock_timestamp()
where s.expires_at is not null
