-- A slice of a sender's queue, in index order: where it ends, and which of its messages stand in `sending`, begun under this
-- epoch or an earlier one. No index knows the state, because one would make every step of every message dearer (no HOT update);
-- so the whole queue is read once, slice by slice. A message that stands in `sending` does not move meanwhile.
with slice as materialized (
  select q.id, q.campaign, q.priority, q.due_at, q.state, q.epoch, q.attempt
  from wa.queue q
  where q.sender = $1 and q.campaign >= 0 and (q.campaign, q.priority, q.due_at, q.id) > ($3::bigint, $4::smallint, $5::timestamptz, $6::bigint)
  order by q.campaign, q.priority, q.due_at, q.id
  limit $7
), begun as (
  select s.id, s.attempt from slice s where s.state = 'sending' and s.epoch <= $2
), last as (
  select s.campaign, s.priority, s.due_at, s.id from slice s
  order by s.campaign desc, s.priority desc, s.due_at desc, s.id desc limit 1
)
select (select count(*) from slice) as "read!",
  (select l.campaign from last l) as last_campaign, (select l.priority from last l) as last_priority,
  (select l.due_at from last l) as last_due_at, (select l.id from last l) as last_id,
  array(select b.id from begun b order by b.id) as "ids!",
  array(select b.attempt from begun b order by b.id) as "attempts!"
