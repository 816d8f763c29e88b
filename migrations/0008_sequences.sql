-- Sequences: how a line advances and what keeps it. (What a person may do about it: the migration sequence_verbs.)
--
-- Of the members of a sequence one is ever in wa.queue or under way: the head. The others stand in wa.waiting, in the order of
-- their ids. The gate (wa.sequences) opens when the head is delivered, and then the next member becomes the head.
--
-- Why nothing overtakes and nothing is stranded, however many write and work at once:
--
-- 1. A line is changed only under the lock of its row in wa.sequences: by an INSERT, which takes the lock before it draws an id,
--    and by the functions below. So ids of a line are in the order of their commits, and there is one head at a time.
-- 2. Facts (results, statuses, doubts) are written without that lock; whoever writes one about a member then settles it, in the
--    same transaction: takes the lock, and looks at the facts as they are then. Of an INSERT and a delivery that meet, the one
--    that has the lock last sees what the other has done, and sets the next member free.
-- 3. Settling never waits long for the lock, because an application may keep a transaction open that holds it, and a batch of
--    webhooks or answers must not wait for that. What cannot be had at once is put down (wa.unsettled) in the same transaction,
--    and settled by the next look. So settling waits for no one who waits for it, and takes part in no deadlock.
-- 4. All of it rests on facts that stay: settling a member twice, late or in another order comes to the same. Whether the worker
--    changes meanwhile does not matter, because no worker has a part in it.
-- 5. A head that is uncertain is sent again only while it is the head. Whoever lets the line go on without it marks it (passed),
--    and wa.resend looks at that mark under the row's lock.
--
-- An INSERT waits for the lock, and a transaction that writes into several sequences holds several. Two that take them in a
-- different order meet in a deadlock; Postgres ends one of them with an error, and nothing of it has happened. Who writes them
-- in the order of recipient and sequence (INSERT … SELECT … ORDER BY recipient, sequence) cannot meet it.

-- ── kinds ────────────────────────────────────────────────────────────────────────────────────────────────────────

-- What sort of message it is, by what WhatsApp will say of it. The same table, with the source of each fact, is
-- src/domain/kind.rs; a test compares them.
create function wa.message_kind(payload json) returns text
language sql immutable parallel safe as $$
  select case
    when payload ->> 'type' = 'reaction' then 'reaction'
    when payload ->> 'type' = 'voice' or payload ->> 'type' = 'audio' and payload -> 'audio' ->> 'voice' = 'true' then 'voice_note'
    when payload ->> 'type' is null and payload ->> 'status' = 'read' then 'mark_as_read'
    else 'ordinary'
  end
$$;

-- The last status that a message of a kind can have; null when it has none.
create function wa.last_status(kind text) returns text
language sql immutable parallel safe as $$
  select case kind when 'ordinary' then 'read' when 'voice_note' then 'played' when 'reaction' then 'sent' end
$$;

-- Whether a status of a message of a kind lets the next one leave. (held_for_quality_assessment is part of an acceptance and no
-- status at all.)
create function wa.opens_gate(kind text, status text) returns boolean
language sql immutable parallel safe as $$
  select status in ('delivered', 'read', 'played') or status = 'sent' and wa.last_status(kind) = 'sent'
$$;

-- How long WhatsApp tries to deliver a message, as far as its content tells. A template's category and message_send_ttl_seconds
-- are properties of the template and in the content only where it is defined with the send; what is unknown is 30 days.
create function wa.time_to_live(payload json) returns interval
language sql immutable parallel safe as $$
  select case
    when told.seconds ~ '^[1-9][0-9]{0,6}$' then make_interval(secs => told.seconds::integer)
    when told.seconds is null and told.category = 'authentication' then interval '10 minutes'
    else interval '30 days'
  end
  from (select coalesce(payload -> 'template' ->> 'message_send_ttl_seconds', payload ->> 'message_send_ttl_seconds') as seconds,
          lower(coalesce(payload -> 'template' ->> 'category', payload ->> 'category')) as category) told
