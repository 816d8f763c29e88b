-- A delivery is written once.
--
-- It was written when it came and anew when it was applied: of the 2.0 kB of log that a status cost which came alone, 1.5 were that. Now its row
-- stays as it is, unless something in it is bad, and what waits to be applied stands in a narrow table of its own, one row for all that were
-- stored by one transaction.

create table wa.webhook_pending (
  received_at timestamptz not null default clock_timestamp(),
  id bigint generated always as identity,
  deliveries bigint[] not null,
  primary key (received_at, id)
);
comment on table wa.webhook_pending is 'deliveries of wa.webhook_inbox that wait to be applied, as they were stored together';

-- Older programs mark their deliveries as before, and have no eyes for the others.
-- squawk-ignore ban-drop-constraint -- the new one allows more
alter table wa.webhook_inbox drop constraint a_delivery_is_pending_applied_or_bad,
  add constraint a_delivery_is_stored_or_bad check (state in ('stored', 'bad', 'pending', 'applied')) not valid;
comment on column wa.webhook_inbox.state is
  'stored, or bad: nothing in it could be read. Whether it waits says wa.waiting_deliveries. (Older programs: pending, applied)';

-- Whatever waits to be applied, by whomever it was stored.
create view wa.waiting_deliveries as
select d.id, p.received_at from wa.webhook_pending p cross join lateral unnest(p.deliveries) as d (id)
union all
select i.id, i.received_at from wa.webhook_inbox i where i.state = 'pending';
comment on view wa.waiting_deliveries is 'deliveries that wait to be applied';

-- Since when: what is asked again and again reads the front of an index, which it does not through the view above.
create view wa.oldest_waiting_delivery as
select least(
  (select min(p.received_at) from wa.webhook_pending p),
  (select min(i.received_at) from wa.webhook_inbox i where i.state = 'pending')) as received_at;
comment on view wa.oldest_waiting_delivery is 'when the oldest of them came; null: none waits';

-- How many there are, as far as that.
create function wa.count_waiting_deliveries(at_most bigint) returns bigint
language sql stable as $$
  select least(at_most,
    (select coalesce(sum(cardinality(g.deliveries)), 0)::bigint
     from (select p.deliveries from wa.webhook_pending p order by p.received_at, p.id limit at_most) g)
    + (select count(*) from (select from wa.webhook_inbox i where i.state = 'pending' order by i.received_at, i.id limit at_most) o))
$$;

-- Has what an older program has stored wait with the rest; its own applier is asked first, by being faster. Says how many there were.
create function wa.adopt_deliveries(at_most integer) returns bigint
language sql set search_path = pg_catalog as $$
  with old as (
    update wa.webhook_inbox i set state = 'stored'
    where i.id = any (array(
      select p.id from wa.webhook_inbox p where p.state = 'pending' order by p.received_at, p.id limit at_most for update skip locked))
    returning i.id, i.received_at
  ), adopted as (
    insert into wa.webhook_pending (received_at, deliveries)
    select min(o.received_at), array_agg(o.id order by o.received_at, o.id) from old o having count(*) > 0
  )
  select count(*) from old
$$;

-- Sends uncertain messages again.
create function wa.send_again(ids bigint[], of_attempts integer[], why text) returns setof bigint
language sql security definer set search_path = pg_catalog as $$
  select wa.back_to_the_queue(ids, of_attempts, array_fill(0, array[cardinality(ids)]), array_fill(0.0::float8, array[cardinality(ids)]),
    array_fill(why, array[cardinality(ids)]), true, 'policy', 'sent again')
$$;

-- The same for older programs, which may take a message for silent of which a delivery tells that waits here.
create or replace function wa.resend(ids bigint[], of_attempts integer[], why text) returns setof bigint
language sql security definer set search_path = pg_catalog as $$
  select wa.send_again(s.ids, s.of_attempts, why)
  from (select ids, of_attempts) s (ids, of_attempts)
  where not exists (select from wa.webhook_pending p where p.received_at < clock_timestamp() - interval '2 seconds')
$$;

-- As before (the migration sequences); but whatever waits counts.
create or replace function wa.look_at_gate(inout gate wa.sequences, out timed_out boolean)
language plpgsql as $$
declare
  waited interval := wa.delivery_timeout(gate, gate.head_id);
  accepted_at timestamptz;
begin
  timed_out := false;
  if gate.head_id is null or gate.halted_cause is not null then
    gate.look_at := null;
    return;
  end if;
  select r.ended_at into accepted_at from wa.results r
  where r.id = gate.head_id and r.sender = gate.sender and r.state = 'accepted';
  gate.look_at := coalesce(accepted_at, now()) + waited;
  if accepted_at is null or gate.look_at > now() then
    return;
  end if;
  if (select w.received_at from wa.oldest_waiting_delivery w) <= gate.look_at then
    gate.look_at := now() + interval '1 second';
    return;
  end if;
  timed_out := true;
  if (wa.sequence_settings(gate)).on_timeout = 'proceed' then
    perform wa.note_sequence_event(gate, 'passed_over', gate.head_id, 'wa-outbox', 'on_timeout is proceed: '
      || wa.halt_in_words(gate.sender, gate.head_id, 'timeout', waited));
    gate := wa.advanced(wa.passed(gate));
  else
    gate := wa.halted(gate, 'timeout', gate.head_id, waited);
    gate.look_at := null;
  end if;
end
$$;

-- As before (the migration prune); but whatever waits stays.
create or replace function wa.prune_deliveries(before timestamptz, after bigint, at_most integer, dry boolean,
  out reached bigint, out looked bigint, out pruned bigint)
language plpgsql security definer set search_path = pg_catalog
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
set plan_cache_mode = force_custom_plan set jit = off set lock_timeout = '100ms' as $$
declare
  ids bigint[];
  oldest timestamptz;
  waiting bigint[];
begin
  perform wa.refuse_to_prune(before, wa.deliveries_kept_at_least());
  waiting := array(select w.id from wa.waiting_deliveries w where w.received_at < before);
  select max(s.id), count(*), min(s.received_at),
    array_agg(s.id) filter (where greatest(s.received_at, s.applied_at) < before and not s.id = any (waiting))
  into reached, looked, oldest, ids
  from (
    select i.id, i.received_at, i.applied_at from wa.webhook_inbox i
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
    -- Nobody writes one that does not wait.
    delete from wa.webhook_inbox i where i.id = any (ids);
    get diagnostics pruned = row_count;
  end if;
end
$$;

revoke execute on function wa.adopt_deliveries(integer), wa.send_again(bigint[], integer[], text) from public;
grant execute on function wa.adopt_deliveries(integer), wa.send_again(bigint[], integer[], text) to wa_worker;
grant select, insert, update, delete on wa.webhook_pending to wa_worker;
grant select on wa.webhook_pending to wa_viewer;
grant select on wa.waiting_deliveries, wa.oldest_waiting_delivery to wa_worker, wa_viewer;
