-- How a message is read, cancelled and written by hand.

create view wa.messages as
select
  o.id, o.sender, o.recipient,
  case
    when r.id is not null then r.state
    when q.state = 'queued' and q.campaign <> 0 then coalesce(wa.campaign_end_of_rows(c), q.state)
    when q.id is not null then q.state
    when u.id is not null then 'uncertain'
    else 'waiting'
  end as state,
  case
    when r.played_at is not null then 'played'
    when r.read_at is not null then 'read'
    when r.delivered_at is not null then 'delivered'
    when r.failed_at is not null and r.state = 'accepted' then 'failed'
    when r.sent_at is not null then 'sent'
  end as status,
  r.wamid,
  coalesce(r.attempts, q.attempts, u.attempts, 0) as attempts,
  case
    when r.id is not null then null
    when q.state = 'sending' then 'the answer to request ' || q.attempt
    when u.id is not null then u.waiting_for
    when q.campaign <> 0 and wa.campaign_end_of_rows(c) is not null then null
    when q.campaign <> 0 and wa.campaign_hold_in_words(c) is not null then wa.campaign_hold_in_words(c)
    when q.id is not null and s.held_reason is not null and (s.held_until is null or s.held_until > now())
      then 'its sender, held: ' || s.held_reason
    when q.id is not null and l.problem is not null then l.problem
    when q.id is not null and case when q.due_at < timestamptz '9999-01-01 00:00:00+00' then q.due_at else o.due_at end > now()
      then coalesce(q.waiting_for, 'its due time')
    when q.id is not null then coalesce(
      wa.template_hold_in_words(o.sender, coalesce(o.payload, c.payload)),
      case when l.worker is null then 'a worker: none has this sender' end,
      -- Whether it is quiet there, its worker finds out when its turn has come, and writes it into the row.
      case when q.campaign <> 0 then 'its turn, outside the quiet hours ' || c.quiet_hours || ' of its campaign' end,
      'its turn')
    when g.halted_reason is not null then format('sequence %L, halted: %s', o.sequence, g.halted_reason)
    else format('message %s in sequence %L to be delivered', g.head_id, o.sequence)
  end as waiting_for,
  r.error_code,
  case when r.id is null and q.state = 'queued' and q.campaign <> 0 then wa.campaign_end_in_words(c) else r.error_message end
    as error_message,
  case when q.campaign <> 0 then c.priority else o.priority end as priority,
  case when q.due_at >= timestamptz '9999-01-01 00:00:00+00' then o.due_at else coalesce(q.due_at, o.due_at) end as due_at,
  o.expires_at, o.sequence, o.campaign_id, o.dedup_key, o.reference, o.created_at,
  case when r.state = 'accepted' then r.ended_at end as accepted_at,
  r.sent_at, r.delivered_at, r.read_at,
  case when r.state = 'failed' then r.ended_at else r.failed_at end as failed_at,
  o.recipient_kind, r.wa_id, r.message_status, r.played_at, r.duplicate,
  r.failed_at is not null and coalesce(r.delivered_at, r.read_at, r.played_at) is not null as status_conflict,
  coalesce(r.ended_at, u.since, q.begun_at) as changed_at
from wa.outbox o
left join wa.results r on r.id = o.id and r.sender = o.sender
left join wa.queue q on q.id = o.id and q.sender = o.sender and r.id is null
left join wa.uncertain u on u.id = o.id and u.sender = o.sender and r.id is null
left join wa.senders s on s.sender = o.sender
left join wa.leases l on l.sender = o.sender
left join wa.sequences g on g.sender = o.sender and g.recipient = o.recipient and g.sequence = o.sequence
left join wa.campaigns c on c.id = o.campaign_id;
comment on view wa.messages is 'every message and where it stands: state is ours, status is WhatsApp''s';
grant select on wa.messages to wa_producer, wa_worker, wa_viewer;

-- Cancels a message that has not been begun. Returns its id; anything else is an error that says what is the case.
create function wa.cancel(message bigint) returns bigint
language plpgsql security definer set search_path = pg_catalog as $$
declare
  found_state text;
begin
  select state into found_state from wa.queue where id = message for update;
  if found_state is null then
    -- A member that waits may be set free at this moment: then it is in the queue once its sequence is ours.
    perform wa.lock_sequences(array[message]);
    select state into found_state from wa.queue where id = message for update;
  end if;
  if found_state = 'queued' then
    insert into wa.results (id, sender, state, attempts, campaign, in_sequence, error_message)
    select id, sender, 'cancelled', attempts, campaign, in_sequence, 'cancelled by ' || session_user from wa.queue where id = message;
    return message;
  end if;
  if found_state is null then
    insert into wa.results (id, sender, state, attempts, in_sequence, error_message)
    select w.id, w.sender, 'cancelled', 0, true, 'cancelled by ' || session_user
    from wa.outbox o join wa.waiting w on (w.sender, w.recipient, w.sequence, w.id) = (o.sender, o.recipient, o.sequence, o.id)
    where o.id = message;
    if found then
      return message;
    end if;
    select state into found_state from wa.messages where id = message;
  end if;
  if found_state is null then
    raise exception using errcode = 'no_data_found', message = format('there is no message %s', message);
  end if;
  raise exception using errcode = 'object_not_in_prerequisite_state',
    message = format('message %s is %s and cannot be cancelled any more', message, found_state),
    hint = case when found_state in ('sending', 'uncertain') then 'it may have reached WhatsApp already' else 'it has ended' end
      || '; see: wa-outbox message show ' || message;
end
$$;
revoke execute on function wa.cancel(bigint) from public;
grant execute on function wa.cancel(bigint) to wa_producer, wa_worker;

create function wa.enqueue_text(
  recipient text, body text, sender text default null, priority smallint default 5, due_at timestamptz default now(),
  expires_at timestamptz default null, sequence text default null, dedup_key text default null, reference text default null,
  preview_url boolean default false
) returns bigint
language sql as $$
  insert into wa.outbox (sender, recipient, payload, priority, due_at, expires_at, sequence, dedup_key, reference)
  values (sender, recipient, json_build_object('type', 'text', 'text', json_build_object('preview_url', preview_url, 'body', body)),
          priority, due_at, expires_at, sequence, dedup_key, reference)
  returning id
$$;

create function wa.enqueue_template(
  recipient text, name text, language text, components json default '[]', sender text default null, priority smallint default 5,
  due_at timestamptz default now(), expires_at timestamptz default null, sequence text default null, dedup_key text default null,
  reference text default null
) returns bigint
language sql as $$
  insert into wa.outbox (sender, recipient, payload, priority, due_at, expires_at, sequence, dedup_key, reference)
  values (sender, recipient,
          json_build_object('type', 'template', 'template',
            json_build_object('name', name, 'language', json_build_object('code', language), 'components', components)),
          priority, due_at, expires_at, sequence, dedup_key, reference)
  returning id
$$;

-- A worker checks at its start that the schema is its own. (The table is made by what applies the migrations.)
do $$
begin
  if to_regclass('wa.migrations') is not null then
    grant select on wa.migrations to wa_worker, wa_viewer;
  end if;
end
$$;