$$;

-- A message dropped at the end of its life sends no webhook; one delivered at its last moment sends it a little later.
create function wa.time_to_live_margin() returns interval
language sql immutable parallel safe as $$ select interval '5 minutes' $$;

-- ── settings ─────────────────────────────────────────────────────────────────────────────────────────────────────

alter table wa.senders
  add column on_failure text
    constraint on_failure_is_halt_or_skip check (on_failure in ('halt', 'skip')),
  add column delivery_timeout interval
    constraint delivery_timeout_is_above_zero_and_at_most_ten_years check (delivery_timeout > '0' and delivery_timeout <= '10 years'),
  add column on_timeout text
    constraint on_timeout_is_halt_or_proceed check (on_timeout in ('halt', 'proceed'));
comment on column wa.senders.on_failure is 'of its sequences, where they do not say: halt or skip; null = the setting sequence.on_failure';
comment on column wa.senders.delivery_timeout is
  'of its sequences, where they do not say; null = sequence.delivery_timeout_s, else the message''s time to live and 5 minutes';
comment on column wa.senders.on_timeout is 'of its sequences, where they do not say: halt or proceed; null = the setting sequence.on_timeout';

-- The settings [sequence] of the workers. Here, because lines advance in transactions of applications too, which know no settings.
create table wa.sequence_defaults (
  only_row boolean primary key default true
    constraint there_is_one_row check (only_row),
  on_failure text not null default 'halt'
    constraint on_failure_is_halt_or_skip check (on_failure in ('halt', 'skip')),
  delivery_timeout interval
    constraint delivery_timeout_is_above_zero_and_at_most_ten_years check (delivery_timeout > '0' and delivery_timeout <= '10 years'),
  on_timeout text not null default 'halt'
    constraint on_timeout_is_halt_or_proceed check (on_timeout in ('halt', 'proceed'))
);
comment on table wa.sequence_defaults is 'the settings [sequence], as the worker that was started last wrote them';
insert into wa.sequence_defaults default values;

-- What was out of the ordinary in a sequence: halts, what was passed over, and what people did, with author and reason.
create table wa.sequence_events (
  event bigint generated always as identity,
  sender text not null,
  recipient text not null,
  sequence text not null,
  happened_at timestamptz not null default clock_timestamp(),
  what text not null
    constraint what_happened_is_known check (what in ('halted', 'went_on', 'passed_over', 'resumed', 'skipped', 'cancelled', 'set')),
  member bigint,
  author text not null,
  reason text not null,
  primary key (event, sender)
);
create index sequence_events_by_sequence on wa.sequence_events (sender, recipient, sequence, event);

-- Members of which something has become known while the lock of their sequence could not be had.
create table wa.unsettled (
  id bigint not null,
  sender text not null,
  primary key (id, sender)
);

create function wa.sequence_settings(gate wa.sequences, out on_failure text, out delivery_timeout interval, out on_timeout text)
language sql stable security definer set search_path = pg_catalog as $$
  select coalesce(gate.on_failure, s.on_failure, d.on_failure, 'halt'),
    coalesce(gate.delivery_timeout, s.delivery_timeout, d.delivery_timeout),
    coalesce(gate.on_timeout, s.on_timeout, d.on_timeout, 'halt')
  from (select) one
  left join wa.senders s on s.sender = gate.sender
  left join wa.sequence_defaults d on true
$$;

-- How long after its acceptance the delivery of a member is waited for. (In plpgsql, as everything that runs for each member: it
-- keeps its plans, while a function in SQL that is not inlined is planned at each call.)
create function wa.delivery_timeout(gate wa.sequences, member bigint) returns interval
language plpgsql stable security definer set search_path = pg_catalog as $$
begin
  return coalesce(gate.delivery_timeout,
    (select s.delivery_timeout from wa.senders s where s.sender = gate.sender),
    (select d.delivery_timeout from wa.sequence_defaults d),
    (select wa.time_to_live(o.payload) from wa.outbox o where o.id = member) + wa.time_to_live_margin());
