-- How many rows of a campaign are of each kind. What waits in one that was cancelled or is over counts as ended, whether that has been
-- written into each row yet or not, as in wa.messages.
select case when k.kind = 'queued' then coalesce(wa.campaign_end_of_rows(c), k.kind) else k.kind end as "kind!",
  nullif(k.code, -1) as code, k.n as "n!"
from wa.campaigns c cross join lateral wa.campaign_counts_now(c.id) k
where c.id = $1
