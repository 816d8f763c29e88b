-- Retention: what has ended long enough ago is deleted, if somebody wants that (`wa-outbox prune`, the settings [retention]).
--
-- Each function here takes a slice of one walk in the order of a key: a bounded number of rows, in a bounded stretch of that key,
-- for what was deleted stays in an index until vacuum has been there. What somebody else has locked is left for the next pass, so
-- nobody waits for a slice but who wants the very rows that it takes, and it waits for nobody.
--
-- Why nothing is deleted that is still wanted: a message goes only with all that belongs to it, when it has a result, when that and all
-- that WhatsApp has told of it is old, and when no sequence waits for it or names it. It is looked at once more under the locks of
-- its rows and of its sequence. And what comes about it afterwards finds nothing: a status names no message then, and an acceptance
-- is dropped by the books.

-- ── how long at least ────────────────────────────────────────────────────────────────────────────────────────────

-- WhatsApp repeats webhooks for up to 7 days (Meta, "Webhooks", "Throughput"), and a late one must find its message; a day more for
-- what was received and is not applied yet. (src/domain/retention.rs has the same; a test compares them.)
create function wa.messages_kept_at_least() returns interval
language sql immutable parallel safe as $$ select interval '8 days' $$;

-- Of a message that is neither delivered nor failed the news may still come: it is tried for 30 days ("Time-To-Live").
create function wa.undelivered_kept_at_least() returns interval
language sql immutable parallel safe as $$ select interval '30 days' + interval '8 days' $$;

-- A delivery that was applied has told what it had to tell. It is kept for people, and as evidence where a database went back.
create function wa.deliveries_kept_at_least() returns interval
language sql immutable parallel safe as $$ select interval '1 day' $$;

create function wa.refuse_to_prune(before timestamptz, kept_at_least interval) returns void
language plpgsql set search_path = pg_catalog as $$
begin
  if before is null or before > now() - kept_at_least then
    raise exception using errcode = 'invalid_parameter_value',
      message = format('what is younger than %s is not deleted', kept_at_least),
      hint = 'name an earlier time';
  end if;
  if wa.is_unsettled() then
    raise exception using errcode = 'object_not_in_prerequisite_state',
      message = 'nothing is deleted while it is not settled what the database has forgotten', hint = 'settle that first: wa-outbox recover';
  end if;
end
$$;

-- Of a key, how much a slice looks through for the rows that it may take.
create function wa.prune_stretch() returns bigint
language sql immutable parallel safe as $$ select 50000::bigint $$;

-- ── who is at it ─────────────────────────────────────────────────────────────────────────────────────────────────

