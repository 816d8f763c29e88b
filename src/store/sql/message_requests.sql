-- The requests of message $1, of sender $2, that did not end in plain acceptance: the first $3 of them and the newest $4.
-- Both ends are walked by the key, and what stands between them is not read, for a message that is throttled has thousands.
with first as (
  select * from wa.attempts where id = $1 and sender = $2 order by attempt limit $3
), newest as (
  select * from wa.attempts where id = $1 and sender = $2 and attempt > (select max(attempt) from first)
  order by attempt desc limit $4
)
select attempt as "attempt!", begun_at, ended_at as "ended_at!", outcome as "outcome!", http_status, error_code, error_title,
  error_details, fbtrace_id, note, settled_by, settled_at, settled_note
from (select * from first union all select * from newest) as told
order by attempt
