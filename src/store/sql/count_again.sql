-- What would become of the failures of one code (-1: none) if they were sent again, among the newest $4 of it: as count_failures.sql finds
-- them, and send_failures_again.sql takes them.
select count(*) as "looked_at!", count(*) filter (where l.is_meant) as "failed!",
  count(*) filter (where m.may_leave) as "may_leave!", count(*) filter (where m.may_leave and m.is_written) as "already!"
from (
  select r.id, r.sender, coalesce(r.delivered_at, r.read_at, r.played_at) is null
    and ($2::text is null or r.sender = $2)
    and coalesce(r.failed_at, r.ended_at) >= coalesce($3::timestamptz, '-infinity') as is_meant
  from wa.results r
  where (r.state = 'failed' or r.failed_at is not null) and (coalesce(r.error_code, -1), r.id) <= ($1, 9223372036854775807)
    and coalesce(r.error_code, -1) >= $1
  order by coalesce(r.error_code, -1) desc, r.id desc
  limit $4
) l
left join lateral (
  select o.campaign_id is null or (
      select c.state in ('draft', 'running', 'paused') and (c.ends_at is null or c.ends_at > now())
      from wa.campaigns c where c.id = o.campaign_id
    ) as may_leave,
    (select true from wa.outbox a where a.sender = o.sender and a.dedup_key = 'again:' || o.id) as is_written
  from wa.outbox o
  where o.id = l.id and o.sender = l.sender and l.is_meant
  offset 0
) m on true
