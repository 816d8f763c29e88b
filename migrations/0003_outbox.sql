-- The outbox: what an application writes, and where a message stands until it has ended.
--
-- The content (wa.outbox) is written once and never changed. Where a message stands is told by the one narrow table it
-- is in: wa.queue (queued, sending), wa.waiting (behind its sequence), wa.uncertain, or wa.results (ended). The database
-- keeps the books: a row leaves wa.queue and wa.uncertain only because a row about it was written to the next table,
-- by trigger, in the same statement. So no message can be lost between two tables, and one with a wamid has no row
-- that could be sent.

create table wa.outbox (
  id bigint generated always as identity,
  sender text not null,
  recipient text not null,
  recipient_kind text not null default 'phone',
  payload json,
  variables jsonb,
  campaign_id bigint,
  priority smallint not null default 5,
  due_at timestamptz not null default now(),
  expires_at timestamptz,
  sequence text,
  dedup_key text,
  on_uncertain text,
  reference text,
  created_at timestamptz not null default now(),
  primary key (id, sender)
);
comment on table wa.outbox is 'one row, one message: INSERT INTO wa.outbox (sender, recipient, payload) VALUES (…)';
comment on column wa.outbox.sender is 'who sends it, a row of wa.senders; left out: the only or the default sender';
comment on column wa.outbox.recipient is 'E.164 with +, separators allowed; or a group id or business-scoped user id with recipient_kind';
comment on column wa.outbox.payload is 'the API''s message body without messaging_product, recipient_type and to; reaches the wire as written';
comment on column wa.outbox.priority is '0 (urgent) leaves before 9 (bulk)';
comment on column wa.outbox.sequence is 'messages of one sequence to one recipient leave one by one, each after the delivery of the one before';
comment on column wa.outbox.dedup_key is 'unique per sender: a second INSERT with the same key is refused (or skipped with ON CONFLICT DO NOTHING)';
comment on column wa.outbox.on_uncertain is 'what to do when the answer was lost and stays lost: retry or hold; left out: the sender''s setting';
comment on column wa.outbox.reference is 'the application''s own id; shown and searchable';

create unique index dedup_key_is_used_once_per_sender on wa.outbox (sender, dedup_key) where dedup_key is not null;
create index outbox_by_recipient on wa.outbox (recipient, sender);
create index outbox_by_reference on wa.outbox (reference, sender) where reference is not null;

-- Messages that may be sent. Narrow, rewritten often: no index holds a column that changes on the way of an ordinary
-- message, so those updates stay on their page (HOT).
create table wa.queue (
  id bigint not null,
  sender text not null,
  priority smallint not null,
  due_at timestamptz not null,
  expires_at timestamptz,
  campaign bigint not null default 0,
  in_sequence boolean not null default false,
  state text not null default 'queued'
    constraint state_is_queued_or_sending check (state in ('queued', 'sending')),
  attempt integer not null default 0,
  attempts integer not null default 0,
  resends integer not null default 0,
  epoch bigint,
  begun_at timestamptz,
  deadline timestamptz,
  waiting_for text,
  primary key (id, sender),
  constraint what_is_sending_was_begun_by_an_epoch
    check (state <> 'sending' or (epoch is not null and begun_at is not null and deadline is not null and attempt >= 1)),
  constraint attempts_spent_are_among_the_requests_begun check (attempts between 0 and attempt)
) with (fillfactor = 50);
comment on column wa.queue.attempt is 'number of the last request begun, also of those that cost no attempt';
comment on column wa.queue.attempts is 'attempts spent: throttling and holds add none';
comment on column wa.queue.campaign is 'its lane: the rows of a campaign are read apart from the others, or not at all; 0 = none';
create index queue_in_order on wa.queue (sender, campaign, priority, due_at, id);
create index queue_by_expiry on wa.queue (expires_at, sender) where expires_at is not null;

