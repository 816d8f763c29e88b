-- Sets deliveries aside that wait, with their bodies: the oldest $1 groups that came after $3 and are not $4, and of those no more when there
-- are $2 deliveries.
-- A group whose deliveries are gone is told without any.
with front as materialized (
  select p.received_at, p.id, p.deliveries
  from wa.webhook_pending p
  where p.received_at > $3 and p.id <> all ($4)
  order by p.received_at, p.id
  limit $1
  for update skip locked
), taken as (
  select f.*, sum(cardinality(f.deliveries)) over (order by f.received_at, f.id) - cardinality(f.deliveries) as before_it
  from front f
)
select t.received_at as "group_received_at!", t.id as "group!", i.id as "id?", i.received_at as "received_at?", i.body as "body?"
from taken t
left join lateral (
  select i.*
  from unnest(t.deliveries) as d (id)
  cross join lateral (select i.id, i.received_at, i.body from wa.webhook_inbox i where i.id = d.id offset 0) i
) i on true
where t.before_it < $2
order by t.received_at, t.id, i.id
