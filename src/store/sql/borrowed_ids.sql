-- Of these accepted messages those whose wamid is known to be of another message, and of which one.
select t.id as "id!", t.wamid as "wamid!", k.id as "owner!"
from unnest($1::text[], $2::text[], $3::bigint[]) as t (wamid, sender, id)
cross join lateral (
  select k.id from wa.known_wamids k where k.wamid = t.wamid and k.sender = t.sender and k.id <> t.id order by k.id limit 1
) k
