-- Keeps what webhooks call our numbers. Most batches tell nothing new, and write nothing. Rows in one order, so two appliers that
-- meet wait for each other instead of deadlocking.
insert into wa.sender_numbers as n (sender, account, number)
select distinct on (t.sender) t.sender, t.account, t.number
from unnest($1::text[], $2::text[], $3::text[]) with ordinality as t (sender, account, number, place)
join wa.senders s on s.sender = t.sender
where not exists (
  select from wa.sender_numbers k
  where k.sender = t.sender and (t.account is null or k.account = t.account) and (t.number is null or k.number = t.number))
order by t.sender, t.place desc
on conflict (sender) do update
set account = coalesce(excluded.account, n.account), number = coalesce(excluded.number, n.number)