-- Members of a sequence that are not its head. There is no index on the id alone: who looks for the first of a line might be led
-- through it, past everything that waits anywhere. A member is found by what its outbox row says.
create table wa.waiting (
  sender text not null,
  recipient text not null,
  sequence text not null,
  id bigint not null,
  priority smallint not null,
  due_at timestamptz not null,
  expires_at timestamptz,
  primary key (sender, recipient, sequence, id)
);
create index waiting_by_expiry on wa.waiting (expires_at, sender) where expires_at is not null;

-- One row a sequence: its gate, its settings and the lock under which its line is changed (see the migration sequences).
create table wa.sequences (
  sender text not null,
  recipient text not null,
  sequence text not null,
  head_id bigint,
  head_since timestamptz,
  passed_id bigint,
  look_at timestamptz,
  on_failure text
    constraint on_failure_is_halt_or_skip check (on_failure in ('halt', 'skip')),
  delivery_timeout interval
    constraint delivery_timeout_is_above_zero_and_at_most_ten_years check (delivery_timeout > '0' and delivery_timeout <= '10 years'),
  on_timeout text
    constraint on_timeout_is_halt_or_proceed check (on_timeout in ('halt', 'proceed')),
  halted_cause text
    constraint a_halt_has_a_known_cause
      check (halted_cause in ('failed', 'expired', 'cancelled', 'uncertain', 'timeout')),
  halted_member bigint,
  halted_reason text,
  halted_at timestamptz,
  primary key (sender, recipient, sequence),
  constraint a_halt_has_cause_member_reason_and_time check (num_nulls(halted_cause, halted_member, halted_reason, halted_at) in (0, 4))
) with (fillfactor = 60);
comment on column wa.sequences.head_id is 'the message that everything behind it waits for; null when the next one may leave at once';
comment on column wa.sequences.head_since is 'since when it is the head';
comment on column wa.sequences.passed_id is 'the last message that was the head before; none up to it leaves any more';
comment on column wa.sequences.look_at is 'no later than this somebody must look whether the head''s delivery is overdue; null: never';
comment on column wa.sequences.on_failure is 'when a member fails, expires or is held for a person: halt or skip; null = the sender''s setting';
comment on column wa.sequences.delivery_timeout is 'how long after its acceptance the delivery of a member is waited for; null = the sender''s setting';
comment on column wa.sequences.on_timeout is 'when that is over: halt or proceed; null = the sender''s setting';
create index sequences_to_look_at on wa.sequences (sender, look_at) where look_at is not null;
create index sequences_halted on wa.sequences (sender, halted_at) where halted_at is not null;

-- Begun, answer lost. Kept apart so that finding them does not depend on how much is queued.
create table wa.uncertain (
  id bigint not null,
  sender text not null,
  priority smallint not null,
  expires_at timestamptz,
  campaign bigint not null default 0,
  in_sequence boolean not null,
  attempt integer not null,
  attempts integer not null,
  resends integer not null,
  begun_at timestamptz not null,
  deadline timestamptz not null,
  since timestamptz not null default now(),
  may_resend boolean not null,
  doubt text not null,
  needs_person boolean not null default false,
  passed boolean not null default false,
  waiting_for text not null,
  primary key (id, sender)
) with (fillfactor = 70);
comment on column wa.uncertain.passed is 'true: its sequence has gone on without it, so it is never sent again';
comment on column wa.uncertain.may_resend is 'false: an answer said yes but could not be read, so policy alone never sends it again';

-- The facts: a wamid for an attempt. Insert-only; a wamid is known once for ever.
create table wa.acceptances (
  wamid text not null,
  sender text not null,
  id bigint not null,
  attempt integer not null,
  wa_id text,
  message_status text,
  learned_from text not null
    constraint a_wamid_is_learned_from_response_webhook_or_operator check (learned_from in ('response', 'webhook', 'operator')),
  learned_at timestamptz not null default now(),
  primary key (wamid, sender)
);