end
$$;

-- ── the line ─────────────────────────────────────────────────────────────────────────────────────────────────────

-- The sequences of these members, locked, in the order in which everyone takes several. Each is looked up by its key, also where
-- the planner knows nothing of the tables yet.
create function wa.lock_gates(ids bigint[]) returns setof wa.sequences
language plpgsql as $$
begin
  return query
  select s.*
  from (
    select distinct o.sender, o.recipient, o.sequence from wa.outbox o
    where o.id = any (ids) and o.sequence is not null
    order by o.sender, o.recipient, o.sequence
  ) k
  cross join lateral (
    select q.* from wa.sequences q
    where (q.sender, q.recipient, q.sequence) = (k.sender, k.recipient, k.sequence)
    for update
  ) s;
end
$$;

create function wa.lock_sequences(ids bigint[]) returns void
language plpgsql security definer set search_path = pg_catalog as $$
begin
  perform from wa.lock_gates(ids);
end
$$;

-- How a member stands for those behind it: released, failed, expired, cancelled, held (uncertain, for a person) or open.
create function wa.member_standing(member bigint) returns text
language plpgsql stable as $$
begin
  return (
    select case
      when r.id is null then case when u.needs_person then 'held' else 'open' end
      when r.state <> 'accepted' then r.state
      when r.wamid is null
        or r.delivered_at is not null and wa.opens_gate(k.kind, 'delivered')
        or r.read_at is not null and wa.opens_gate(k.kind, 'read')
        or r.played_at is not null and wa.opens_gate(k.kind, 'played')
        or r.sent_at is not null and wa.opens_gate(k.kind, 'sent') then 'released'
      when r.failed_at is not null then 'failed'
      else 'open'
    end
    from wa.outbox o
    cross join lateral (select wa.message_kind(o.payload) as kind) k
    left join wa.results r on r.id = o.id and r.sender = o.sender
    left join wa.uncertain u on u.id = o.id and u.sender = o.sender
    where o.id = member);
end
$$;

create function wa.note_sequence_event(gate wa.sequences, what text, member bigint, author text, reason text) returns void
language sql set search_path = pg_catalog as $$
  insert into wa.sequence_events (sender, recipient, sequence, what, member, author, reason)
  values (gate.sender, gate.recipient, gate.sequence, what, member, author, reason)
$$;

-- Why a member keeps those behind it, in words.
create function wa.halt_in_words(of_sender text, member bigint, cause text, waited interval) returns text
language sql stable set search_path = pg_catalog as $$
  select case cause
    when 'failed' then format('message %s failed', member)
      || coalesce((select ': ' || r.error_message from wa.results r where r.id = member and r.sender = of_sender), '')
    when 'expired' then format('message %s expired before it could leave', member)
    when 'cancelled' then format('message %s was ', member)
      || (select r.error_message from wa.results r where r.id = member and r.sender = of_sender)
    when 'uncertain' then format('message %s is uncertain and waits for a person', member)
    when 'timeout' then format('the delivery of message %s was not told within %s', member, waited)
  end
$$;

-- The functions that follow take a gate whose row the caller has locked, and give back how it is then. wa.keep_gate writes it.

create function wa.halted(gate wa.sequences, cause text, member bigint, waited interval default null) returns wa.sequences
language plpgsql as $$
begin
  gate.halted_cause := cause;
  gate.halted_member := member;
  gate.halted_reason := wa.halt_in_words(gate.sender, member, cause, waited);
  gate.halted_at := clock_timestamp();
  perform wa.note_sequence_event(gate, 'halted', member, 'wa-outbox', gate.halted_reason);
  return gate;
end
$$;

create function wa.lifted(gate wa.sequences) returns wa.sequences
language plpgsql as $$
begin
  gate.halted_cause := null;
  gate.halted_member := null;
  gate.halted_reason := null;
  gate.halted_at := null;
  -- While it was halted nobody looked whether the head is overdue.
  gate.look_at := now();
  return gate;
