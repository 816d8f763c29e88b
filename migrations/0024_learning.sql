-- What is new is written for less: ON CONFLICT takes a lock for each row and writes a record more to the log, whether there is a conflict
-- or not. So it is left to the moment in which somebody else has learned the same, which costs a batch as much again.

-- What answers have told, as far as it is news: the messages that were accepted by it.
create function wa.learn_from_answers(
  wamids text[], senders text[], ids bigint[], of_attempts integer[], wa_ids text[], statuses text[]
) returns bigint[]
language plpgsql set search_path = pg_catalog
set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off as $$
declare
  learned bigint[];
begin
  -- In the order of an applier that learns the same, or the two meet in a deadlock.
  with fresh as (
    insert into wa.acceptances (wamid, sender, id, attempt, wa_id, message_status, learned_from)
    select a.wamid, a.sender, a.id, a.attempt, a.wa_id, a.status, 'response'
    from unnest(wamids, senders, ids, of_attempts, wa_ids, statuses) as a (wamid, sender, id, attempt, wa_id, status)
    order by a.id, a.attempt, a.wamid
    returning id
  )
  select array_agg(id) into learned from fresh;
  return coalesce(learned, '{}');
exception when unique_violation then
  with fresh as (
    insert into wa.acceptances (wamid, sender, id, attempt, wa_id, message_status, learned_from)
    select a.wamid, a.sender, a.id, a.attempt, a.wa_id, a.status, 'response'
    from unnest(wamids, senders, ids, of_attempts, wa_ids, statuses) as a (wamid, sender, id, attempt, wa_id, status)
    order by a.id, a.attempt, a.wamid
    on conflict do nothing
    returning id
  )
  select array_agg(id) into learned from fresh;
  return coalesce(learned, '{}');
end
$$;
revoke execute on function wa.learn_from_answers(text[], text[], bigint[], integer[], text[], text[]) from public;
grant execute on function wa.learn_from_answers(text[], text[], bigint[], integer[], text[], text[]) to wa_worker;

-- As before (the migration prune); but what stands in the queue, and so has no result, goes ahead.
create or replace function wa.acceptance_ends_the_message() returns trigger
language plpgsql security definer
set search_path = pg_catalog
set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off as $$
declare
  ended bigint;
begin
  begin
    insert into wa.results (id, sender, state, wamid, wa_id, message_status, attempts, campaign, in_sequence, ended_at)
    select distinct on (f.id, f.sender) f.id, f.sender, 'accepted', f.wamid, f.wa_id, f.message_status, q.attempts, q.campaign,
      q.in_sequence, f.learned_at
    from fresh f join wa.queue q on q.id = f.id and q.sender = f.sender
    order by f.id, f.sender, f.attempt;
    get diagnostics ended = row_count;
  exception when unique_violation then
    -- One of them has ended meanwhile.
    ended := 0;
  end;

  if ended < (select count(*) from fresh) then
    insert into wa.results as r (id, sender, state, wamid, wa_id, message_status, attempts, campaign, in_sequence, ended_at)
    select distinct on (f.id, f.sender) f.id, f.sender, 'accepted', f.wamid, f.wa_id, f.message_status,
      coalesce(q.attempts, u.attempts, f.attempt), coalesce(q.campaign, u.campaign, 0), coalesce(q.in_sequence, u.in_sequence, false),
      f.learned_at
    from fresh f
    left join wa.queue q on q.id = f.id and q.sender = f.sender
    left join wa.uncertain u on u.id = f.id and u.sender = f.sender
    where not exists (select from wa.results k where k.id = f.id and k.sender = f.sender and k.wamid = f.wamid)
      and case when q.id is null and u.id is null then wa.is_there_still(f.id, f.sender) else true end
    order by f.id, f.sender, f.attempt
    on conflict (id, sender) do update set
      -- A fact outweighs what we had concluded without it (failed by an operator's word, expired, cancelled).
      state = 'accepted',
      wamid = coalesce(r.wamid, excluded.wamid),
      wa_id = coalesce(r.wa_id, excluded.wa_id),
      message_status = coalesce(r.message_status, excluded.message_status),
      duplicate = case when r.wamid <> excluded.wamid then
        coalesce(r.duplicate, case when exists (
          select from wa.acceptances a join fresh f on f.id = a.id and f.sender = a.sender and f.attempt = a.attempt and f.wamid <> a.wamid
          where a.wamid = r.wamid and a.id = r.id and a.sender = r.sender) then 'transport_retry' else 'resend' end)
        else r.duplicate end;
    delete from wa.acceptances a using fresh f
    where a.wamid = f.wamid and a.sender = f.sender
      and not exists (select from wa.results r where r.id = f.id and r.sender = f.sender);
    -- A snapshot older than the message cannot tell one that it does not see yet from one that has gone.
    if found and current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
      raise exception using errcode = 'serialization_failure',
        message = 'a message has moved since this transaction began', hint = 'try again, best in READ COMMITTED';
    end if;
    -- Two ids learned in one statement meet only here.
    update wa.results r set duplicate = coalesce(r.duplicate, twice.cause)
    from (select id, sender, case when count(distinct attempt) = 1 then 'transport_retry' else 'resend' end as cause
          from fresh group by id, sender having count(*) > 1) twice
    where r.id = twice.id and r.sender = twice.sender;
  end if;

  -- What was in doubt about these requests is settled.
  update wa.attempts a set settled_by = f.learned_from, settled_at = f.learned_at
  from fresh f
  where a.id = f.id and a.sender = f.sender and a.attempt = f.attempt and a.outcome = 'uncertain' and a.settled_by is null;
  return null;
end
$$;

-- As before (the migration plans); but an ordinary result finds its message in the queue and looks nowhere else.
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
  with from_queue as (
    delete from wa.queue q using fresh f where q.id = f.id and q.sender = f.sender returning q.campaign, q.state
  ), counted as (
    insert into wa.campaign_deltas (campaign, kind, n)
    select campaign, state, -count(*) from from_queue where campaign <> 0 group by campaign, state
  )
  select count(*) into taken from from_queue;
  while taken < expected loop
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
