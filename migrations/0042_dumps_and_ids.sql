-- What a dump brings back into the same database is noticed.
--
-- Its server, timeline and database are the same, and a process that was just started remembers nothing; but a dump carries a table to a new
-- number, and a row to a new transaction. So the database keeps a row that names both, and where they are not true any more it was restored,
-- its data alone included. What rewrites a table and leaves it what it is (vacuum full, cluster, pg_repack, a new tablespace) changes
-- neither: its number stays, and with it the transaction that a row was written in. A cluster that is upgraded in its place keeps both, too.

alter table wa.pulse add column written_in xid;
comment on column wa.pulse.written_in is 'the transaction that wrote this row, if it is the row that was written here';

-- It has no key, so that pg_repack, which writes rows anew, leaves it alone; and its replica identity is all of it, so that it may be changed
-- where all tables are published.
create table wa.birthmark (
  tables oid[] not null,
  written_in xid not null
);
alter table wa.birthmark replica identity full;
comment on table wa.birthmark is 'one row: by what this database is known for itself, and not for what a dump of it was restored to';
comment on column wa.birthmark.tables is 'the numbers of the tables that say what was sent. A migration that makes one of them anew calls wa.write_birthmark()';
comment on column wa.birthmark.written_in is 'the transaction that wrote this row, if it is the row that was written here';

-- The tables that say what was sent, by their numbers.
create function wa.tables_here() returns oid[]
language sql stable set search_path = pg_catalog, pg_temp as $$
  select array_agg(c.oid order by c.relname) from pg_class c
  where c.relnamespace = (select n.oid from pg_namespace n where n.nspname = 'wa')
    and c.relname in ('acceptances', 'outbox', 'queue', 'results', 'uncertain', 'waiting')
$$;

create function wa.write_birthmark() returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  delete from wa.birthmark;
  insert into wa.birthmark (tables, written_in) values (wa.tables_here(), '0');
  -- Both versions are written by one transaction, or subtransaction, whichever of them this runs in.
  update wa.birthmark b set written_in = b.xmin;
end
$$;

-- Whether a dump was restored over this database, or its data alone. Rows that were written anew count only together with the pulse, which
-- each beat writes: so nothing that is done to one table looks like it. A second row came with the data of a dump, after a process that
-- found the tables empty had written its own.
create function wa.is_from_a_dump() returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select coalesce(
    count(*) > 1
    or bool_or(b.tables <> wa.tables_here())
    or bool_or(b.written_in <> b.xmin) and (select p.written_in <> p.xmin from wa.pulse p), false)
  from wa.birthmark b
$$;

-- ── ids ──────────────────────────────────────────────────────────────────────────────────────────────────────────

-- No id is given to a second message. A sequence that was set back (alter sequence … restart, setval, a switch by logical replication, which
-- carries none) gives ids that other senders' messages have: the key of the outbox contains the sender, and what goes by id alone then takes
-- one for the other.

create table wa.id_resets (
  reset bigint generated always as identity primary key,
  at timestamptz not null default clock_timestamp(),
  stood_at bigint not null,
  set_to bigint not null,
  doubled bigint not null
);
comment on table wa.id_resets is 'each time that the sequence of message ids was found to stand behind ids it had given, and was set forward';
comment on column wa.id_resets.doubled is 'of the last thousand messages up to stood_at, so many have the id of another';
grant select on wa.id_resets to wa_worker, wa_viewer;

-- The last number that this sequence gave. One that was set and has given nothing since gives the number it was set to.
create function wa.last_number(numbers regclass) returns bigint
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  last_number bigint;
begin
  execute format('select s.last_value - case when s.is_called then 0 else 1 end from %s s', numbers) into last_number;
  return last_number;
end
$$;

-- The last id that the sequence gave, and the largest that was ever seen, as far as it is larger.
create function wa.ids_given(out last_id bigint, out largest bigint)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  ids regclass := pg_get_serial_sequence('wa.outbox', 'id')::regclass;
begin
  last_id := wa.last_number(ids);
  largest := coalesce((select p.last_id from wa.pulse p), 0);
  -- Not simply the largest of all: what somebody inserts and has not committed would be walked over each time.
  if exists (select from wa.outbox o where o.id > ids_given.last_id) then
    largest := greatest(largest, (select o.id from wa.outbox o order by o.id desc limit 1));
    -- Afterwards, for what is given meanwhile makes it larger, and not the other.
    last_id := wa.last_number(ids);
  end if;
end
$$;

-- Sets the sequence of message ids forward where it stands behind. So far ahead that whoever draws an id in this moment is not met.
create function wa.keep_ids_ahead() returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  given record;
  forward bigint;
