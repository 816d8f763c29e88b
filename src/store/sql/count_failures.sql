-- Failures of one code (-1: none), among the newest $4 of it.
select count(*) as "looked_at!", count(*) filter (where l.is_meant) as "messages!"
from (
  select coalesce(r.delivered_at, r.read_at, r.played_at) is null
    and ($2::text is null or r.sender = $2)
    and coalesce(r.failed_at, r.ended_at) >= coalesce($3::timestamptz, '-infinity') as is_meant
  from wa.results r
  where (r.state = 'failed' or r.failed_at is not null) and coalesce(r.error_code, -1) = $1
  order by r.id desc
  limit $4
) l
