-- A database that went back in time: restored from a backup, or a standby that was promoted before it had everything. What it
-- calls queued may have been sent since, and nobody here knows.
--
-- The time between two such events is an era. An era knows the server it lives on, and a pulse tells how far it has come; who finds
-- another server, or an earlier pulse than it has seen itself, begins a new era. With that every sender is held until a person has
-- said what is to become of it (wa-outbox recover), and whatever belongs to an earlier era is known by it:
--
-- * what a worker begins, records or applies names the era it believes in, and the server it is on has the last word (wa.is_here);
-- * a callback token is made with the key of its era (src/domain/token.rs), so a token of a message that was lost proves nothing about
--   another one that was given the same id since;
-- * ids of messages and of workers, and the epochs of leases, jump ahead, so none is used for a second thing.

create table wa.eras (
  era bigint primary key,
  began_at timestamptz not null default clock_timestamp(),
  system_identifier bigint,
  timeline text,
  database oid,
  unreadable text,
  cause text not null
    constraint an_era_has_a_known_cause check (cause in
      ('first', 'other_system', 'other_database', 'new_timeline', 'went_back', 'told_by_webhook', 'operator')),
  what text not null,
  noticed_by text not null,
  complete_until timestamptz,
  is_exact boolean not null default false,
  known_ids bigint not null default 0,
  doubtful_ids bigint not null default 0,
  failed_at timestamptz,
  wait interval not null default '0',
  keeps_silent boolean not null default false,
  doubted bigint not null default 0,
  settled_at timestamptz,
  settled_how text
    constraint an_era_is_settled_by_doubt_or_because_nothing_was_lost check (settled_how in ('first', 'doubted', 'nothing_lost')),
  settled_by text,
  settled_why text,
  constraint an_end_has_a_way_an_author_and_a_reason check (num_nulls(settled_at, settled_how, settled_by, settled_why) in (0, 4))
);
comment on table wa.eras is 'one row for each time that this database was found to have gone back, and one for its beginning';
comment on column wa.eras.era is
  '0, then milliseconds since 1970: no two are alike, also when this table itself was restored to before one of them';
comment on column wa.eras.timeline is 'of the write-ahead log; null here and for the others: this server does not tell';
comment on column wa.eras.complete_until is 'what was committed until then is known to this database; null: nobody knows until when';
comment on column wa.eras.is_exact is 'the server itself says so; else it is the last pulse and a little more';
comment on column wa.eras.known_ids is 'messages of earlier eras that are still known have ids up to this one: above, a token of theirs names what was lost';
comment on column wa.eras.doubtful_ids is 'messages up to this id may have been sent without this database knowing';
comment on column wa.eras.failed_at is 'what was not due by then was not sent before; set when wa-outbox recover begins';
comment on column wa.eras.wait is 'evidence about its doubtful messages is waited for so much longer';
comment on column wa.eras.keeps_silent is 'what stays silent is left to a person, whatever its policy';

-- How far the database has come. Whoever has seen more than stands here has seen a database that is no more.
create table wa.pulse (
  is_only boolean primary key default true constraint there_is_one_row check (is_only),
  tick bigint not null,
  at timestamptz not null,
  flushed bigint,
  last_id bigint not null
) with (fillfactor = 50);
comment on column wa.pulse.flushed is 'how much of its log the server had written through; null: it does not tell';
comment on column wa.pulse.last_id is 'no message had a larger id by then';

grant select on wa.eras, wa.pulse to wa_worker, wa_viewer;

alter table wa.uncertain add column era bigint;
comment on column wa.uncertain.era is 'in doubt because the database went back: whoever began it cannot take it back';

-- ── where we are ─────────────────────────────────────────────────────────────────────────────────────────────────

-- What tells this database from others and from itself after a restore. Read by all roles (also where a hoster has closed these
-- functions, if it has left them to the owner of the schema). The control file names an old timeline for minutes after a promotion;
-- the name of the log file that is written to does not.
create function wa.server_identity(out system_identifier bigint, out timeline text, out database oid, out unreadable text)
language plpgsql stable security definer set search_path = pg_catalog as $$
begin
  database := (select d.oid from pg_database d where d.datname = current_database());
  begin
    system_identifier := (select s.system_identifier from pg_control_system() s);
  exception
    when insufficient_privilege or feature_not_supported or undefined_function then unreadable := sqlerrm;
  end;
  begin
    timeline := left(pg_walfile_name(pg_current_wal_insert_lsn()), 8);
  exception
    when insufficient_privilege or feature_not_supported or undefined_function then
      unreadable := concat_ws('; ', unreadable, sqlerrm);
  end;
