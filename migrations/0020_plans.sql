-- The books look every message up by its key, whatever the planner believes.
--
-- A function keeps the plan that it made first, for the few rows of its first statement and for tables as they were then. Of 500 outcomes
-- at once each was looked for in the whole queue: 82 µs a message, where 20 do.

create or replace function wa.result_closes_the_message() returns trigger
language plpgsql security definer
set search_path = pg_catalog
set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off as $$
declare
  expected bigint := (select count(*) from fresh);
  taken bigint := 0;
  members bigint[];
begin
  insert into wa.campaign_deltas (campaign, kind, code, n)
  select f.campaign, s.kind, s.code, count(*)
  from fresh f cross join lateral wa.campaign_standing(f.state, f.suppressed, f.sent_at, f.delivered_at, coalesce(f.read_at, f.played_at),
    f.failed_at, f.error_code) s
  where f.campaign <> 0
  group by f.campaign, s.kind, s.code;
  loop
    with from_queue as (
      delete from wa.queue q using fresh f where q.id = f.id and q.sender = f.sender returning q.campaign, q.state
    ), from_uncertain as (
      delete from wa.uncertain u using fresh f where u.id = f.id and u.sender = f.sender returning u.campaign
    ), counted as (
      insert into wa.campaign_deltas (campaign, kind, n)
      select l.campaign, l.kind, -count(*)
      from (select campaign, state as kind from from_queue union all select campaign, 'uncertain' from from_uncertain) l
      where l.campaign <> 0
      group by l.campaign, l.kind
    )
    select taken + (select count(*) from from_queue) + (select count(*) from from_uncertain) into taken;
    exit when taken >= expected;
    -- What is left waits in its sequence. A delivery that sets it free has the sequence's lock first and the member second, and
    -- who does it the other way round meets it in a deadlock.
    perform wa.lock_sequences(array(select id from fresh where in_sequence));
    with from_waiting as (
      delete from wa.waiting w using fresh f join wa.outbox o on o.id = f.id and o.sender = f.sender
      where (w.sender, w.recipient, w.sequence, w.id) = (o.sender, o.recipient, o.sequence, o.id)
      returning w.id
    )
    select taken + count(*) into taken from from_waiting;
    exit when taken >= expected or not exists (
      select from fresh f
      where exists (select from wa.queue q where q.id = f.id and q.sender = f.sender)
        or exists (select from wa.uncertain u where u.id = f.id and u.sender = f.sender)
        or exists (select from wa.waiting w join wa.outbox o
                     on (w.sender, w.recipient, w.sequence, w.id) = (o.sender, o.recipient, o.sequence, o.id)
                   where o.id = f.id and o.sender = f.sender));
  end loop;
  -- A snapshot older than the row that must go cannot see it, and would leave it behind.
  if taken < expected and current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
    raise exception using errcode = 'serialization_failure',
      message = 'a message has moved since this transaction began', hint = 'try again, best in READ COMMITTED';
  end if;

  -- Of an accepted member the gate hears when its delivery is told.
  select array_agg(id) into members from fresh where in_sequence and (state <> 'accepted' or wamid is null);
  if members is not null then
    perform wa.settle_sequences(members);
  end if;
  return null;
end
$$;

create or replace function wa.doubt_leaves_the_queue() returns trigger
language plpgsql security definer
set search_path = pg_catalog
set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off as $$
begin
  with from_queue as (
    delete from wa.queue q using fresh f
    where q.id = f.id and q.sender = f.sender and q.attempt = f.attempt and q.state = 'sending'
    returning q.id, q.sender, q.campaign
  ), counted as (
    insert into wa.campaign_deltas (campaign, kind, n)
    select l.campaign, m.kind, sum(m.n)
    from from_queue l cross join (values ('sending', -1), ('uncertain', 1)) m (kind, n)
    where l.campaign <> 0
    group by l.campaign, m.kind
  )
  delete from wa.uncertain u using fresh f
  where u.id = f.id and u.sender = f.sender
    and not exists (select from from_queue l where l.id = u.id and l.sender = u.sender);

  -- What was learned while we waited for the row in the queue has settled the doubt already.
  update wa.attempts a set settled_by = c.learned_from, settled_at = c.learned_at
  from fresh f join wa.acceptances c on c.id = f.id and c.sender = f.sender and c.attempt = f.attempt
  where a.id = f.id and a.sender = f.sender and a.attempt = f.attempt and a.outcome = 'uncertain' and a.settled_by is null;
  return null;
end
$$;

