-- What a person, or an application, may do about a sequence, and how its standing is read. Each is one function that takes the
-- line's lock (see the migration sequences); what overrides a setting is written down with author and reason.

-- Finds a sequence by its three names and locks it; the recipient may be written with separators.
create function wa.sequence_for_update(of_sender text, of_recipient text, of_sequence text) returns wa.sequences
language plpgsql set search_path = pg_catalog as $$
declare
  gate wa.sequences;
begin
  select s.* into gate from wa.sequences s
  where (s.sender, s.recipient, s.sequence) = (of_sender, wa.plain_recipient(of_recipient), of_sequence)
  for update;
  if not found then
    raise exception using errcode = 'no_data_found',
      message = format('there is no sequence %s of this recipient and sender %s', wa.shown(of_sequence), wa.shown(of_sender)),
      hint = 'see which there are: wa-outbox sequence list --all';
  end if;
  return gate;
end
$$;

-- A recipient as it is stored: a phone number without its separators, an id as it is.
create function wa.plain_recipient(recipient text) returns text
language sql immutable security definer set search_path = pg_catalog as $$
  select case when recipient ~ '^\s*\+' then wa.checked_recipient(recipient, 'phone') else recipient end
$$;

-- Sets what is given of a sequence, which need not exist yet; what is left out stays as it is. 'default', and an interval of 0,
-- give a setting back to the sender. A halt that stands is not changed by it.
create function wa.set_sequence(
  sender text, recipient text, sequence text,
  on_failure text default null, delivery_timeout interval default null, on_timeout text default null,
  author text default session_user, reason text default 'set by SQL'
) returns void
language plpgsql security definer set search_path = pg_catalog as $$
#variable_conflict use_column
declare
  gate wa.sequences;
begin
  if not exists (select from wa.senders s where s.sender = set_sequence.sender) then
    perform wa.refuse('sender', format('sender %s does not exist', wa.shown(set_sequence.sender)), 'see which there are: wa-outbox sender list');
  end if;
  if set_sequence.sequence is null or length(set_sequence.sequence) not between 1 and 100 then
    perform wa.refuse('sequence', format('sequence is %s', wa.shown(set_sequence.sequence)), 'use 1 to 100 characters');
  end if;
  if set_sequence.on_failure not in ('halt', 'skip', 'default') then
    perform wa.refuse('on_failure', format('on_failure is %s', wa.shown(set_sequence.on_failure)), 'use halt, skip or default');
  end if;
  if set_sequence.on_timeout not in ('halt', 'proceed', 'default') then
    perform wa.refuse('on_timeout', format('on_timeout is %s', wa.shown(set_sequence.on_timeout)), 'use halt, proceed or default');
  end if;
  if coalesce(set_sequence.recipient, '') = '' then
    perform wa.refuse('recipient', 'recipient is missing', 'write the phone number with its country code, e.g. +16505551234');
  end if;
  insert into wa.sequences as s (sender, recipient, sequence)
  values (set_sequence.sender, wa.plain_recipient(set_sequence.recipient), set_sequence.sequence)
  on conflict (sender, recipient, sequence) do nothing;
  gate := wa.sequence_for_update(set_sequence.sender, set_sequence.recipient, set_sequence.sequence);
  update wa.sequences s
  set on_failure = nullif(coalesce(set_sequence.on_failure, s.on_failure), 'default'),
    delivery_timeout = nullif(coalesce(set_sequence.delivery_timeout, s.delivery_timeout), '0'),
    on_timeout = nullif(coalesce(set_sequence.on_timeout, s.on_timeout), 'default'),
    -- The head may be overdue by now, or not yet.
    look_at = case when s.head_id is not null then now() else s.look_at end
  where (s.sender, s.recipient, s.sequence) = (gate.sender, gate.recipient, gate.sequence);
  perform wa.note_sequence_event(gate, 'set', null, set_sequence.author, set_sequence.reason);
end
$$;

-- Lifts a halt by a person's word: the message that halted the sequence is no longer waited for, and the next one leaves.
create function wa.resume_sequence(sender text, recipient text, sequence text, author text, reason text) returns boolean
language plpgsql security definer set search_path = pg_catalog as $$
declare
  gate wa.sequences := wa.sequence_for_update(sender, recipient, sequence);
  member bigint := gate.halted_member;
begin
  if member is null then
    return false;
  end if;
  perform wa.note_sequence_event(gate, 'resumed', member, author, reason);
  gate := wa.lifted(gate);
  if gate.head_id = member then
    gate := wa.passed(gate);
  end if;
  perform wa.keep_gate(wa.advanced(gate));
  perform wa.wake_owners(array[gate.sender]);
  return true;
end
$$;

-- Goes on without the head by a person's word: what has left is no longer waited for, what has not is cancelled. Lifts a halt.
-- Says what was done: passed, cancelled, sending (nothing: its request is out), nothing (there is none).
create function wa.skip_head(sender text, recipient text, sequence text, author text, reason text) returns text
language plpgsql security definer set search_path = pg_catalog as $$
declare
  gate wa.sequences := wa.sequence_for_update(sender, recipient, sequence);
  head bigint := gate.head_id;
  head_state text;