end
$$;

create function wa.current_era() returns wa.eras
language sql stable security definer set search_path = pg_catalog as $$
  select e.* from wa.eras e order by e.era desc limit 1
$$;

-- Whether this is still the database that the caller knows, and has come as far as the caller has seen: what every statement asks that
-- begins, records or applies something. (In plpgsql, so that no function is looked at that this server does not let us call.)
create function wa.is_here(of_era bigint, of_tick bigint) returns boolean
language plpgsql stable security definer set search_path = pg_catalog as $$
declare
  known wa.eras;
begin
  select e.* into known from wa.eras e order by e.era desc limit 1;
  if known.era is distinct from of_era then
    return false;
  end if;
  if known.timeline is not null and known.timeline <> left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) then
    return false;
  end if;
  if known.system_identifier is not null
    and known.system_identifier <> (select s.system_identifier from pg_control_system() s) then
    return false;
  end if;
  if known.database <> (select d.oid from pg_database d where d.datname = current_database()) then
    return false;
  end if;
  return (select p.tick >= of_tick from wa.pulse p);
end
$$;

-- The same for a transaction: it ends here if not.
create function wa.stay_here(of_era bigint, of_tick bigint) returns void
language plpgsql stable security definer set search_path = pg_catalog as $$
begin
  if wa.is_here(of_era, of_tick) is not true then
    raise exception using errcode = 'WA001', message = 'this is not the database that it was',
      hint = 'a worker or webhook receiver will notice, and hold every sender; see: wa-outbox recover';
  end if;
end
$$;

-- Whether a person still has to say what becomes of what this database has forgotten.
create function wa.is_unsettled() returns boolean
language sql stable security definer set search_path = pg_catalog as $$
  select coalesce((select e.settled_at is null from wa.eras e order by e.era desc limit 1), false)
$$;

create function wa.flushed_bytes() returns bigint
language plpgsql stable security definer set search_path = pg_catalog as $$
begin
  return pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '0/0')::bigint;
exception
  when insufficient_privilege or feature_not_supported or undefined_function then return null;
end
$$;

-- One beat of a process that has known this era so far, and has seen this much: says what the era is, and what is amiss, if anything
-- is. The first of all beats begins the first era. However many processes beat, the pulse is written every two seconds at most: it is
-- read by each begin, and old versions of it stay while a transaction is open that can see them.
--
-- (Flushed, not inserted: what was only inserted may honestly be lost in a crash, together with all that depends on it.)
create function wa.beat(known_era bigint, seen_tick bigint, seen_flushed bigint,
  out era bigint, out tick bigint, out flushed bigint, out is_settled boolean, out unreadable text, out silent_s double precision,
  out amiss text, out what text)
language plpgsql security definer set search_path = pg_catalog as $$
declare
  here record;
  now_era wa.eras;
  pulse wa.pulse;
begin
  here := wa.server_identity();
  now_era := wa.current_era();
  if now_era.era is null then
    insert into wa.eras (era, system_identifier, timeline, database, unreadable, cause, what, noticed_by, settled_at, settled_how, settled_by, settled_why)
    values (0, here.system_identifier, here.timeline, here.database, here.unreadable, 'first', 'nobody worked on it before', 'wa-outbox',
      clock_timestamp(), 'first', 'wa-outbox', 'it is the first')
    on conflict do nothing;
    now_era := wa.current_era();
  end if;
  era := now_era.era;
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
    tick := tick + 1;
    insert into wa.pulse as p (tick, at, flushed, last_id)
    values (tick, clock_timestamp(), beat.flushed, coalesce(pg_sequence_last_value(pg_get_serial_sequence('wa.outbox', 'id')::regclass), 0))
    on conflict (is_only) do update set
      tick = excluded.tick, at = greatest(p.at, excluded.at), flushed = excluded.flushed, last_id = excluded.last_id;
  end if;
end
$$;

-- ── a new era ────────────────────────────────────────────────────────────────────────────────────────────────────

