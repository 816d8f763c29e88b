-- Failures of one code (-1: none), among the newest $4 of it.
-- Compared as rows: planned for any value, an equality is taken for a few rows, which are all fetched and sorted.
select count(*) as "looked_at!", count(*) filter (where l.is_meant) as "messages!"
from (
  select coalesce(r.delivered_at, r.read_at, r.played_at) is null
    and ($2::text is null or r.sender = $2)
    and coalesce(r.failed_at, r.ended_at) >= coalesce($3::timestamptz, '-infinity') as is_meant
  from wa.results r
  where (r.state = 'failed' or r.failed_at is not null) and (coalesce(r.error_code, -1), r.id) <= ($1, 9223372036854775807)
    and coalesce(r.error_code, -1) >= $1
  order by coalesce(r.error_code, -1) desc, r.id desc
  limit $4
) l