create index acceptances_by_message on wa.acceptances (id, sender);

-- How a message ended, and what WhatsApp said of it since.
create table wa.results (
  id bigint not null,
  sender text not null,
  state text not null
    constraint a_result_is_accepted_failed_expired_or_cancelled check (state in ('accepted', 'failed', 'expired', 'cancelled')),
  wamid text,
  wa_id text,
  message_status text,
  attempts integer not null,
  ended_at timestamptz not null default now(),
  campaign bigint not null default 0,
  in_sequence boolean not null default false,
  suppressed boolean not null default false,
  sent_at timestamptz,
  delivered_at timestamptz,
  read_at timestamptz,
  played_at timestamptz,
  failed_at timestamptz,
  error_code bigint,
  error_message text,
  duplicate text
    constraint a_duplicate_has_a_known_cause check (duplicate in ('resend', 'transport_retry')),
  primary key (id, sender),
  constraint wamid_only_if_accepted check (state = 'accepted' or wamid is null),
  constraint statuses_only_if_accepted check
    (state = 'accepted' or coalesce(sent_at, delivered_at, read_at, played_at) is null)
) with (fillfactor = 60);
comment on column wa.results.duplicate is
  'set when two wamids are known: resend = we sent again by policy, transport_retry = something below us sent one request twice';
comment on column wa.results.suppressed is 'cancelled because its recipient must not be messaged (wa.suppressions)';

-- What the books tell of campaigns: how many of their rows have come into a kind, or left it, one row for each statement and
-- kind. Only ever written and folded (see the migration campaigns), so that nobody who works for a campaign waits for another.
create table wa.campaign_deltas (
  xact xid8 not null default pg_current_xact_id(),
  at timestamptz not null default now(),
  campaign bigint not null,
  kind text not null,
  code bigint not null default -1,
  n bigint not null
);
comment on column wa.campaign_deltas.code is 'of what has failed: WhatsApp''s code; -1 = none';
create index campaign_deltas_in_order on wa.campaign_deltas (xact);

-- One row for each request that did not end in plain acceptance.
create table wa.attempts (
  id bigint not null,
  sender text not null,
  attempt integer not null,
  begun_at timestamptz,
  ended_at timestamptz not null default now(),
  outcome text not null,
  http_status integer,
  error_code bigint,
  error_subcode bigint,
  error_title text,
  error_details text,
  fbtrace_id text,
  note text,
  settled_by text,
  settled_at timestamptz,
  settled_note text,
  primary key (id, sender, attempt)
);

-- ── enqueue ──────────────────────────────────────────────────────────────────────────────────────────────────────

-- Mends what may be mended (separators, defaults given as null), refuses what is wrong, and orders sequences. Runs only for
-- rows that the trigger's WHEN finds unusual; an ordinary row does not pay for it.
create function wa.outbox_row_is_checked() returns trigger
language plpgsql security definer set search_path = pg_catalog as $$
declare
  validate text;