begin
  given := wa.ids_given();
  if given.last_id >= given.largest then
    return;
  end if;
  forward := least(given.largest, 9223372036854775807 - 100000) + 100000;
  perform setval(pg_get_serial_sequence('wa.outbox', 'id')::regclass, forward);
  insert into wa.id_resets (stood_at, set_to, doubled)
  select given.last_id, forward, count(*) - count(distinct o.id)
  from (select o.id from wa.outbox o where o.id <= given.last_id order by o.id desc limit 1000) o;
  raise warning 'the sequence of message ids stood at % when id % had been given; it was set to %', given.last_id, given.largest, forward;
end
$$;

-- The same for all other identities of ours whose largest number an index tells: their keys would refuse what is given twice, and with it
-- each delivery, status or campaign.
create function wa.keep_all_ids_ahead() returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  one record;
  largest bigint;
begin
  perform wa.keep_ids_ahead();
  for one in
    select a.attrelid::regclass as of_table, a.attname, pg_get_serial_sequence(a.attrelid::regclass::text, a.attname)::regclass as numbers
    from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attidentity <> ''
    where c.relnamespace = (select n.oid from pg_namespace n where n.nspname = 'wa') and c.relkind = 'r' and c.relname <> 'outbox'
      and pg_has_role(c.relowner, 'usage') -- a table of somebody else's is his
      and exists (select from pg_index i where i.indrelid = c.oid and i.indkey[0] = a.attnum)
  loop
    execute format('select max(%I) from %s', one.attname, one.of_table) into largest;
    if largest > wa.last_number(one.numbers) then
      perform setval(one.numbers, largest + 1000);
    end if;
  end loop;
end
$$;

-- ── what is restored while somebody works ────────────────────────────────────────────────────────────────────────

alter table wa.eras add column first_id bigint;
comment on column wa.eras.first_id is 'ids of messages that were written since begin here';