begin
  if head is null and gate.halted_cause is null then
    return 'nothing';
  end if;
  select q.state into head_state from wa.queue q where q.id = head and q.sender = gate.sender for update;
  if head_state = 'sending' then
    return 'sending';
  end if;
  perform wa.note_sequence_event(gate, 'skipped', coalesce(head, gate.halted_member), author, reason);
  if gate.halted_cause is not null then
    gate := wa.lifted(gate);
  end if;
  if head_state = 'queued' then
    -- Passed first, for a member that is cancelled in front would halt the others. Its end sets the next one free.
    perform wa.keep_gate(wa.passed(gate));
    insert into wa.results (id, sender, state, attempts, in_sequence, error_message)
    select q.id, q.sender, 'cancelled', q.attempts, true, format('cancelled by %s: %s', author, reason)
    from wa.queue q where q.id = head and q.sender = gate.sender;
    return 'cancelled';
  end if;
  if head is not null then
    gate := wa.passed(gate);
  end if;
  perform wa.keep_gate(wa.advanced(gate));
  perform wa.wake_owners(array[gate.sender]);
  return 'passed';
end
$$;

-- Cancels every member that has not been begun, and lifts a halt: what is written from now on starts anew. Says how many.
create function wa.cancel_sequence(sender text, recipient text, sequence text, author text, reason text) returns bigint
language plpgsql security definer set search_path = pg_catalog as $$
declare
  gate wa.sequences := wa.sequence_for_update(sender, recipient, sequence);
  why text := format('cancelled by %s: %s', author, reason);
  of_waiting bigint;
  of_queued bigint;
begin
  -- Those that wait first: the end of the head would set the next one free.
  insert into wa.results (id, sender, state, attempts, in_sequence, error_message)
  select w.id, w.sender, 'cancelled', 0, true, why from wa.waiting w
  where (w.sender, w.recipient, w.sequence) = (gate.sender, gate.recipient, gate.sequence);
  get diagnostics of_waiting = row_count;
  perform from wa.queue q where q.id = gate.head_id and q.sender = gate.sender for update;
  insert into wa.results (id, sender, state, attempts, in_sequence, error_message)
  select q.id, q.sender, 'cancelled', q.attempts, true, why from wa.queue q
  where q.id = gate.head_id and q.sender = gate.sender and q.state = 'queued';
  get diagnostics of_queued = row_count;

  gate := wa.sequence_for_update(gate.sender, gate.recipient, gate.sequence);
  if gate.head_id = gate.halted_member or wa.member_standing(gate.head_id) = 'cancelled' then
    gate := wa.passed(gate);
  end if;
  if gate.halted_cause is not null then
    gate := wa.lifted(gate);
  end if;
  perform wa.keep_gate(gate);
  perform wa.note_sequence_event(gate, 'cancelled', null, author, reason);
  return of_waiting + of_queued;
end
$$;

-- Where sequences stand: their heads, what they wait for, until when, and why they are halted.
create view wa.sequence_standings as
select s.sender, s.recipient, s.sequence,
  s.head_id, s.head_since, m.state as head_state, m.status as head_status, m.waiting_for as head_waits_for,
  m.accepted_at as head_accepted_at, m.kind as head_kind,
  coalesce(m.delivery_timeout, c.delivery_timeout) as delivery_timeout,
  case when s.halted_cause is null then m.accepted_at + m.delivery_timeout end as timeout_at,
  c.on_failure, c.on_timeout,
  s.halted_cause, s.halted_member, s.halted_reason, s.halted_at,
  (select min(w.id) from wa.waiting w
   where (w.sender, w.recipient, w.sequence) = (s.sender, s.recipient, s.sequence)) as next_id,
  (select count(*) from (
     select from wa.waiting w where (w.sender, w.recipient, w.sequence) = (s.sender, s.recipient, s.sequence) limit 10001) counted)
    as waiting
from wa.sequences s
cross join lateral wa.sequence_settings(s) c
left join lateral (
  select x.state, x.status, x.waiting_for, x.accepted_at, wa.message_kind(o.payload) as kind,
    wa.delivery_timeout(s, s.head_id) as delivery_timeout
  from wa.messages x join wa.outbox o on o.id = x.id and o.sender = x.sender
  where x.id = s.head_id and x.sender = s.sender
) m on true;
comment on view wa.sequence_standings is 'where sequences stand; timeout_at: when the delivery of the head is overdue; waiting: counted to 10,001';

revoke execute on function wa.sequence_for_update(text, text, text),
  wa.set_sequence(text, text, text, text, interval, text, text, text), wa.resume_sequence(text, text, text, text, text),
  wa.skip_head(text, text, text, text, text), wa.cancel_sequence(text, text, text, text, text)
from public;
grant execute on function wa.set_sequence(text, text, text, text, interval, text, text, text),
  wa.resume_sequence(text, text, text, text, text), wa.skip_head(text, text, text, text, text),
  wa.cancel_sequence(text, text, text, text, text) to wa_producer, wa_worker;
grant select on wa.sequence_standings to wa_producer, wa_worker, wa_viewer;
