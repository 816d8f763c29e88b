-- News from WhatsApp: deliveries as they came, and the statuses found in them.

create table wa.webhook_inbox (
  id bigint generated always as identity primary key,
  received_at timestamptz not null default clock_timestamp(),
  body bytea not null,
  state text not null default 'pending'
    constraint a_delivery_is_pending_applied_or_bad check (state in ('pending', 'applied', 'bad')),
  applied_at timestamptz,
  statuses integer,
  bad_entries json
);
comment on column wa.webhook_inbox.bad_entries is 'what could not be read, by place and reason; the rest of the delivery was applied';
create index webhook_inbox_pending on wa.webhook_inbox (received_at, id) where state = 'pending';

create table wa.status_events (
  event bigint generated always as identity primary key,
  id bigint,
  sender text,
  attempt integer,
  wamid text not null,
  status text not null,
  occurred_at timestamptz not null,
  received_at timestamptz not null,
  error_code bigint,
  error_title text,
  error_details text,
  callback_data text,
  inbox_id bigint
);
comment on table wa.status_events is 'every status as it came; id is null while its wamid is unknown to us';
comment on column wa.status_events.callback_data is 'the application''s own biz_opaque_callback_data, handed back';
create index status_events_by_message on wa.status_events (id, sender) where id is not null;
create index status_events_unmatched on wa.status_events (received_at) where id is null;

-- Whether webhooks flow: what the evidence clock of an uncertain message asks.
create table wa.webhook_flow (
  sender text primary key,
  last_status_at timestamptz not null,
  accepted_watermark timestamptz,
  echoes boolean not null default false
) with (fillfactor = 50);
comment on column wa.webhook_flow.accepted_watermark is 'acceptance time of the latest accepted message of which a status has been seen';

comment on column wa.webhook_flow.echoes is 'a status has brought our callback data back';

-- Whether anybody receives: the evidence clock does not run while nobody does. One row for all receivers, told anew every few
-- seconds; it is silent about WhatsApp, which may not find us although we listen.
create table wa.webhook_listening (
  is_only boolean primary key default true constraint there_is_one_row check (is_only),
  since timestamptz not null,
  last_said_at timestamptz not null
) with (fillfactor = 50);
comment on column wa.webhook_listening.since is 'from then on somebody has listened without a break';
comment on column wa.webhook_listening.last_said_at is 'when a receiver last said that it listens';

-- What WhatsApp calls our numbers where it does not name the id that they send by: told by the webhooks about their messages.
create table wa.sender_numbers (
  sender text primary key references wa.senders,
  account text,
  number text,
  restored_at timestamptz
);
comment on table wa.sender_numbers is 'learned from webhooks: to whom news about accounts and numbers belongs';
comment on column wa.sender_numbers.account is 'the WhatsApp Business Account';
comment on column wa.sender_numbers.number is 'the digits of the phone number';
comment on column wa.sender_numbers.restored_at is 'when WhatsApp last said that its account is in order again: older bad news is over';

-- Whose news about an account, or about a number of it, is. Where nobody is known to be meant, it may be about those of whom nothing
-- is known that speaks against it.
create function wa.senders_meant(of_account text, of_number text) returns table (sender text, is_certain boolean, restored_at timestamptz)
language sql stable as $$
  with told as materialized (
    select s.sender, n.restored_at,
      case when of_number is null then coalesce(n.account = of_account, false)
        else ltrim(s.sender, '+') = of_number or coalesce(n.number = of_number, false) end as is_certain,
      s.provider <> 'on_premises' and coalesce(n.account = of_account, true) and coalesce(n.number = of_number, true) as is_possible
    from wa.senders s left join wa.sender_numbers n on n.sender = s.sender
  )
  select t.sender, t.is_certain, t.restored_at from told t
  where t.is_certain or t.is_possible and not exists (select from told k where k.is_certain)
$$;

grant select, insert, update on wa.webhook_inbox to wa_worker;
grant select, insert, update (id, sender, attempt) on wa.status_events to wa_worker;
grant select, insert, update on wa.webhook_flow, wa.webhook_listening, wa.sender_numbers to wa_worker;
grant select on wa.status_events to wa_producer, wa_viewer;
grant select on wa.webhook_inbox, wa.webhook_flow, wa.webhook_listening, wa.sender_numbers to wa_viewer;