-- Of the processes that may do it one does, for as long as it says so. (A row, not an advisory lock: that would belong to a session,
-- and behind a pooler sessions are anybody's.)
create table wa.pruning (
  is_only boolean primary key default true constraint there_is_one_row check (is_only),
  pass bigint not null default 0,
  until timestamptz not null default 'epoch',
  next_at timestamptz not null default 'epoch'
) with (fillfactor = 50);
insert into wa.pruning default values;
comment on table wa.pruning is 'which process deletes what is old (settings [retention])';
comment on column wa.pruning.pass is 'number of the pass that was begun last';
comment on column wa.pruning.until is 'so long it is under way, unless it says otherwise';
comment on column wa.pruning.next_at is 'not before then the next one is begun';

-- ── messages ─────────────────────────────────────────────────────────────────────────────────────────────────────

-- Whether a result, and all that it has been told since, is older than that.
create function wa.has_gone_quiet(result wa.results, before timestamptz) returns boolean
language sql stable as $$
  select greatest(result.ended_at, result.sent_at, result.delivered_at, result.read_at, result.played_at, result.failed_at)
    < case when result.wamid is null or coalesce(result.delivered_at, result.read_at, result.played_at, result.failed_at) is not null
        then before else least(before, now() - wa.undelivered_kept_at_least()) end
$$;

-- Which of these messages may go. Asked twice: to find them, and again under the locks of those that were found. (Each look is a
-- query of its own, by key: what is turned into a join may read a whole table that the planner takes for a small one.)
create function wa.prunable(ids bigint[], before timestamptz) returns bigint[]
language plpgsql volatile set search_path = pg_catalog
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
set plan_cache_mode = force_custom_plan as $$
begin
  return array(
    select o.id
    from wa.outbox o
    cross join lateral (select x as result from wa.results x where x.id = o.id and x.sender = o.sender offset 0) r
    where o.id = any (ids) and wa.has_gone_quiet(r.result, before)
      and (select true from wa.acceptances a where a.id = o.id and a.sender = o.sender and a.learned_at >= before limit 1) is null
      and (select true from wa.status_events e
           where e.id is not null and e.id = o.id and e.sender = o.sender and e.received_at >= before limit 1) is null
      -- By the books none of these can be, beside a result.
      and (select true from wa.queue q where q.id = o.id and q.sender = o.sender) is null
      and (select true from wa.uncertain u where u.id = o.id and u.sender = o.sender) is null
      and (o.sequence is null
        or (select true from wa.waiting w
            where (w.sender, w.recipient, w.sequence, w.id) = (o.sender, o.recipient, o.sequence, o.id)) is null
          -- What has become known of it is to be settled yet.
          and (select true from wa.unsettled n where n.id = o.id and n.sender = o.sender) is null
          and (select true from wa.sequences g
               where (g.sender, g.recipient, g.sequence) = (o.sender, o.recipient, o.sequence)
                 and o.id in (g.head_id, g.halted_member)) is null)
    order by o.id);
end
$$;

-- A slice of messages, in the order of their ids; `reached` is null at the end. A dry one counts and deletes nothing.
create function wa.prune_messages(before timestamptz, after bigint, at_most integer, dry boolean,
  out reached bigint, out looked bigint, out pruned bigint)
language plpgsql security definer set search_path = pg_catalog
-- By key, whatever the planner believes of tables of which so much has gone; and planned anew for each slice, because a queue that was
-- empty when a plan was made may have ten million rows now.
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
set plan_cache_mode = force_custom_plan set jit = off set lock_timeout = '100ms' as $$
declare
  ids bigint[];
  lines wa.sequences[];
  oldest timestamptz;
begin
  perform wa.refuse_to_prune(before, wa.messages_kept_at_least());
  select max(s.id), count(*), min(s.created_at), array_agg(s.id) filter (where s.created_at < before)
  into reached, looked, oldest, ids
  from (
    select o.id, o.created_at from wa.outbox o
    where o.id > after and o.id <= after + wa.prune_stretch() order by o.id limit at_most
  ) s;
  if looked < at_most then
    reached := after + wa.prune_stretch();
  end if;
  -- Nothing that was written later has ended earlier.
  if oldest >= before or reached >= coalesce(pg_sequence_last_value(pg_get_serial_sequence('wa.outbox', 'id')), 0) then
    reached := null;
  end if;
  if ids is not null then
    ids := wa.prunable(ids, before);
  end if;
  pruned := coalesce(cardinality(ids), 0);
  if dry or pruned = 0 then
    return;
  end if;

  -- The lines first, as everybody takes them; whose line is busy stays.
  lines := array(
    select g
    from (
      select distinct o.sender, o.recipient, o.sequence from wa.outbox o where o.id = any (ids) and o.sequence is not null
      order by o.sender, o.recipient, o.sequence
    ) k
    cross join lateral (
      select q.* from wa.sequences q where (q.sender, q.recipient, q.sequence) = (k.sender, k.recipient, k.sequence)
      for update skip locked
    ) g);
  ids := array(
    select o.id from wa.outbox o
    where o.id = any (ids)
      and (o.sequence is null
        or (o.sender, o.recipient, o.sequence) in (select g.sender, g.recipient, g.sequence from unnest(lines) g))
    order by o.id for update skip locked);
  ids := array(select r.id from wa.results r where r.id = any (ids) order by r.id for update skip locked);
  ids := wa.prunable(ids, before);

  with messages as (
    delete from wa.outbox o where o.id = any (ids) returning o.id
  ), results as (
    delete from wa.results r where r.id = any (ids)
  ), acceptances as (
    delete from wa.acceptances a where a.id = any (ids)
  ), attempts as (
    delete from wa.attempts a where a.id = any (ids)
  ), events as (
    delete from wa.status_events e where e.id = any (ids) and e.id is not null
  )
  select count(*) into pruned from messages;

  -- A line of which nothing is left goes too; one with settings of its own stays, and so does that of a recipient who has so many
  -- messages that looking for its own would take long.
  delete from wa.sequences s
  where s.ctid = any (array(
    select k.place
    from unnest(lines) g
    cross join lateral (
      select x.ctid as place from wa.sequences x
      where (x.sender, x.recipient, x.sequence) = (g.sender, g.recipient, g.sequence)
        and x.head_id is null and x.halted_cause is null
        and x.on_failure is null and x.delivery_timeout is null and x.on_timeout is null
        and (
          select count(*) < 1000 and count(*) filter (where o.sender = g.sender and o.sequence = g.sequence) = 0
          from (select m.sender, m.sequence from wa.outbox m where m.recipient = g.recipient order by m.id limit 1000) o)
      offset 0
    ) k));
end
$$;

-- ── what is beside them ──────────────────────────────────────────────────────────────────────────────────────────

-- A slice of webhook deliveries, in the order of their ids. What waits to be applied stays, however old.
create function wa.prune_deliveries(before timestamptz, after bigint, at_most integer, dry boolean,
  out reached bigint, out looked bigint, out pruned bigint)
language plpgsql security definer set search_path = pg_catalog
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
set plan_cache_mode = force_custom_plan set jit = off set lock_timeout = '100ms' as $$
declare
  ids bigint[];
  oldest timestamptz;
begin
  perform wa.refuse_to_prune(before, wa.deliveries_kept_at_least());
  select max(s.id), count(*), min(s.received_at),
    array_agg(s.id) filter (where s.state <> 'pending' and greatest(s.received_at, s.applied_at) < before)
  into reached, looked, oldest, ids
  from (
    select i.id, i.received_at, i.applied_at, i.state from wa.webhook_inbox i
    where i.id > after and i.id <= after + wa.prune_stretch() order by i.id limit at_most
  ) s;
  if looked < at_most then
    reached := after + wa.prune_stretch();
  end if;
  if oldest >= before or reached >= coalesce(pg_sequence_last_value(pg_get_serial_sequence('wa.webhook_inbox', 'id')), 0) then
    reached := null;
  end if;
  pruned := coalesce(cardinality(ids), 0);
  if not dry and pruned > 0 then
    -- Nobody writes one that is not pending.
    delete from wa.webhook_inbox i where i.id = any (ids);
    get diagnostics pruned = row_count;
  end if;
end
$$;

-- A slice of statuses whose wamid nobody has ever known, in the order in which they came; places are microseconds since 1970. They are
-- looked at for as long as webhooks are repeated.
create function wa.prune_statuses(before timestamptz, after bigint, at_most integer, dry boolean,
  out reached bigint, out looked bigint, out pruned bigint)
language plpgsql security definer set search_path = pg_catalog
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
set plan_cache_mode = force_custom_plan set jit = off set lock_timeout = '100ms' as $$
declare
  events bigint[];
begin
  perform wa.refuse_to_prune(before, wa.deliveries_kept_at_least());
  -- With those that came with the last one, so that the next slice begins behind them.
  select (extract(epoch from max(s.received_at)) * 1000000)::bigint, count(*), array_agg(s.event)
  into reached, looked, events
  from (
    select e.event, e.received_at from wa.status_events e
    where e.id is null and e.received_at > timestamptz 'epoch' + after * interval '1 microsecond'
      and e.received_at < least(before, now() - wa.messages_kept_at_least())
    order by e.received_at fetch first at_most rows with ties
  ) s;
  pruned := looked;
  if not dry and pruned > 0 then
    delete from wa.status_events e where e.event = any (events) and e.id is null;
    get diagnostics pruned = row_count;
  end if;
end
$$;

-- A slice of what happened in sequences, in order. Of a line that is halted, or set apart from others, it is still wanted. Beside it
-- goes what campaigns that are over have kept of their pace: it is asked of the last day only.
create function wa.prune_history(before timestamptz, after bigint, at_most integer, dry boolean,
  out reached bigint, out looked bigint, out pruned bigint)
language plpgsql security definer set search_path = pg_catalog
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
set plan_cache_mode = force_custom_plan set jit = off set lock_timeout = '100ms' as $$
declare
  events bigint[];
  oldest timestamptz;
begin
  perform wa.refuse_to_prune(before, wa.messages_kept_at_least());
  select max(s.event), count(*), min(s.happened_at), array_agg(s.event) filter (where s.happened_at < before and not exists (
    select from wa.sequences g
    where (g.sender, g.recipient, g.sequence) = (s.sender, s.recipient, s.sequence)
      and (g.halted_cause is not null or g.on_failure is not null or g.delivery_timeout is not null or g.on_timeout is not null)))
  into reached, looked, oldest, events
  from (
    select e.event, e.happened_at, e.sender, e.recipient, e.sequence from wa.sequence_events e
    where e.event > after and e.event <= after + wa.prune_stretch() order by e.event limit at_most
  ) s;
  if looked < at_most then
    reached := after + wa.prune_stretch();
  end if;
  if oldest >= before or reached >= coalesce(pg_sequence_last_value(pg_get_serial_sequence('wa.sequence_events', 'event')), 0) then
    reached := null;
  end if;
  pruned := coalesce(cardinality(events), 0);
  if dry then
    return;
  end if;
  delete from wa.sequence_events e where e.event = any (events);
  delete from wa.campaign_pace p
  where p.ctid = any (array(
    select f.place
    from wa.campaigns c
    cross join lateral (
      select x.ctid as place from wa.campaign_pace x where x.campaign = c.id and x.at < now() - interval '1 day' limit at_most
    ) f
    where c.state in ('done', 'cancelled')
    limit at_most));
end
$$;

-- ── what comes afterwards ────────────────────────────────────────────────────────────────────────────────────────

-- Whether a message is there, and is not taken away before this transaction has ended.
create function wa.is_there_still(message bigint, of_sender text) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog set enable_seqscan = off as $$
begin
  perform from wa.outbox o where o.id = message and o.sender = of_sender for key share;
  return found;
end
$$;

-- A wamid ends its message, as the migration outbox has it, where there is one: what is learned of one that was pruned is dropped. Only
-- what neither stands in the queue nor is uncertain can have been; its outbox row is locked then, so that of a slice that takes it
-- and of a late acceptance the one sees the other.
create or replace function wa.acceptance_ends_the_message() returns trigger
language plpgsql security definer
set search_path = pg_catalog
set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off as $$
declare
  ended bigint;
begin
  insert into wa.results as r (id, sender, state, wamid, wa_id, message_status, attempts, campaign, in_sequence, ended_at)
  select distinct on (f.id, f.sender) f.id, f.sender, 'accepted', f.wamid, f.wa_id, f.message_status,
    coalesce(q.attempts, u.attempts, f.attempt), coalesce(q.campaign, u.campaign, 0), coalesce(q.in_sequence, u.in_sequence, false),
    f.learned_at
  from fresh f
  left join wa.queue q on q.id = f.id and q.sender = f.sender
  left join wa.uncertain u on u.id = f.id and u.sender = f.sender
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
        select from wa.acceptances a join fresh f on f.id = a.id and f.sender = a.sender and f.attempt = a.attempt and f.wamid <> a.wamid
        where a.wamid = r.wamid and a.id = r.id and a.sender = r.sender) then 'transport_retry' else 'resend' end)
      else r.duplicate end;
  get diagnostics ended = row_count;
  if ended < (select count(*) from fresh) then
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

-- ── who may ──────────────────────────────────────────────────────────────────────────────────────────────────────

revoke execute on function wa.refuse_to_prune(timestamptz, interval), wa.prunable(bigint[], timestamptz),
  wa.prune_messages(timestamptz, bigint, integer, boolean), wa.prune_deliveries(timestamptz, bigint, integer, boolean),
  wa.prune_statuses(timestamptz, bigint, integer, boolean), wa.prune_history(timestamptz, bigint, integer, boolean),
  wa.is_there_still(bigint, text)
from public;
-- Nobody may delete by hand; what goes, goes by these.
grant execute on function wa.prune_messages(timestamptz, bigint, integer, boolean),
  wa.prune_deliveries(timestamptz, bigint, integer, boolean), wa.prune_statuses(timestamptz, bigint, integer, boolean),
  wa.prune_history(timestamptz, bigint, integer, boolean)
to wa_worker;
grant select, update (pass, until, next_at) on wa.pruning to wa_worker;
grant select on wa.pruning to wa_viewer;