begin
  new.priority := coalesce(new.priority, 5);
  -- "Always" and "never" are no times that a worker can count with. Before 1970 is as due as 1970.
  new.due_at := greatest(coalesce(new.due_at, now()), '1970-01-01 00:00Z');
  new.expires_at := nullif(new.expires_at, 'infinity');
  new.created_at := now();
  new.recipient_kind := coalesce(new.recipient_kind, 'phone');
  if new.sender is null then
    select sender into new.sender from wa.senders order by is_default desc limit 1;
    if new.sender is null then
      perform wa.refuse('sender', 'sender is missing and there is none yet', 'add one: wa-outbox sender add PHONE_NUMBER_ID --credential env:NAME');
    elsif (select count(*) > 1 and not bool_or(is_default) from wa.senders) then
      perform wa.refuse('sender', 'sender is missing and there are several, none of them the default',
        'name the sender, or choose a default: wa-outbox sender set PHONE_NUMBER_ID --default');
    end if;
  end if;
  new.recipient := wa.checked_recipient(new.recipient, new.recipient_kind,
    (select s.default_country from wa.senders s where s.sender = new.sender));
  if new.campaign_id is null then
    if new.variables is not null then
      perform wa.refuse('variables', 'variables is given without campaign_id', 'name the campaign whose placeholders they fill, or leave variables out');
    end if;
    if new.payload is null then
      perform wa.refuse('payload', 'payload is missing', 'write the message body of the Cloud API, e.g. {"type":"text","text":{"body":"Hello"}}');
    end if;
    select s.validate into validate from wa.senders s where s.sender = new.sender;
    new.payload := wa.checked_payload(new.payload, new.recipient, coalesce(validate, 'refuse'));
  end if;
  if new.priority not between 0 and 9 then
    perform wa.refuse('priority', format('priority is %s', new.priority), 'use 0 (urgent) to 9 (bulk)');
  end if;
  if new.due_at > '9999-12-31 00:00Z' then
    perform wa.refuse('due_at', format('due_at is %s', new.due_at), 'use a time before the end of 9999');
  end if;
  if new.expires_at > '9999-12-31 00:00Z' then
    perform wa.refuse('expires_at', format('expires_at is %s', new.expires_at), 'use a time before the end of 9999, or leave it out');
  end if;
  if new.expires_at <= new.due_at then
    perform wa.refuse('expires_at', format('expires_at %s is not after due_at %s', new.expires_at, new.due_at),
      'leave expires_at out, or set it later than due_at');
  end if;
  if new.on_uncertain not in ('retry', 'hold') then
    perform wa.refuse('on_uncertain', format('on_uncertain is %s', wa.shown(new.on_uncertain)), 'use retry or hold, or leave it out');
  end if;
  if new.dedup_key = '' or length(new.dedup_key) > 200 then
    perform wa.refuse('dedup_key', format('dedup_key has %s characters', length(new.dedup_key)), 'use 1 to 200 characters, or leave it out');
  end if;
  if length(new.reference) > 200 then
    perform wa.refuse('reference', format('reference has %s characters', length(new.reference)), 'use at most 200 characters');
  end if;
  if new.sequence is not null then
    if new.sequence = '' or length(new.sequence) > 100 then
      perform wa.refuse('sequence', format('sequence has %s characters', length(new.sequence)), 'use 1 to 100 characters, or leave it out');
    end if;
    if not exists (select from wa.senders s where s.sender = new.sender) then
      return new;   -- refused below, with the words for it
    end if;
    -- The lock comes first and the id after it, so that within a sequence the order of ids is the order of commits: no
    -- smaller id can appear once a larger one was seen. (A row in conflict is locked whatever the WHERE says; nothing is
    -- written, so a statement of many members leaves no old versions behind.)
    insert into wa.sequences (sender, recipient, sequence) values (new.sender, new.recipient, new.sequence)
    on conflict (sender, recipient, sequence) do update set head_id = null where false;
    new.id := nextval(pg_get_serial_sequence('wa.outbox', 'id'));
  end if;
  return new;
end
$$;

create trigger outbox_row_is_checked before insert on wa.outbox
for each row
when (
  new.sender is null
  or new.recipient_kind is distinct from 'phone'
  or new.recipient is null or new.recipient !~ '^\+[1-9][0-9]{6,14}$'
  or new.campaign_id is null and (new.payload is null or wa.payload_is_plain(new.payload) is not true or new.variables is not null)
  or new.priority is null or new.priority not between 0 and 9
  or new.due_at is null or new.due_at not between '1970-01-01 00:00Z' and '9999-12-31 00:00Z'
  or new.expires_at <= new.due_at or new.expires_at > '9999-12-31 00:00Z'
  or new.on_uncertain is not null and new.on_uncertain not in ('retry', 'hold')
  or new.sequence is not null
  or new.dedup_key is not null and length(new.dedup_key) not between 1 and 200
  or new.reference is not null and length(new.reference) > 200
)
execute function wa.outbox_row_is_checked();