-- For a hold that the database itself makes: what it was held for before comes back when it is over.
alter table wa.senders
  add column held_before jsonb,
  drop constraint held_cause_is_known,
  add constraint held_cause_is_known check (held_cause in
    ('operator', 'token', 'permission', 'account', 'payment', 'registration', 'policy', 'address', 'restore', 'other'));
comment on column wa.senders.held_before is 'the hold that stood when the database was found to have gone back; it stands again afterwards';

-- Who releases a sender while it is not settled what was sent already would send it again. Otherwise as before.
create or replace function wa.sender_hold_is_whole() returns trigger
language plpgsql set search_path = pg_catalog as $$
begin
  if tg_op = 'UPDATE' and old.held_cause = 'restore' and (
    new.held_reason is null or new.held_cause is distinct from 'restore'
    or new.held_reason <> old.held_reason and new.held_at is not distinct from old.held_at
  ) then
    if wa.is_unsettled() then
      raise exception using errcode = 'object_not_in_prerequisite_state',
        message = format('sender %s stays held: the database may have forgotten what was sent', old.sender),
        hint = 'settle that first: wa-outbox recover';
    end if;
    if new.held_reason is null and old.held_before is not null then
      new := jsonb_populate_record(new, old.held_before);
      new.held_before := null;
      return new;
    end if;
  end if;
  if new.held_reason is null then
    if tg_op = 'UPDATE' and old.held_reason is not null and new.released_at is not distinct from old.released_at then
      new.released_at := clock_timestamp();
      new.released_by := session_user;
      new.released_why := 'released by SQL';
    end if;
    new.held_by := null;
    new.held_until := null;
    new.held_at := null;
    new.held_cause := null;
  elsif tg_op = 'INSERT' or old.held_reason is null or new.held_at is distinct from old.held_at then
    new.held_at := coalesce(new.held_at, clock_timestamp());
    new.held_cause := coalesce(new.held_cause, 'operator');
  elsif (new.held_reason, new.held_by) is distinct from (old.held_reason, old.held_by)
    and new.probing_until is not distinct from old.probing_until then
    -- Neither a new hold nor the end of a probe: written over by hand, so it is a person's.
    new.held_at := clock_timestamp();
    new.held_cause := 'operator';
  end if;
  if new.held_cause is null or new.held_cause in ('operator', 'restore') then
    new.held_code := null;
    new.held_fingerprint := null;
    new.probe_at := null;
    new.probes := 0;
    new.probing_until := null;
  end if;
  if new.held_cause = 'restore' then
    new.held_until := null;
  else
    new.held_before := null;
  end if;
  return new;
end
$$;

-- Begins a new era, unless somebody else has (then began is null): holds every sender, takes them all away from whoever had them, and
-- sees that nothing from now on bears an id of before. Exactly once over a fleet, because only the era that the caller knows is ended.
create function wa.begin_era(known_era bigint, cause text, what text, noticed_by text, seen_tick bigint, since timestamptz,
  out began bigint, out complete_until timestamptz, out is_exact boolean, out senders bigint)
language plpgsql security definer set search_path = pg_catalog as $$
declare
  here record;
  old wa.eras;
  pulse wa.pulse;
  replayed timestamptz;
  ids regclass := pg_get_serial_sequence('wa.outbox', 'id')::regclass;
  workers regclass := pg_get_serial_sequence('wa.workers', 'worker')::regclass;
  known_ids bigint;
  last_id bigint;
