-- Suppressions as they were given; of one given twice the last counts. Locked in one order, so two that write the same do not meet in
-- a deadlock. An import never shortens one that stands: a list of those to leave alone for a while frees nobody else.
insert into wa.suppressions as s (recipient, sender, category, reason, expires_at, source, created_by)
select distinct on (g.recipient, coalesce(g.sender, ''), coalesce(g.category, ''))
  g.recipient, g.sender, g.category, g.reason, g.expires_at, $6, $7
from (
  select wa.plain_recipient(n.recipient) as recipient, n.sender, n.category, n.reason, n.expires_at, n.place
  from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[]) with ordinality
    as n (recipient, sender, category, reason, expires_at, place)
) g
order by g.recipient, coalesce(g.sender, ''), coalesce(g.category, ''), g.place desc
on conflict (recipient, coalesce(sender, ''), coalesce(category, '')) do update
set reason = excluded.reason,
  expires_at = case when $6 = 'import' then nullif(greatest(coalesce(s.expires_at, 'infinity'), coalesce(excluded.expires_at, 'infinity')), 'infinity')
    else excluded.expires_at end,
  source = excluded.source, created_by = excluded.created_by,
  created_at = clock_timestamp()