end
$$;

-- The head is behind us. One that is uncertain is marked, so that it is never sent again: its successors may have left by then.
create function wa.passed(gate wa.sequences) returns wa.sequences
language plpgsql as $$
begin
  update wa.uncertain u
  set passed = true, needs_person = true,
    waiting_for = 'a person: its sequence has gone on, so it is not sent again; see: wa-outbox uncertain resolve ' || u.id
  where u.id = gate.head_id and u.sender = gate.sender;
  gate.passed_id := gate.head_id;
  gate.head_id := null;
  gate.head_since := null;
  return gate;
end
$$;

-- Makes the next member the head, if nothing keeps it. look_at is put earlier here, never later, which spares the index: as a rule
-- the time of an earlier head stands, and the look that comes then finds out when this one is overdue.
create function wa.advanced(gate wa.sequences) returns wa.sequences
language plpgsql as $$
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
  end if;
  return gate;
end
$$;

create function wa.keep_gate(gate wa.sequences) returns void
language plpgsql as $$
begin
  update wa.sequences s
  set head_id = gate.head_id, head_since = gate.head_since, passed_id = gate.passed_id, look_at = gate.look_at,
    halted_cause = gate.halted_cause, halted_member = gate.halted_member, halted_reason = gate.halted_reason,
    halted_at = gate.halted_at
  where (s.sender, s.recipient, s.sequence) = (gate.sender, gate.recipient, gate.sequence)
    and (s.head_id, s.head_since, s.passed_id, s.look_at, s.halted_cause, s.halted_member, s.halted_at) is distinct from
      (gate.head_id, gate.head_since, gate.passed_id, gate.look_at, gate.halted_cause, gate.halted_member, gate.halted_at);
end
$$;

-- Lets the next member of a sequence leave, if nothing is in front of it: what an INSERT ends with. It holds the lock.
create function wa.promote(of_sender text, of_recipient text, of_sequence text) returns void
language plpgsql security definer set search_path = pg_catalog as $$
declare
  gate wa.sequences;
begin
  select s.* into gate from wa.sequences s
  where (s.sender, s.recipient, s.sequence) = (of_sender, of_recipient, of_sequence)
    and s.head_id is null and s.halted_cause is null
  for update;
  if found then
    perform wa.keep_gate(wa.advanced(gate));
  end if;
end
$$;

-- Opens, keeps or halts one gate by what is known of these members, and says whether another message may leave. Only the head,
-- a member that has halted it, and its own that have expired or were cancelled in the line count: what lies behind the head is over.
create function wa.settle_gate(gate wa.sequences, ids bigint[], ended bigint[]) returns boolean
language plpgsql as $$
declare
  standing text;
  cause text;
  head bigint := gate.head_id;
  gone bigint;
begin
  if gate.halted_member = any (ids) then
    standing := wa.member_standing(gate.halted_member);
    -- A delivery outweighs what was concluded without it; a doubt is over when the message is no longer in doubt.
    if standing = 'released' or gate.halted_cause = 'uncertain' and standing <> 'held' then
      perform wa.note_sequence_event(gate, 'went_on', gate.halted_member, 'wa-outbox',
        case when standing = 'released' then 'it has been delivered' else 'it is no longer in doubt' end);
      gate := wa.lifted(gate);
    end if;
  end if;
  if gate.head_id = any (ids) then
    standing := wa.member_standing(gate.head_id);
    if standing = 'released' then
      gate := wa.passed(gate);
    elsif standing <> 'open' then
      cause := case standing when 'held' then 'uncertain' else standing end;
      if (wa.sequence_settings(gate)).on_failure = 'skip' then
        perform wa.note_sequence_event(gate, 'passed_over', gate.head_id, 'wa-outbox',
          'on_failure is skip: ' || wa.halt_in_words(gate.sender, gate.head_id, cause, null));
        gate := wa.passed(gate);
      elsif gate.halted_cause is null then
        gate := wa.halted(gate, cause, gate.head_id);
      end if;
    end if;
  end if;
  select min(e.id) into gone from unnest(ended) e (id) where e.id > greatest(head, gate.passed_id, 0);
  if gone is not null and gate.halted_cause is null and (wa.sequence_settings(gate)).on_failure = 'halt' then
    gate := wa.halted(gate, wa.member_standing(gone), gone);
  end if;
  gate := wa.advanced(gate);
  perform wa.keep_gate(gate);
  return gate.head_id is distinct from head and gate.head_id is not null;