begin
  lock table wa.eras in share row exclusive mode;
  old := wa.current_era();
  if old.era is distinct from known_era then
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
    case when cause in ('operator', 'told_by_webhook') then null else pulse.at + interval '5 seconds' end);
  last_id := coalesce((select o.id from wa.outbox o order by o.id desc limit 1), 0);
  known_ids := case when complete_until is null then last_id else coalesce(
    (select o.id from wa.outbox o where o.created_at <= begin_era.complete_until order by o.id desc limit 1), 0) end;
  if cause not in ('operator', 'told_by_webhook') then
    known_ids := greatest(known_ids, least(pulse.last_id, last_id));
  end if;

  began := greatest(old.era + 1, (extract(epoch from clock_timestamp()) * 1000)::bigint);
  insert into wa.eras (era, system_identifier, timeline, database, unreadable, cause, what, noticed_by, complete_until, is_exact,
    known_ids, doubtful_ids)
  values (began, here.system_identifier, here.timeline, here.database, here.unreadable, cause, what, noticed_by, complete_until, is_exact,
    known_ids, case when is_exact then known_ids else last_id end);

  -- An id that was told to people must not name another message, nor the word of a worker of before pass for that of another.
  perform setval(ids, coalesce(pg_sequence_last_value(ids), 0) + 1000000);
  perform setval(workers, coalesce(pg_sequence_last_value(workers), 0) + 100000);
  update wa.leases l set worker = null, epoch = l.epoch + 1000000, problem = null;
  delete from wa.workers;
  -- What was told to the database that is no more, nobody has heard.
  update wa.webhook_listening set since = clock_timestamp();
  insert into wa.pulse as p (tick, at, flushed, last_id)
  values (coalesce(greatest(pulse.tick, seen_tick), 0) + 1, clock_timestamp(), wa.flushed_bytes(), last_id)
  on conflict (is_only) do update set tick = excluded.tick, at = excluded.at, flushed = excluded.flushed, last_id = excluded.last_id;

  update wa.senders s set
    held_before = case
      when s.held_cause = 'restore' then s.held_before
      when s.held_reason is not null and (s.held_until is null or s.held_until > clock_timestamp()) then (
        select jsonb_object_agg(h.key, h.value) from jsonb_each(to_jsonb(s)) h
        where h.key in ('held_reason', 'held_by', 'held_until', 'held_at', 'held_cause', 'held_code', 'held_fingerprint', 'probe_at', 'probes'))
    end,
    held_reason = what || '; what was sent ' || coalesce('after '
      || to_char(begin_era.complete_until at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"'), 'since')
      || ' may be unknown to it; see: wa-outbox recover',
    held_by = 'wa-outbox', held_at = clock_timestamp(), held_until = null, held_cause = 'restore', held_code = null,
    held_fingerprint = null, probe_at = null, probes = 0, probing_until = null;
  get diagnostics senders = row_count;
end
$$;

-- ── what may have been sent ──────────────────────────────────────────────────────────────────────────────────────

-- Puts in doubt what stands in the queue: as if it had been begun by somebody of whom nothing has been heard since. The books take it
-- out. Evidence is waited for from now on.
create function wa.doubt(ids bigint[], of_era bigint) returns bigint
language plpgsql security definer set search_path = pg_catalog as $$
declare
  now_era wa.eras;
  taken bigint;
begin
  select e.* into now_era from wa.eras e where e.era = of_era;
  with begun as (
    -- What was begun here keeps the number of its request.
    update wa.queue q set state = 'sending',
      attempt = q.attempt + (q.state = 'queued')::integer, attempts = q.attempts + (q.state = 'queued')::integer,
      epoch = coalesce(q.epoch, 0), begun_at = coalesce(q.begun_at, clock_timestamp()), deadline = clock_timestamp() + now_era.wait,
      waiting_for = null
    where q.id = any (ids)
    returning q.*
  ), doubtful as (
    insert into wa.uncertain (id, sender, priority, expires_at, campaign, in_sequence, attempt, attempts, resends, begun_at, deadline, since,
      may_resend, doubt, waiting_for, era)
    select b.id, b.sender, b.priority, b.expires_at, b.campaign, b.in_sequence, b.attempt, b.attempts, b.resends, b.begun_at, b.deadline,
      clock_timestamp(), true, 'the database was restored: it may have been sent before',
      'a status webhook that tells whether it was accepted', of_era
    from begun b
    on conflict do nothing
    returning id, sender, attempt, begun_at
  ), noted as (
    insert into wa.attempts (id, sender, attempt, begun_at, outcome, note)
    select d.id, d.sender, d.attempt, d.begun_at, 'uncertain', 'the database was restored: it may have been sent before' from doubtful d
    on conflict do nothing
  )
  select count(*) into taken from doubtful;
  update wa.eras e set doubted = e.doubted + taken where e.era = of_era;
  if now_era.keeps_silent then
    update wa.uncertain u set needs_person = true,
      waiting_for = 'a person: the database was restored; see: wa-outbox uncertain resolve ' || u.id
    where u.id = any (ids) and u.era = of_era and not u.needs_person;
  end if;
  return taken;
end
$$;

-- What a person decides when it begins to be settled; once, so that it can be gone on with after a break. Says whether it is
-- unsettled still.
create function wa.start_recovery(of_era bigint, since timestamptz, until timestamptz, longer interval, keep boolean) returns boolean
language plpgsql security definer set search_path = pg_catalog as $$
begin
  update wa.eras e set
    failed_at = coalesce(start_recovery.until, clock_timestamp()), wait = start_recovery.longer, keeps_silent = start_recovery.keep,
    complete_until = coalesce(start_recovery.since, e.complete_until),
    doubtful_ids = case when start_recovery.since is null then e.doubtful_ids else coalesce(
      (select o.id from wa.outbox o where o.created_at <= start_recovery.since order by o.id desc limit 1), 0) end
  where e.era = of_era and e.settled_at is null and e.failed_at is null;
  return exists (select from wa.eras e where e.era = of_era and e.settled_at is null);
end
$$;

-- Whether a message in the queue may have been sent before the database went back: it was there already, and due. What was set aside
-- for a template may have been brought back by then. What its campaign is not sent for any more was not sent for it.
create function wa.is_doubtful(row_of wa.queue, doubtful_ids bigint, failed_at timestamptz) returns boolean
language sql stable security definer set search_path = pg_catalog as $$
  select row_of.id <= doubtful_ids
    and case row_of.state when 'sending' then row_of.deadline < clock_timestamp()
      else case when row_of.due_at < timestamptz '9999-01-01 00:00:00+00' then row_of.due_at
        else (select o.due_at from wa.outbox o where o.id = row_of.id and o.sender = row_of.sender) end
        <= coalesce(failed_at, clock_timestamp())
      end
    and not exists (select from wa.campaigns c where c.id = row_of.campaign and c.state = 'cancelled')
$$;

-- A slice of the queue, in the order of ids: puts in doubt what may have been sent. `reached` is null at the end.
create function wa.doubt_slice(of_era bigint, after bigint, at_most integer, out reached bigint, out looked bigint, out doubted bigint)
language plpgsql security definer set search_path = pg_catalog as $$
declare
  now_era wa.eras;
  ids bigint[];
begin
  select e.* into now_era from wa.eras e where e.era = of_era and e.settled_at is null and e.failed_at is not null;
  with slice as materialized (
    select q.id, wa.is_doubtful(q, now_era.doubtful_ids, now_era.failed_at) as is_doubtful from wa.queue q
    where q.id > after and q.id <= now_era.doubtful_ids
    order by q.id limit at_most
    for update
  )
  select max(s.id), count(*), array_agg(s.id) filter (where s.is_doubtful) into reached, looked, ids from slice s;
  doubted := case when ids is null then 0 else wa.doubt(ids, of_era) end;
end
$$;

-- What was in doubt before: nobody has heard what was told meanwhile, so evidence is waited for anew. Says how many.
create function wa.doubt_again(of_era bigint, at_most integer) returns bigint
language plpgsql security definer set search_path = pg_catalog as $$
declare
  now_era wa.eras;
  n bigint;
begin
  select e.* into now_era from wa.eras e where e.era = of_era and e.settled_at is null and e.failed_at is not null;
  with slice as materialized (
    select u.id, u.sender from wa.uncertain u
    where u.id <= now_era.doubtful_ids and u.era is distinct from of_era
    order by u.id limit at_most
    for update
  )
  update wa.uncertain u set era = of_era, since = clock_timestamp(), deadline = greatest(u.deadline, clock_timestamp() + now_era.wait),
    doubt = left(u.doubt, 300) || '; and the database was restored since',
    needs_person = u.needs_person or now_era.keeps_silent,
    waiting_for = case when now_era.keeps_silent and not u.needs_person
      then 'a person: the database was restored; see: wa-outbox uncertain resolve ' || u.id else u.waiting_for end
  from slice s
  where u.id = s.id and u.sender = s.sender;
  get diagnostics n = row_count;
  return n;
end
$$;

-- It is settled: from now on what stays silent goes the way of its policy, and senders can be released.
create function wa.end_recovery(of_era bigint, how text, by_whom text, why text) returns boolean
language plpgsql security definer set search_path = pg_catalog as $$
begin
  update wa.eras e set settled_at = clock_timestamp(), settled_how = how, settled_by = by_whom, settled_why = why
  where e.era = of_era and e.settled_at is null
    and (how = 'nothing_lost' or how = 'doubted' and e.failed_at is not null);
  return found;
end
$$;

-- A member of a sequence may have been sent after those before it had been, and be a head again now: its turn is to be doubted. (For
-- the rest as the migration sequences has it.)
create or replace function wa.advanced(gate wa.sequences) returns wa.sequences
language plpgsql as $$
declare
  doubtful_in bigint;
begin
  if gate.head_id is not null or gate.halted_cause is not null then
    return gate;
  end if;
  with next as (
    delete from wa.waiting w
    where (w.sender, w.recipient, w.sequence) = (gate.sender, gate.recipient, gate.sequence)
      and w.id = (select min(x.id) from wa.waiting x
                  where (x.sender, x.recipient, x.sequence) = (gate.sender, gate.recipient, gate.sequence))
    returning w.*
  )
  insert into wa.queue (id, sender, priority, due_at, expires_at, in_sequence)
  select id, sender, priority, due_at, expires_at, true from next
  returning id into gate.head_id;
  if gate.head_id is not null then
    gate.head_since := clock_timestamp();
    gate.look_at := least(gate.look_at, now() + wa.delivery_timeout(gate, gate.head_id));
    doubtful_in := (
      select max(e.era) from wa.eras e join wa.queue q on q.id = gate.head_id and q.sender = gate.sender
      where e.failed_at is not null and e.settled_how is distinct from 'nothing_lost' and e.doubtful_ids >= gate.head_id
        and wa.is_doubtful(q, e.doubtful_ids, e.failed_at));
    if doubtful_in is not null then
      perform wa.doubt(array[gate.head_id], doubtful_in);
    end if;
  end if;
  return gate;
end
$$;

-- A worker's word about a request of before is none about what the database has forgotten.
create or replace function wa.put_back(ids bigint[], of_attempts integer[], refunds integer[], delays double precision[], reasons text[])
returns setof bigint
language sql security definer set search_path = pg_catalog as $$
  select b.* from (
    select coalesce(array_agg(m.id), '{}') as ids, coalesce(array_agg(m.attempt), '{}') as attempts,
      coalesce(array_agg(m.refund), '{}') as refunds, coalesce(array_agg(m.delay), '{}') as delays, coalesce(array_agg(m.reason), '{}') as reasons
    from unnest(ids, of_attempts, refunds, delays, reasons) as m (id, attempt, refund, delay, reason)
    where not exists (select from wa.uncertain u where u.id = m.id and u.attempt = m.attempt and u.era is not null)
  ) m
  cross join lateral wa.back_to_the_queue(m.ids, m.attempts, m.refunds, m.delays, m.reasons, false, 'worker', 'it was not accepted') b
$$;

-- Which of these requests, named by tokens of this era, this database has never begun, or of messages that it has never had: each
-- one proves that it has gone back.
create function wa.never_begun(ids bigint[], of_attempts integer[]) returns bigint
language plpgsql stable security definer set search_path = pg_catalog as $$
begin
  return (
    select count(*)
    from unnest(ids, of_attempts) as n (id, attempt)
    left join wa.outbox o on o.id = n.id
    left join wa.queue q on q.id = n.id
    left join wa.uncertain u on u.id = n.id
    where not exists (select from wa.results r where r.id = n.id)
      and case when o.id is null then n.id > coalesce(pg_sequence_last_value(pg_get_serial_sequence('wa.outbox', 'id')::regclass), 0)
        else coalesce(u.attempt, q.attempt, 0) < n.attempt end);
end
$$;

revoke execute on function wa.beat(bigint, bigint, bigint), wa.begin_era(bigint, text, text, text, bigint, timestamptz),
  wa.doubt(bigint[], bigint), wa.start_recovery(bigint, timestamptz, timestamptz, interval, boolean),
  wa.is_doubtful(wa.queue, bigint, timestamptz), wa.doubt_slice(bigint, bigint, integer), wa.doubt_again(bigint, integer),
  wa.end_recovery(bigint, text, text, text), wa.never_begun(bigint[], integer[])
from public;
grant execute on function wa.beat(bigint, bigint, bigint), wa.begin_era(bigint, text, text, text, bigint, timestamptz),
  wa.start_recovery(bigint, timestamptz, timestamptz, interval, boolean), wa.is_doubtful(wa.queue, bigint, timestamptz),
  wa.doubt_slice(bigint, bigint, integer), wa.doubt_again(bigint, integer), wa.end_recovery(bigint, text, text, text),
  wa.never_begun(bigint[], integer[])
to wa_worker;
