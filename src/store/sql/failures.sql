-- The newest failures in groups, $3 of them at most: by sender and code, before their acceptance or after. One that was delivered all
-- the same is no failure. Where there is no group, one row says how far was looked.
with looked as materialized (
  select r.id, r.sender, r.error_code, r.error_message, r.state, coalesce(r.failed_at, r.ended_at) as at,
    coalesce(r.delivered_at, r.read_at, r.played_at) is null as stands
  from wa.results r
  where (r.state = 'failed' or r.failed_at is not null) and coalesce(r.failed_at, r.ended_at) >= coalesce($2::timestamptz, '-infinity')
  order by coalesce(r.failed_at, r.ended_at) desc, r.id desc
  limit $3
), grouped as (
  select l.sender, l.error_code, count(*) as messages, count(*) filter (where l.state = 'failed') as rejected, max(l.at) as last_at,
    (array_agg(l.id order by l.at desc, l.id desc))[1] as sample
  from looked l
  where l.stands and ($1::text is null or l.sender = $1)
  group by l.sender, l.error_code
), far as (
  select count(*) as looked_at, min(l.at) as looked_back_to from looked l
)
select f.looked_at as "looked_at!", f.looked_back_to, g.sender as "sender?", g.error_code, g.messages as "messages?",
  g.rejected as "rejected?", g.last_at as "last_at?", g.sample as "sample?",
  (select l.error_message from looked l where l.id = g.sample limit 1) as sample_message
from far f left join grouped g on true
order by g.messages desc, g.sender, g.error_code
