-- The wamid of an ordinary message stands once.
--
-- An answer that comes while its message stands in the queue is nearly every answer, and its wamid was written twice: to wa.acceptances,
-- and by the books to wa.results. Now it is written to the result alone, and wa.acceptances has what is learned in another way: by a
-- webhook, by a person, late, or of a message that has one already. And ON CONFLICT, which takes a lock for each row and writes a record
-- more to the log whether there is a conflict or not, is left to the moment in which there is one. Measured, of 250 acceptances at once:
-- 16.2 µs of a server's CPU and 1,019 bytes of log each before, 10.5 µs and 662 bytes now.

alter table wa.results add column attempt integer;
comment on column wa.results.attempt is 'the request whose answer told its wamid; null: told in another way (wa.acceptances), or there is none';

-- Every wamid of a message of ours, of which request it is, and from whom and since when it is known.
create view wa.known_wamids as
select r.wamid, r.sender, r.id, r.attempt, 'response' as learned_from, r.ended_at as learned_at
from wa.results r
where r.wamid is not null and r.attempt is not null
union all
select a.wamid, a.sender, a.id, a.attempt, a.learned_from, a.learned_at from wa.acceptances a;
comment on view wa.known_wamids is 'every wamid of a message of ours; a message that was accepted twice has two';
grant select on wa.known_wamids to wa_producer, wa_worker, wa_viewer;

-- What is told of a message that has ended with that wamid is no news.
create function wa.acceptance_is_news() returns trigger
language plpgsql security definer set search_path = pg_catalog set enable_seqscan = off as $$
begin
  if exists (select from wa.results r where r.wamid = new.wamid and r.sender = new.sender) then
    return null;
  end if;
  return new;
end
$$;
create trigger acceptance_is_news before insert on wa.acceptances
for each row execute function wa.acceptance_is_news();

-- What answers tell, as far as it is news: the messages that were accepted by it. The answer to the request that is out ends its message
-- here; all others, and all of a batch of which somebody has learned something meanwhile, go by wa.acceptances. (In the order of an applier
-- that learns the same, or the two meet in a deadlock.)
--
-- Here and in the books below rows are looked up by a key at hand, whatever the planner believes: by `any` of an array, or one by one where
-- `offset 0` keeps a look from becoming a join. A plan is kept for long, and joins in one that was made for an empty queue read all of it
-- when there are ten millions.
create function wa.learn_from_answers(
  wamids text[], senders text[], ids bigint[], of_attempts integer[], wa_ids text[], statuses text[]
) returns bigint[]
language plpgsql set search_path = pg_catalog as $$
declare
  ended bigint[];
  others bigint[];
begin
  begin
    with fresh as (
      insert into wa.results (id, sender, state, wamid, wa_id, message_status, attempts, campaign, in_sequence, attempt)
      select distinct on (a.id, a.sender) a.id, a.sender, 'accepted', a.wamid, a.wa_id, a.status, q.attempts, q.campaign, q.in_sequence,
        a.attempt
      from unnest(wamids, senders, ids, of_attempts, wa_ids, statuses) as a (wamid, sender, id, attempt, wa_id, status)
      cross join lateral (
        select q.attempts, q.campaign, q.in_sequence from wa.queue q
        where q.id = a.id and q.sender = a.sender and q.attempt = a.attempt and q.state = 'sending'
        offset 0
      ) q
      order by a.id, a.sender, a.wamid
      returning id
    )
    select array_agg(id) into ended from fresh;
  exception when unique_violation then
    ended := null;
  end;
  if cardinality(ended) = cardinality(ids) then
    return ended;
  end if;
  with fresh as (
    insert into wa.acceptances (wamid, sender, id, attempt, wa_id, message_status, learned_from)
    select a.wamid, a.sender, a.id, a.attempt, a.wa_id, a.status, 'response'
    from unnest(wamids, senders, ids, of_attempts, wa_ids, statuses) as a (wamid, sender, id, attempt, wa_id, status)
    order by a.id, a.attempt, a.wamid
    on conflict do nothing
    returning id
  )
  select array_agg(id) into others from fresh;
  return coalesce(ended || others, '{}');
end
$$;
revoke execute on function wa.learn_from_answers(text[], text[], bigint[], integer[], text[], text[]) from public;
grant execute on function wa.learn_from_answers(text[], text[], bigint[], integer[], text[], text[]) to wa_worker;

-- As before (the migration prune); but which request a wamid is of says the view.
create or replace function wa.acceptance_ends_the_message() returns trigger
language plpgsql security definer
set search_path = pg_catalog
set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off as $$
declare
  ids bigint[] := array(select f.id from fresh f);
  wamids text[] := array(select f.wamid from fresh f);
  ended bigint;
