-- Campaigns of these senders whose waiting rows are to end, cancelled or expired, as far as the counts say that there are any. A
-- row that a transaction writes late is counted late, and found then.
select c.id
from wa.campaigns c
join wa.campaign_counts n on n.campaign = c.id and n.kind = 'queued' and n.code = -1 and n.n > 0
where c.sender = any ($1) and wa.campaign_end_of_rows(c) is not null
order by c.id