-- Puts new messages where they wait, and wakes an owner that has said it sleeps.
create function wa.outbox_rows_are_queued() returns trigger
language plpgsql security definer set search_path = pg_catalog as $$
declare
  stranger text;
begin
  select f.sender into stranger from fresh f where not exists (select from wa.senders s where s.sender = f.sender) limit 1;
  if stranger is not null then
    perform wa.refuse('sender', format('sender %s does not exist', wa.shown(stranger)),
      'add it: wa-outbox sender add PHONE_NUMBER_ID --credential env:NAME; known senders: '
      || coalesce((select string_agg(sender, ', ') from (select sender from wa.senders order by sender limit 5) s), 'none'));
  end if;

  -- In the lane of a campaign one priority counts, the campaign's of the day, so it is not written into each of its rows.
  insert into wa.queue (id, sender, priority, due_at, expires_at, campaign)
  select id, sender, case when campaign_id is null then priority else 0 end, due_at, expires_at, coalesce(campaign_id, 0)
  from fresh where sequence is null;

  if exists (select from fresh where campaign_id is not null) then
    insert into wa.campaign_deltas (campaign, kind, n)
    select campaign_id, 'queued', count(*) from fresh where campaign_id is not null group by campaign_id;
  end if;

  if exists (select from fresh where sequence is not null) then
    insert into wa.waiting (sender, recipient, sequence, id, priority, due_at, expires_at)
    select sender, recipient, sequence, id, priority, due_at, expires_at from fresh where sequence is not null;
    perform wa.promote(s.sender, s.recipient, s.sequence)
    from (select distinct sender, recipient, sequence from fresh where sequence is not null order by 1, 2, 3) s;
  end if;

  perform pg_notify('wa_outbox_due', w.worker::text)
  from wa.workers w
  where w.asleep and w.worker in (select l.worker from wa.leases l where l.sender in (select sender from fresh));
  return null;
end
$$;

create trigger outbox_rows_are_queued after insert on wa.outbox
referencing new table as fresh
for each statement execute function wa.outbox_rows_are_queued();

-- ── the books ────────────────────────────────────────────────────────────────────────────────────────────────────

-- What a result is counted as among the rows of its campaign, and with which code. Read counts as read whether its delivery was
-- told or not, and a delivery outweighs a failure, as in wa.messages.
create function wa.campaign_standing(
  state text, suppressed boolean, sent_at timestamptz, delivered_at timestamptz, read_at timestamptz, failed_at timestamptz,
  error_code bigint, out kind text, out code bigint
)
language sql immutable parallel safe as $$
  select k.kind, case when k.kind in ('failed', 'undelivered') then coalesce(error_code, -1) else -1 end
  from (select case
    when state = 'cancelled' and suppressed then 'suppressed'
    when state <> 'accepted' then state
    when read_at is not null then 'read'
    when delivered_at is not null then 'delivered'
    when failed_at is not null then 'undelivered'
    when sent_at is not null then 'sent'
    else 'accepted'
  end as kind) k
$$;

-- The way of a message within the queue, and within its result. Ordinary messages are looked over and leave nothing.
create function wa.queue_moves_are_counted() returns trigger
language plpgsql security definer set search_path = pg_catalog as $$
begin
  insert into wa.campaign_deltas (campaign, kind, n)
  select m.campaign, m.state, sum(m.n)
  from (select campaign, state, -1 as n from was where campaign <> 0
        union all select campaign, state, 1 from became where campaign <> 0) m
  group by m.campaign, m.state
  having sum(m.n) <> 0;
  return null;
end
$$;
create trigger queue_moves_are_counted after update on wa.queue
referencing old table as was new table as became
for each statement execute function wa.queue_moves_are_counted();