end
$$;

-- The same where somebody keeps one of them for long: those that are free; the members of the others are put down.
create function wa.lock_free_gates(ids bigint[]) returns setof wa.sequences
language sql as $$
  with members as materialized (
    select o.id, o.sender, o.recipient, o.sequence from wa.outbox o where o.id = any (ids) and o.sequence is not null
  ), free as materialized (
    select s.*
    from (select distinct m.sender, m.recipient, m.sequence from members m) k
    cross join lateral (
      select q.* from wa.sequences q
      where (q.sender, q.recipient, q.sequence) = (k.sender, k.recipient, k.sequence)
      for update skip locked
    ) s
  ), put_down as (
    insert into wa.unsettled (id, sender)
    select m.id, m.sender from members m
    where not exists (select from free f where (f.sender, f.recipient, f.sequence) = (m.sender, m.recipient, m.sequence))
    order by m.id
    on conflict do nothing
  )
  select * from free f order by f.sender, f.recipient, f.sequence
$$;

-- Settles members of which something has become known (see the head of this file).
create function wa.settle_sequences(ids bigint[]) returns void
language plpgsql security definer set search_path = pg_catalog set lock_timeout = '100ms' as $$
declare
  gates wa.sequences[];
  one record;
  moved text[] := '{}';
begin
  begin
    gates := array(select g from wa.lock_gates(ids) g);
  exception
    when lock_not_available or deadlock_detected then
      gates := array(select g from wa.lock_free_gates(ids) g);
  end;
  for one in
    select g.sender, g as gate, coalesce(e.members, '{}') as ended
    from unnest(gates) g
    left join (
      select o.sender, o.recipient, o.sequence, array_agg(o.id) as members
      from wa.results r join wa.outbox o on o.id = r.id and o.sender = r.sender
      where r.id = any (ids) and r.state in ('expired', 'cancelled')
      group by o.sender, o.recipient, o.sequence
    ) e on (e.sender, e.recipient, e.sequence) = (g.sender, g.recipient, g.sequence)
  loop
    if wa.settle_gate(one.gate, ids, one.ended) then
      moved := moved || one.sender;
    end if;
  end loop;
  if cardinality(moved) > 0 then
    perform wa.wake_owners(moved);
  end if;
end
$$;

-- Calls the owners of these senders, where they have said that they sleep.
create function wa.wake_owners(senders text[]) returns void
language sql set search_path = pg_catalog as $$
  select pg_notify('wa_outbox_due', w.worker::text)
  from wa.workers w
  where w.asleep and w.worker in (select l.worker from wa.leases l where l.sender = any (senders))
$$;

-- A member that comes into a person's hands, or out of them, changes how it stands for those behind it. Ordinary messages pay a
-- comparison.
create function wa.held_member_is_settled() returns trigger
language plpgsql security definer set search_path = pg_catalog as $$
begin
  perform wa.settle_sequences(array[old.id]);
  return null;
end
$$;
create trigger member_held_for_a_person_is_settled after update on wa.uncertain
for each row when (new.in_sequence and new.needs_person and not old.needs_person and not new.passed)
execute function wa.held_member_is_settled();
create trigger member_no_longer_in_doubt_is_settled after delete on wa.uncertain
for each row when (old.in_sequence and old.needs_person and not old.passed)
execute function wa.held_member_is_settled();

-- ── looking after them ───────────────────────────────────────────────────────────────────────────────────────────

