-- A halt may be older than what is known: a message left to a person is sent again, or its request turns out never to have left, while
-- somebody keeps the line's lock, so settling it is left for the next look. A head that is in the queue again is never passed, for it
-- leaves: what waited behind it would leave with it, or before it.

-- The head is behind us, unless it is in the queue: then the gate stays as it is. One that is uncertain is marked, so that it is never
-- sent again: its successors may have left by then. Whoever puts it back or takes it out meanwhile is waited for at its row.
create or replace function wa.passed(gate wa.sequences) returns wa.sequences
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  loop
    update wa.uncertain u
    set passed = true, needs_person = true,
      waiting_for = 'a person: its sequence has gone on, so it is not sent again; see: wa-outbox uncertain resolve ' || u.id
    where u.id = gate.head_id and u.sender = gate.sender;
    exit when found;
    perform from wa.queue q where q.id = gate.head_id and q.sender = gate.sender for update;
    if found then
      return gate;
    end if;
    -- It has ended, or has become uncertain between the two.
    exit when not exists (select from wa.uncertain u where u.id = gate.head_id and u.sender = gate.sender);
  end loop;
  gate.passed_id := gate.head_id;
  gate.head_id := null;
  gate.head_since := null;
  return gate;
end
$$;

-- As before (the migration sequences); but what is not passed is not noted as such.
create or replace function wa.settle_gate(gate wa.sequences, ids bigint[], ended bigint[]) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
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
        gate := wa.passed(gate);
        if gate.head_id is null then
          perform wa.note_sequence_event(gate, 'passed_over', head, 'wa-outbox',
            'on_failure is skip: ' || wa.halt_in_words(gate.sender, head, cause, null));
        end if;
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

-- As before (the migration sequence_verbs); but a head that is queued is taken out of the way here, for wa.passed leaves it.
create or replace function wa.skip_head(sender text, recipient text, sequence text, author text, reason text) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off as $$
declare
  gate wa.sequences := wa.sequence_for_update(sender, recipient, sequence);
  head bigint := gate.head_id;
  skipped bigint := coalesce(gate.head_id, gate.halted_member);
  head_state text;
begin
  if head is null and gate.halted_cause is null then
    return 'nothing';
  end if;
  if head is not null then
    gate := wa.passed(gate);
  end if;
  if gate.head_id is not null then
    -- wa.passed has locked its row in the queue.
    select q.state into head_state from wa.queue q where q.id = head and q.sender = gate.sender;
    if head_state = 'sending' then
      return 'sending';
    end if;
    gate.passed_id := head;
    gate.head_id := null;
    gate.head_since := null;
  end if;
  perform wa.note_sequence_event(gate, 'skipped', skipped, author, reason);
  if gate.halted_cause is not null then
    gate := wa.lifted(gate);
  end if;
  if head_state = 'queued' then
    -- The gate is kept first, for a member that is cancelled in front would halt the others. Its end sets the next one free.
    perform wa.keep_gate(gate);
    insert into wa.results (id, sender, state, attempts, in_sequence, error_message)
    select q.id, q.sender, 'cancelled', q.attempts, true, format('cancelled by %s: %s', author, reason)
    from wa.queue q where q.id = head and q.sender = gate.sender;
    return 'cancelled';
  end if;
  perform wa.keep_gate(wa.advanced(gate));
  perform wa.wake_owners(array[gate.sender]);
  return 'passed';
end
$$;