create function wa.result_moves_are_counted() returns trigger
language plpgsql security definer set search_path = pg_catalog as $$
begin
  insert into wa.campaign_deltas (campaign, kind, code, n)
  select m.campaign, s.kind, s.code, sum(m.n)
  from (select *, -1 as n from was where campaign <> 0 union all select *, 1 from became where campaign <> 0) m
  cross join lateral wa.campaign_standing(m.state, m.suppressed, m.sent_at, m.delivered_at, coalesce(m.read_at, m.played_at),
    m.failed_at, m.error_code) s
  group by m.campaign, s.kind, s.code
  having sum(m.n) <> 0;
  return null;
end
$$;
create trigger result_moves_are_counted after update on wa.results
referencing old table as was new table as became
for each statement execute function wa.result_moves_are_counted();

-- A wamid ends its message: there is no state in which a wamid is known and a row is left that could be sent.
create function wa.acceptance_ends_the_message() returns trigger
language plpgsql security definer set search_path = pg_catalog as $$
begin
  insert into wa.results as r (id, sender, state, wamid, wa_id, message_status, attempts, campaign, in_sequence, ended_at)
  select distinct on (f.id, f.sender) f.id, f.sender, 'accepted', f.wamid, f.wa_id, f.message_status,
    coalesce(q.attempts, u.attempts, f.attempt), coalesce(q.campaign, u.campaign, 0), coalesce(q.in_sequence, u.in_sequence, false),
    f.learned_at
  from fresh f
  left join wa.queue q on q.id = f.id and q.sender = f.sender
  left join wa.uncertain u on u.id = f.id and u.sender = f.sender
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

  -- Two ids learned in one statement meet only here.
  update wa.results r set duplicate = coalesce(r.duplicate, twice.cause)
  from (select id, sender, case when count(distinct attempt) = 1 then 'transport_retry' else 'resend' end as cause
        from fresh group by id, sender having count(*) > 1) twice
  where r.id = twice.id and r.sender = twice.sender;

  -- What was in doubt about these requests is settled.
  update wa.attempts a set settled_by = f.learned_from, settled_at = f.learned_at
  from fresh f
  where a.id = f.id and a.sender = f.sender and a.attempt = f.attempt and a.outcome = 'uncertain' and a.settled_by is null;
  return null;
end
$$;
create trigger acceptance_ends_the_message after insert on wa.acceptances
referencing new table as fresh
for each statement execute function wa.acceptance_ends_the_message();

-- A result takes its message out of wherever it stood. One statement looks everywhere, so it meets the message in one place; if
-- the message was moving at that moment the row it met is gone once the mover has committed, and the next look, which sees
-- where it went, follows. An ordinary result needs one look.
create function wa.result_closes_the_message() returns trigger
language plpgsql security definer set search_path = pg_catalog as $$
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
create trigger result_closes_the_message after insert on wa.results
referencing new table as fresh
for each statement execute function wa.result_closes_the_message();

-- What becomes uncertain leaves the queue, and only what leaves the queue becomes uncertain: a doubt about anything but the
-- request that is out (its message has ended meanwhile, or was never sent) is dropped. So a message is in one place at a time,
-- and no doubt can lead an accepted one back.
create function wa.doubt_leaves_the_queue() returns trigger
language plpgsql security definer set search_path = pg_catalog as $$
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
create trigger doubt_leaves_the_queue after insert on wa.uncertain
referencing new table as fresh
for each statement execute function wa.doubt_leaves_the_queue();