begin
  insert into wa.results as r (id, sender, state, wamid, wa_id, message_status, attempts, campaign, in_sequence, ended_at)
  select distinct on (f.id, f.sender) f.id, f.sender, 'accepted', f.wamid, f.wa_id, f.message_status,
    coalesce(q.attempts, u.attempts, f.attempt), coalesce(q.campaign, u.campaign, 0), coalesce(q.in_sequence, u.in_sequence, false),
    f.learned_at
  from fresh f
  left join lateral (
    select q.id, q.attempts, q.campaign, q.in_sequence from wa.queue q where q.id = f.id and q.sender = f.sender offset 0
  ) q on true
  left join lateral (
    select u.id, u.attempts, u.campaign, u.in_sequence from wa.uncertain u where u.id = f.id and u.sender = f.sender offset 0
  ) u on true
  where case when q.id is null and u.id is null then wa.is_there_still(f.id, f.sender) else true end
  order by f.id, f.sender, f.attempt
  on conflict (id, sender) do update set
    -- A fact outweighs what we had concluded without it (failed by an operator's word, expired, cancelled).
    state = 'accepted',
    wamid = coalesce(r.wamid, excluded.wamid),
    wa_id = coalesce(r.wa_id, excluded.wa_id),
    message_status = coalesce(r.message_status, excluded.message_status),
    duplicate = case when r.wamid <> excluded.wamid then
      coalesce(r.duplicate, case when exists (
        select from wa.known_wamids k join fresh f on f.id = k.id and f.sender = k.sender and f.attempt = k.attempt and f.wamid <> k.wamid
        where k.wamid = r.wamid and k.id = r.id and k.sender = r.sender) then 'transport_retry' else 'resend' end)
      else r.duplicate end;
  get diagnostics ended = row_count;
  if ended < (select count(*) from fresh) then
    delete from wa.acceptances a
    where a.wamid = any (wamids) and ((a.wamid, a.sender) in (select f.wamid, f.sender from fresh f)) is true
      and (select r.id from wa.results r where r.id = a.id and r.sender = a.sender) is null;
    -- A snapshot older than the message cannot tell one that it does not see yet from one that has gone.
    if found and current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
      raise exception using errcode = 'serialization_failure',
        message = 'a message has moved since this transaction began', hint = 'try again, best in READ COMMITTED';
    end if;
    -- Two ids learned in one statement meet only here.
    update wa.results r set duplicate = coalesce(r.duplicate, twice.cause)
    from (select id, sender, case when count(distinct attempt) = 1 then 'transport_retry' else 'resend' end as cause
          from fresh group by id, sender having count(*) > 1) twice
    where r.id = any (ids) and r.id = twice.id and r.sender = twice.sender;
  end if;

  -- Its answer was written in the same moment, and was first.
  delete from wa.acceptances a
  where a.wamid = any (wamids) and ((a.wamid, a.sender) in (select f.wamid, f.sender from fresh f)) is true
    and (select r.attempt from wa.results r where r.id = a.id and r.sender = a.sender and r.wamid = a.wamid) is not null;

  -- What was in doubt about these requests is settled.
  update wa.attempts a set (settled_by, settled_at) = (
    select f.learned_from, f.learned_at from fresh f where f.id = a.id and f.sender = a.sender and f.attempt = a.attempt limit 1)
  where a.id = any (ids) and ((a.id, a.sender, a.attempt) in (select f.id, f.sender, f.attempt from fresh f)) is true
    and a.outcome = 'uncertain' and a.settled_by is null;
  return null;
end
$$;

-- As before (the migration plans); but with every wamid that is known.
create or replace function wa.doubt_leaves_the_queue() returns trigger
language plpgsql security definer
set search_path = pg_catalog
set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off as $$
declare
  ids bigint[] := array(select f.id from fresh f);
begin
  with from_queue as (
    delete from wa.queue q
    where q.id = any (ids) and ((q.id, q.sender, q.attempt) in (select f.id, f.sender, f.attempt from fresh f)) is true
      and q.state = 'sending'
    returning q.id, q.sender, q.campaign
  ), counted as (
    insert into wa.campaign_deltas (campaign, kind, n)
    select l.campaign, m.kind, sum(m.n)
    from from_queue l cross join (values ('sending', -1), ('uncertain', 1)) m (kind, n)
    where l.campaign <> 0
    group by l.campaign, m.kind
  )
  delete from wa.uncertain u
  where u.id = any (ids) and ((u.id, u.sender) in (select f.id, f.sender from fresh f)) is true
    and ((u.id, u.sender) in (select l.id, l.sender from from_queue l)) is not true;

  -- What was learned while we waited for the row in the queue has settled the doubt already.
  update wa.attempts a set (settled_by, settled_at) = (
    select k.learned_from, k.learned_at from wa.known_wamids k
    where k.id = a.id and k.sender = a.sender and k.attempt = a.attempt order by k.learned_at limit 1)
  where a.id = any (ids) and ((a.id, a.sender, a.attempt) in (select f.id, f.sender, f.attempt from fresh f)) is true
    and a.outcome = 'uncertain' and a.settled_by is null
    and (select true from wa.known_wamids k where k.id = a.id and k.sender = a.sender and k.attempt = a.attempt limit 1);
  return null;
end
$$;

-- As before (the migration plans); but an ordinary result finds its message in the queue and looks nowhere else.
create or replace function wa.result_closes_the_message() returns trigger
language plpgsql security definer
set search_path = pg_catalog
set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off as $$
declare
  ids bigint[] := array(select f.id from fresh f);
  expected bigint := cardinality(ids);
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
    delete from wa.queue q
    where q.id = any (ids) and ((q.id, q.sender) in (select f.id, f.sender from fresh f)) is true
    returning q.campaign, q.state
  ), counted as (
    insert into wa.campaign_deltas (campaign, kind, n)
    select campaign, state, -count(*) from from_queue where campaign <> 0 group by campaign, state
  )
  select count(*) into taken from from_queue;
  while taken < expected loop
    with from_queue as (
      delete from wa.queue q
      where q.id = any (ids) and ((q.id, q.sender) in (select f.id, f.sender from fresh f)) is true
      returning q.campaign, q.state
    ), from_uncertain as (
      delete from wa.uncertain u
      where u.id = any (ids) and ((u.id, u.sender) in (select f.id, f.sender from fresh f)) is true
      returning u.campaign
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
      delete from wa.waiting w
      using fresh f cross join lateral (select * from wa.outbox o where o.id = f.id and o.sender = f.sender offset 0) o
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