-- One look at a gate whose time to be looked at has come: is its head overdue? The clock runs from the acceptance, so before it
-- nothing is overdue. Deliveries that came in time and are not applied yet are waited for. Gives the gate, and whether it timed out.
create function wa.look_at_gate(inout gate wa.sequences, out timed_out boolean)
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
  if exists (select from wa.webhook_inbox i where i.state = 'pending' and i.received_at <= gate.look_at) then
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

-- Settles what was put down, and looks at the gates of these senders whose time has come, a bounded number of each. Whatever is
-- locked is left for the next look, so this waits for nobody. Says how many messages were overdue.
create function wa.look_after_sequences(senders text[], at_most integer) returns bigint
language plpgsql security definer set search_path = pg_catalog
-- Read in the order of the index, also where the planner does not know yet that there are many: a look must not sort them all.
set enable_bitmapscan = off as $$
declare
  gate wa.sequences;
  ids bigint[];
  looked record;
  overdue bigint := 0;
  moved text[] := '{}';
begin
  with found as (
    select u.id, u.sender from wa.unsettled u order by u.id, u.sender limit at_most for update skip locked
  ), taken as (
    delete from wa.unsettled u using found f where u.id = f.id and u.sender = f.sender returning u.id
  )
  select array_agg(id) into ids from taken;
  if ids is not null then
    perform wa.settle_sequences(ids);
  end if;

  for gate in
    select due.* from unnest(senders) as mine (sender)
    cross join lateral (
      select s.* from wa.sequences s
      where s.sender = mine.sender and s.look_at <= now()
      order by s.look_at
      limit at_most
      for update skip locked
    ) due
  loop
    if wa.member_standing(gate.head_id) <> 'open' then
      -- Something is known of the head already: that counts, not the time.
      if wa.settle_gate(gate, array[gate.head_id], '{}') then
        moved := moved || gate.sender;
      end if;
      select s.* into gate from wa.sequences s
      where (s.sender, s.recipient, s.sequence) = (gate.sender, gate.recipient, gate.sequence);
    end if;
    select * into looked from wa.look_at_gate(gate);
    perform wa.keep_gate(looked.gate);
    if looked.timed_out then
      overdue := overdue + 1;
      moved := moved || gate.sender;
    end if;
  end loop;
  if cardinality(moved) > 0 then
    perform wa.wake_owners(moved);
  end if;
  return overdue;
end
$$;

-- ── who may ──────────────────────────────────────────────────────────────────────────────────────────────────────

revoke execute on function
  wa.sequence_settings(wa.sequences), wa.delivery_timeout(wa.sequences, bigint), wa.lock_gates(bigint[]),
  wa.lock_free_gates(bigint[]), wa.lock_sequences(bigint[]), wa.member_standing(bigint),
  wa.note_sequence_event(wa.sequences, text, bigint, text, text), wa.halt_in_words(text, bigint, text, interval),
  wa.halted(wa.sequences, text, bigint, interval), wa.lifted(wa.sequences), wa.passed(wa.sequences), wa.advanced(wa.sequences),
  wa.keep_gate(wa.sequences), wa.promote(text, text, text), wa.settle_gate(wa.sequences, bigint[], bigint[]),
  wa.settle_sequences(bigint[]), wa.wake_owners(text[]), wa.look_at_gate(wa.sequences),
  wa.look_after_sequences(text[], integer)
from public;

-- The worker settles by what is known and looks after what is overdue; it cannot move a line by its own word.
grant execute on function wa.settle_sequences(bigint[]), wa.look_after_sequences(text[], integer) to wa_worker;
grant execute on function wa.sequence_settings(wa.sequences), wa.delivery_timeout(wa.sequences, bigint),
  wa.member_standing(bigint) to wa_producer, wa_worker, wa_viewer;

-- So that it may lock a line while it expires what waits there.
grant update (look_at) on wa.sequences to wa_worker;
grant select, update on wa.sequence_defaults to wa_worker;
grant select on wa.sequence_defaults, wa.sequence_events, wa.unsettled to wa_producer, wa_worker, wa_viewer;
