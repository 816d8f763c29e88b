-- Of these accepted requests those whose wamid is known to be of another message, and of which one.
select t.id as "id!", t.attempt as "attempt!", k.id as "owner!"
from unnest($1::text[], $2::text[], $3::bigint[], $4::int[]) as t (wamid, sender, id, attempt)
cross join lateral (
  select k.id from wa.known_wamids k where k.wamid = t.wamid and k.sender = t.sender and k.id <> t.id order by k.id limit 1
) k
