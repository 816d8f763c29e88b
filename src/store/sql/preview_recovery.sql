-- A slice of the queue, in the order of ids, as a recovery would go through it: what may have been sent already, by sender and by what
-- would become of it if it stays silent ('again', 'person'). Changes nothing. What is not begun yet is taken as $4 and $5 say: ids up
-- to which messages are doubtful, and the time up to which they could have been due.
with slice as materialized (
  select q.id, q.sender, q.resends, wa.is_doubtful(q, $4, $5) as is_doubtful
  from wa.queue q
  where q.id > $1 and q.id <= $4
  order by q.id limit $2
), verdicts as (
  select s.sender,
    case
      when $3::bool or s.resends >= $6::int
        or coalesce(o.on_uncertain, d.on_uncertain, case when $7::bool or not f.echoes then 'hold' else 'retry' end) = 'hold' then 'person'
      else 'again'
    end as verdict,
    count(*) as n
  from slice s
  join wa.outbox o on o.id = s.id and o.sender = s.sender
  join wa.senders d on d.sender = s.sender
  left join wa.webhook_flow w on w.sender = s.sender
  cross join lateral (select coalesce(d.callback_echo, d.provider = any ($8::text[]) or coalesce(w.echoes, false)) as echoes) f
  where s.is_doubtful
  group by 1, 2
)
select (select max(s.id) from slice s) as reached,
  array(select v.sender from verdicts v order by v.sender, v.verdict) as "senders!",
  array(select v.verdict from verdicts v order by v.sender, v.verdict) as "verdicts!",
  array(select v.n from verdicts v order by v.sender, v.verdict) as "counts!"