-- The ways back from a doubt into the queue, each for the request it names, so that a call that comes late cannot send again what
-- has been sent again since. No way back for a message that has a result: its row here is gone by then. A member of a sequence that
-- has gone on without it stays, so that it cannot arrive behind its successors.
create function wa.back_to_the_queue(
  ids bigint[], of_attempts integer[], refunds integer[], delays double precision[], reasons text[],
  is_resend boolean, by_whom text, note text
) returns setof bigint
language sql set search_path = pg_catalog as $$
  with gone as (
    delete from wa.uncertain u using unnest(ids, of_attempts, refunds, delays, reasons) as m (id, attempt, refund, delay, reason)
    where u.id = m.id and u.attempt = m.attempt and not u.passed
      and not exists (select from wa.results r where r.id = u.id and r.sender = u.sender)
    returning u.*, m.refund, m.delay, m.reason
  ), settled as (
    update wa.attempts a set settled_by = by_whom, settled_at = now(), settled_note = note
    from gone g
    where a.id = g.id and a.sender = g.sender and a.attempt = g.attempt and a.settled_by is null
  ), counted as (
    insert into wa.campaign_deltas (campaign, kind, n)
    select g.campaign, m.kind, sum(m.n)
    from gone g cross join (values ('uncertain', -1), ('queued', 1)) m (kind, n)
    where g.campaign <> 0
    group by g.campaign, m.kind
  )
  insert into wa.queue (id, sender, campaign, priority, due_at, expires_at, in_sequence, attempt, attempts, resends, waiting_for)
  select id, sender, campaign, priority, clock_timestamp() + make_interval(secs => delay), expires_at, in_sequence, attempt,
    attempts - refund, resends + is_resend::integer, reason
  from gone
  returning id
$$;

-- Sends uncertain messages again.
create function wa.resend(ids bigint[], of_attempts integer[], why text) returns setof bigint
language sql security definer set search_path = pg_catalog as $$
  select wa.back_to_the_queue(ids, of_attempts, array_fill(0, array[cardinality(ids)]), array_fill(0.0::float8, array[cardinality(ids)]),
    array_fill(why, array[cardinality(ids)]), true, 'policy', 'sent again')
$$;

-- Puts back what was uncertain only because nobody knew that its request was not accepted: the one that sent it has come back and
-- says so. As on the ordinary way from `sending` it is no resend, may be refunded, and waits as long as it was told to.
create function wa.put_back(ids bigint[], of_attempts integer[], refunds integer[], delays double precision[], reasons text[])
returns setof bigint
language sql security definer set search_path = pg_catalog as $$
  select wa.back_to_the_queue(ids, of_attempts, refunds, delays, reasons, false, 'worker', 'it was not accepted')
$$;

revoke execute on function
  wa.back_to_the_queue(bigint[], integer[], integer[], double precision[], text[], boolean, text, text),
  wa.resend(bigint[], integer[], text), wa.put_back(bigint[], integer[], integer[], double precision[], text[]) from public;
grant execute on function wa.resend(bigint[], integer[], text),
  wa.put_back(bigint[], integer[], integer[], double precision[], text[]) to wa_worker;

grant insert (sender, recipient, recipient_kind, payload, variables, campaign_id, priority, due_at, expires_at, sequence, dedup_key,
  on_uncertain, reference) on wa.outbox to wa_producer, wa_worker;
grant select on wa.outbox to wa_producer, wa_worker, wa_viewer;

-- The worker may move a message on its way, but neither put one into the queue nor take one out: that is done by the books.
grant select, update (due_at, state, attempt, attempts, epoch, begun_at, deadline, waiting_for) on wa.queue to wa_worker;
grant select, insert, update (needs_person, waiting_for, doubt, may_resend) on wa.uncertain to wa_worker;
grant select, insert on wa.acceptances to wa_worker;
grant select, insert, update (sent_at, delivered_at, read_at, played_at, failed_at, error_code, error_message) on wa.results to wa_worker;
grant select, insert, update on wa.attempts to wa_worker;
grant select on wa.waiting, wa.sequences to wa_worker;
grant select on wa.queue, wa.uncertain, wa.acceptances, wa.results, wa.attempts, wa.waiting, wa.sequences, wa.campaign_deltas
  to wa_producer, wa_viewer;
grant select, insert, delete on wa.campaign_deltas to wa_worker;
