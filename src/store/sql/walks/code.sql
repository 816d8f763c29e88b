-- What has failed with one code, before its acceptance or after.
-- From $1 on towards older ones, $3 at most; and whether each is of the sender $2, where one is given.
-- Compared as rows: planned for any value, an equality is taken for a few rows, which are all fetched and sorted.
select id as "id!", ($2::text is null or sender = $2) as "is_of_sender!"
from wa.results
where (coalesce(error_code, -1), id) < ($4, $1) and coalesce(error_code, -1) >= $4 and (state = 'failed' or failed_at is not null)
order by coalesce(error_code, -1) desc, id desc
limit $3
