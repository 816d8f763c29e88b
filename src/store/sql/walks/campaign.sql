-- The rows of one campaign. From $1 on towards older ones, $3 at most; and whether each is of the sender $2, where one is given.
-- Compared as rows: planned for any value, an equality is taken for a few rows, which are all fetched and sorted.
select id as "id!", ($2::text is null or sender = $2) as "is_of_sender!"
from wa.outbox
where (campaign_id, id) < ($4, $1) and campaign_id >= $4
order by campaign_id desc, id desc
limit $3
