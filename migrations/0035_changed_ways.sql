-- What was learned of the way of a sender's requests ends with it.

-- Whether callback data comes back is told by a provider, and learned of one that may. A sender that is moved to another one has lost answers
-- of the way before: nothing that is known of the new one says what their silence means, so they are left to a person.
alter table wa.senders add column way_changed_at timestamptz;
comment on column wa.senders.way_changed_at is 'since then all requests go by this provider, base_url and path; null: since ever';

create function wa.sender_goes_another_way() returns trigger
language plpgsql security definer set search_path = pg_catalog as $$
begin
  -- Who was never worked has sent nothing. Else workers take it up within two seconds, or lose the sender before this has passed.
  if exists (select from wa.leases l where l.sender = new.sender and l.epoch > 0) then
    new.way_changed_at := clock_timestamp() + interval '1 minute';
  end if;
  update wa.webhook_flow f set echoes = false where f.sender = new.sender and f.echoes;
  return new;
end
$$;
create trigger sender_goes_another_way before update on wa.senders
for each row when ((new.provider, new.base_url, new.path) is distinct from (old.provider, old.base_url, old.path))
execute function wa.sender_goes_another_way();

-- Ends rows of a campaign whose recipients are left out. (Of campaign 0 are the messages of none: those are cancelled by wa.cancel, which
-- settles their sequences.)
create or replace function wa.leave_out(of_campaign bigint, messages bigint[], reasons text[]) returns bigint
language plpgsql security definer set search_path = pg_catalog set enable_seqscan = off as $$
declare
  left_out bigint;
begin
  with asked as materialized (
    select q.id, q.sender, q.attempts, q.campaign from wa.queue q
    where q.id = any (messages) and q.campaign = of_campaign and of_campaign <> 0 and q.state = 'queued'
    order by q.id
    for update
  ), ended as (
    insert into wa.results (id, sender, state, attempts, campaign, error_message)
    select a.id, a.sender, 'cancelled', a.attempts, a.campaign, n.reason
    from asked a join unnest(messages, reasons) as n (id, reason) on n.id = a.id
    on conflict do nothing
    returning id
  )
  select count(*) into left_out from ended;
  return left_out;
end
$$;

-- Ends all that waits in a sequence, and lifts a halt: what is written from now on starts anew. So the head is passed where it has ended,
-- whichever member had halted the sequence.
create or replace function wa.cancel_sequence(sender text, recipient text, sequence text, author text, reason text) returns bigint
language plpgsql security definer set search_path = pg_catalog set enable_seqscan = off set jit = off as $$
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
  if gate.head_id = gate.halted_member or wa.member_standing(gate.head_id) in ('cancelled', 'failed', 'expired') then
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
