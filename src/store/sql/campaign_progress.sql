-- What is known of a campaign beside its counts. Looks at no more than $2 of its rows: those that are put off.
with put_off as materialized (
  select q.due_at, q.waiting_for
  from wa.campaigns c
  cross join lateral (
    select q.due_at, q.waiting_for from wa.queue q
    where q.sender = c.sender and q.campaign = c.id and q.priority = 0 and q.due_at > now() and q.state = 'queued'
    order by q.due_at, q.id
    limit $2
  ) q
  where c.id = $1
)
select
  case
    when c.state in ('done', 'cancelled') or c.ends_at <= now() then null
    when wa.campaign_hold_in_words(c) is not null then wa.campaign_hold_in_words(c)
    when s.held_reason is not null and (s.held_until is null or s.held_until > now()) then 'its sender, held: ' || s.held_reason
    when l.problem is not null then l.problem
    else coalesce(wa.template_hold_in_words(c.sender, c.payload), case when l.worker is null then 'a worker: none has its sender' end)
  end as waiting_for,
  case when c.state = 'paused' then c.state_changed_by <> 'wa-outbox'
    else coalesce(s.held_cause = 'operator' and (s.held_until is null or s.held_until > now()), false) end as "for_a_person!",
  s.rate_per_second as "sender_rate!",
  (select coalesce(sum(p.answered), 0) from wa.campaign_pace p where p.campaign = c.id and p.at > now() - interval '60 seconds')::bigint
    as "answered_last_minute!",
  array(select w.waiting_for from (select coalesce(p.waiting_for, 'its due time') as waiting_for, count(*) as n from put_off p group by 1) w
    order by w.n desc, w.waiting_for) as "reasons!",
  array(select w.n from (select coalesce(p.waiting_for, 'its due time') as waiting_for, count(*) as n from put_off p group by 1) w
    order by w.n desc, w.waiting_for) as "put_off!",
  (select min(p.due_at) from put_off p where p.due_at < timestamptz '9999-01-01 00:00:00+00') as next_due_at,
  (select max(p.due_at) from put_off p where p.due_at < timestamptz '9999-01-01 00:00:00+00') as last_due_at,
  n.is_nothing_due as "is_nothing_due!",
  case when n.is_nothing_due then
    (select count(*) from wa.uncertain u where u.sender = c.sender and u.campaign = c.id and u.needs_person) end as left_to_a_person,
  dated.first_answer_at, dated.last_answer_at, dated.last_status_at,
  clock_timestamp() as "now!"
from wa.campaigns c
join wa.senders s on s.sender = c.sender
left join wa.leases l on l.sender = c.sender
cross join lateral (
  select wa.campaign_is_open(c.state, c.starts_at, c.ends_at) and not exists (
    select from wa.queue q where q.sender = c.sender and q.campaign = c.id and q.priority = 0 and q.due_at <= now()) as is_nothing_due
) n
-- From the kept sums, also those that are zero again: an answer keeps its date when a status has moved its row on.
cross join lateral (
  select min(k.first_at) filter (where k.kind in ('accepted', 'failed')) as first_answer_at,
    max(k.last_at) filter (where k.kind in ('accepted', 'failed')) as last_answer_at,
    max(k.last_at) filter (where k.kind in ('sent', 'delivered', 'read', 'undelivered')) as last_status_at
  from wa.campaign_counts k where k.campaign = c.id
) dated
where c.id = $1