-- Holds each sender that is not held for this era yet. Says how many.
create function wa.hold_for_restore(now_era wa.eras) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  n bigint;
begin
  update wa.senders s set
    held_before = case
      when s.held_cause = 'restore' then s.held_before
      when s.held_reason is not null and (s.held_until is null or s.held_until > clock_timestamp()) then (
        select jsonb_object_agg(h.key, h.value) from jsonb_each(to_jsonb(s)) h
        where h.key in ('held_reason', 'held_by', 'held_until', 'held_at', 'held_cause', 'held_code', 'held_fingerprint', 'probe_at', 'probes'))
    end,
    held_reason = now_era.what || '; what was sent ' || coalesce('after '
      || to_char(now_era.complete_until at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"'), 'since')
      || ' may be unknown to it; see: wa-outbox recover',
    held_by = 'wa-outbox', held_at = clock_timestamp(), held_until = null, held_cause = 'restore', held_code = null,
    held_fingerprint = null, probe_at = null, probes = 0, probing_until = null
  where s.held_cause is distinct from 'restore' or s.held_at < now_era.began_at;
  get diagnostics n = row_count;
  return n;
end
$$;

-- Rows that arrive after an era was begun (its tables were still being copied) belong to what it has to settle: messages that were written
-- before it, and senders. Nothing is begun while it is not settled; the hold is how people see why. While much is copied one era may follow
-- another: what is known must be known to each.
create function wa.take_in_what_came_late(now_era wa.eras) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  -- Where some messages may bear ids of others that were lost, or a standby was promoted, what comes late can be an application's.
  with late as (
    select e.era, (
      select o.id from wa.outbox o
      where o.id > e.doubtful_ids and o.id < e.first_id and o.created_at <= e.began_at
      order by o.id desc limit 1) as last_id
    from wa.eras e where e.settled_at is null and e.failed_at is null and not e.is_exact
  )
  update wa.eras e set doubtful_ids = l.last_id,
    known_ids = case when e.known_ids = e.doubtful_ids and e.cause <> 'new_timeline' then l.last_id else e.known_ids end
  from late l
  where e.era = l.era and l.last_id is not null and e.failed_at is null;
  if exists (select from wa.senders s where s.held_cause is distinct from 'restore' or s.held_at < now_era.began_at) then
    perform wa.hold_for_restore(now_era);
  end if;
end
$$;

-- ── noticed and told ─────────────────────────────────────────────────────────────────────────────────────────────

-- As before (the migration recovery); but what a dump has brought back is amiss, also where it has brought nothing yet, ids are kept ahead,
-- and what comes late is taken in.
create or replace function wa.beat(known_era bigint, seen_tick bigint, seen_flushed bigint,
  out era bigint, out tick bigint, out flushed bigint, out is_settled boolean, out unreadable text, out silent_s double precision,
  out amiss text, out what text)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  here record;
  now_era wa.eras;
  pulse wa.pulse;
begin
  here := wa.server_identity();
  now_era := wa.current_era();
  if now_era.era is null and known_era is null then
    insert into wa.eras (era, system_identifier, timeline, database, unreadable, cause, what, noticed_by, settled_at, settled_how, settled_by, settled_why)
    values (0, here.system_identifier, here.timeline, here.database, here.unreadable, 'first', 'nobody worked on it before', 'wa-outbox',
      clock_timestamp(), 'first', 'wa-outbox', 'it is the first')
    on conflict do nothing;
    now_era := wa.current_era();
  end if;
  era := coalesce(now_era.era, known_era);
  is_settled := now_era.settled_at is not null;
  unreadable := now_era.unreadable;
  flushed := wa.flushed_bytes();
  select p.* into pulse from wa.pulse p for update;
  silent_s := extract(epoch from clock_timestamp() - pulse.at);
  if here.system_identifier is null and now_era.system_identifier is not null or here.timeline is null and now_era.timeline is not null then
    amiss := 'other_system';
    what := 'its server does not tell its identity any more, as it did before: it was moved to another one';
  elsif here.system_identifier <> now_era.system_identifier then
    amiss := 'other_system';
    what := 'it lives on another server now: it was copied, or restored from a dump, or upgraded into a new cluster';
  elsif here.database <> now_era.database then
    amiss := 'other_database';
    what := 'it is another database of the same server now: it was copied, or restored from a dump';
  elsif here.timeline <> now_era.timeline then
    amiss := 'new_timeline';
    what := format('its server is on timeline %s of its log now, before it was %s: a standby was promoted, or a backup restored',
      ltrim(here.timeline, '0'), ltrim(now_era.timeline, '0'));
  elsif wa.is_from_a_dump() then
    amiss := 'went_back';
    what := 'its tables were written anew by somebody else: it was restored from a dump';
  elsif now_era.era is null or known_era > era then
    amiss := 'went_back';
    what := 'it has forgotten what this process has seen in it: its tables were emptied, or an earlier copy of it was put in its place';
  elsif known_era = era and (pulse.tick is null or pulse.tick < seen_tick) then
    amiss := 'went_back';
    what := 'it has forgotten what this process has seen in it: an earlier copy of its files was put in its place';
  elsif known_era = era and flushed < seen_flushed then
    amiss := 'went_back';
    what := 'its log is shorter than this process has seen it: an earlier copy of its files was put in its place';
  end if;
  tick := coalesce(pulse.tick, 0);
  if amiss is null and now_era.unreadable is not null and here.unreadable is null then
    update wa.eras e set system_identifier = here.system_identifier, timeline = here.timeline, unreadable = null where e.era = now_era.era;
  end if;
  if amiss is null and coalesce(silent_s not between 0 and 2, true) then
    perform wa.keep_ids_ahead();
    tick := tick + 1;
    insert into wa.pulse as p (tick, at, flushed, last_id, written_in)
    values (tick, clock_timestamp(), beat.flushed, wa.last_number(pg_get_serial_sequence('wa.outbox', 'id')::regclass),
      pg_current_xact_id()::xid)
    on conflict (is_only) do update set
      tick = excluded.tick, at = greatest(p.at, excluded.at), flushed = excluded.flushed, last_id = excluded.last_id,
      written_in = excluded.written_in;
    -- Of processes that meet here the others have waited for the pulse of the first.
    if not exists (select from wa.birthmark) then
      perform wa.write_birthmark();
    end if;
  end if;
  if amiss is null and not is_settled then
    perform wa.take_in_what_came_late(now_era);
  end if;
end
$$;

-- As before; but what is here from now on is what this era knows, and the sequences may have stood anywhere.
create or replace function wa.begin_era(known_era bigint, cause text, what text, noticed_by text, seen_tick bigint, since timestamptz,
  out began bigint, out complete_until timestamptz, out is_exact boolean, out senders bigint)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  here record;
  old wa.eras;
  pulse wa.pulse;
  replayed timestamptz;
  ids regclass := pg_get_serial_sequence('wa.outbox', 'id')::regclass;
  workers regclass := pg_get_serial_sequence('wa.workers', 'worker')::regclass;
  known_ids bigint;
  last_id bigint;
  now_era wa.eras;
begin
  lock table wa.eras in share row exclusive mode; -- looked at: a few rows, and only while one era ends
  old := wa.current_era();
  -- Of tables that were emptied the era that is over is known to him who noticed.
  if old.era <> known_era then
    return;
  end if;
  here := wa.server_identity();
  select p.* into pulse from wa.pulse p for update;
  begin
    -- Of a server that has come out of a recovery, until it is started again: the time of the last transaction that it replayed.
    replayed := pg_last_xact_replay_timestamp();
  exception
    when insufficient_privilege or feature_not_supported or undefined_function then null;
  end;
  is_exact := since is not null or cause = 'new_timeline' and replayed is not null;
  -- Between two beats lie a few seconds.
  complete_until := coalesce(since, case when is_exact then replayed end,
    case when cause in ('operator', 'told_by_webhook') then null
      -- The pulse is younger than what is being restored.
      when old.settled_at is null and old.complete_until is null then null
      else pulse.at + interval '5 seconds' end);
  last_id := coalesce((select o.id from wa.outbox o order by o.id desc limit 1), 0);
  known_ids := case when complete_until is null then last_id else coalesce(
    (select o.id from wa.outbox o where o.created_at <= begin_era.complete_until order by o.id desc limit 1), 0) end;
  if cause not in ('operator', 'told_by_webhook') then
    known_ids := greatest(known_ids, least(pulse.last_id, last_id));
  end if;
  if wa.is_from_a_dump() then
    -- A dump makes triggers, or switches them on again, when the rows are there: what is younger than all of them was written since.
    known_ids := greatest(known_ids, (
      select o.id from wa.outbox o
      where age(o.xmin) >= (select max(age(t.xmin)) from pg_trigger t where t.tgrelid = 'wa.outbox'::regclass)
      order by o.id desc limit 1));
  end if;

  began := greatest(coalesce(old.era, known_era) + 1, (extract(epoch from clock_timestamp()) * 1000)::bigint);
  insert into wa.eras (era, system_identifier, timeline, database, unreadable, cause, what, noticed_by, complete_until, is_exact,
    known_ids, doubtful_ids)
  values (began, here.system_identifier, here.timeline, here.database, here.unreadable, cause, what, noticed_by, complete_until, is_exact,
    known_ids, case when is_exact then known_ids else last_id end);

  -- An id that was told to people must not name another message, nor the word of a worker of before pass for that of another.
  perform wa.keep_all_ids_ahead();
  perform setval(ids, wa.last_number(ids) + 1000000);
  perform setval(workers, greatest(wa.last_number(workers), (select max(l.worker) from wa.leases l)) + 100000);
  update wa.leases l set worker = null, epoch = l.epoch + 1000000, problem = null;
  delete from wa.workers;
  -- What was told to the database that is no more, nobody has heard.
  update wa.webhook_listening set since = clock_timestamp();
  insert into wa.pulse as p (tick, at, flushed, last_id, written_in)
  values (coalesce(greatest(pulse.tick, seen_tick), 0) + 1, clock_timestamp(), wa.flushed_bytes(), last_id, pg_current_xact_id()::xid)
  on conflict (is_only) do update set
    tick = excluded.tick, at = excluded.at, flushed = excluded.flushed, last_id = excluded.last_id, written_in = excluded.written_in;
  perform wa.write_birthmark();

  update wa.eras e set first_id = wa.last_number(ids) + 1 where e.era = began returning e.* into now_era;
  senders := wa.hold_for_restore(now_era);
end
$$;

-- As before (the migration recovery); but nobody says that nothing was lost where another has begun to put in doubt what was.
create or replace function wa.end_recovery(of_era bigint, how text, by_whom text, why text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  update wa.eras e set settled_at = clock_timestamp(), settled_how = how, settled_by = by_whom, settled_why = why
  where e.era = of_era and e.settled_at is null
    and (how = 'nothing_lost' and e.failed_at is null or how = 'doubted' and e.failed_at is not null);
  if not found then
    return false;
  end if;
  -- What was brought back meanwhile (tables that were still being copied) may have larger ids.
  perform wa.keep_all_ids_ahead();
  return true;
end
$$;

revoke execute on function wa.tables_here(), wa.write_birthmark(), wa.is_from_a_dump(), wa.last_number(regclass), wa.ids_given(),
  wa.keep_ids_ahead(), wa.keep_all_ids_ahead(), wa.hold_for_restore(wa.eras), wa.take_in_what_came_late(wa.eras) from public;
grant execute on function wa.is_from_a_dump(), wa.ids_given() to wa_worker, wa_viewer;
grant select on wa.birthmark to wa_worker, wa_viewer;
