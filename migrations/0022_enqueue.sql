-- A row of the outbox is checked and queued for less: measured, an INSERT of one row took 225 us of a server's CPU and takes 75, one of many
-- rows 19 us a row and takes 15 (a table with the same keys and no trigger: 20 and 5).
--
-- Most of it was the condition of the trigger. PostgreSQL prepares such a condition anew for every statement, and that of a function in SQL
-- includes reading its text, to put it in place of its call. A function in PL/pgSQL is left as it is, and its own expressions are prepared
-- once a session.

-- Whether a row needs a second look: to be mended, refused, or put into a sequence. An ordinary one pays for nothing else.
create function wa.row_is_unusual(
  sender text, recipient text, recipient_kind text, payload json, variables jsonb, campaign_id bigint, priority smallint, due_at timestamptz,
  expires_at timestamptz, sequence text, dedup_key text, on_uncertain text, reference text
) returns boolean
language plpgsql immutable parallel safe as $$
begin
  return sender is null
    or recipient_kind is distinct from 'phone'
    or recipient is null or recipient !~ '^\+[1-9][0-9]{6,14}$'
    or campaign_id is null and (payload is null or wa.payload_is_plain(payload) is not true or variables is not null)
    or priority is null or priority not between 0 and 9
    or due_at is null or due_at not between '1970-01-01 00:00Z' and '9999-12-31 00:00Z'
    or expires_at <= due_at or expires_at > '9999-12-31 00:00Z'
    or on_uncertain is not null and on_uncertain not in ('retry', 'hold')
    or sequence is not null
    or dedup_key is not null and length(dedup_key) not between 1 and 200
    or reference is not null and length(reference) > 200;
end
$$;

create or replace trigger outbox_row_is_checked before insert on wa.outbox
for each row
when (wa.row_is_unusual(new.sender, new.recipient, new.recipient_kind, new.payload, new.variables, new.campaign_id, new.priority, new.due_at,
  new.expires_at, new.sequence, new.dedup_key, new.on_uncertain, new.reference))
execute function wa.outbox_row_is_checked();

-- As before; but what the pattern finds has one of a few fixed texts in it, and to see that there is none of them takes half the time.
create or replace function wa.payload_is_plain(payload json) returns boolean
language sql immutable parallel safe as $$
  select case
    when octet_length(payload::text) > 1048576 then false
    when (payload::text like '%\\u%' or payload::text like '%"to"%' or payload::text like '%"recipient%'
        or payload::text like '%"messaging\_product"%' or payload::text like '%"biz\_opaque%' or payload::text like '%""%' or payload::text like '%null%')
      and payload::text ~ '\\u(00[0-7]|[dD][89a-fA-F])|"(to|recipient|recipient_type|messaging_product|biz_opaque_callback_data)"|"(body|name|code)"\s*:\s*(null|"")' then false
    when json_typeof(payload) = 'object' then
      case payload ->> 'type'
        when 'text' then json_typeof(payload -> 'text' -> 'body') = 'string' and length(payload::text) <= 4096
        when 'template' then payload -> 'template' ->> 'name' ~ '^[a-z0-9_]+$'
        when 'interactive' then json_typeof(payload -> 'interactive' -> 'type') = 'string'
        when 'image' then (coalesce(payload -> 'image' ->> 'id', '') = '') <> (coalesce(payload -> 'image' ->> 'link', '') = '')
        when 'video' then (coalesce(payload -> 'video' ->> 'id', '') = '') <> (coalesce(payload -> 'video' ->> 'link', '') = '')
        when 'document' then (coalesce(payload -> 'document' ->> 'id', '') = '') <> (coalesce(payload -> 'document' ->> 'link', '') = '')
        when 'audio' then (coalesce(payload -> 'audio' ->> 'id', '') = '') <> (coalesce(payload -> 'audio' ->> 'link', '') = '')
        when 'sticker' then (coalesce(payload -> 'sticker' ->> 'id', '') = '') <> (coalesce(payload -> 'sticker' ->> 'link', '') = '')
        when 'location' then payload -> 'location' ->> 'latitude' is not null and payload -> 'location' ->> 'longitude' is not null
        when 'reaction' then payload -> 'reaction' ->> 'message_id' <> '' and payload -> 'reaction' ->> 'emoji' is not null
        when 'pin' then json_typeof(payload -> 'pin') = 'object'
      end
  end
$$;

-- As before; but one look at the new rows says what there is to be done, and nobody is looked for who could be called while nobody sleeps.
create or replace function wa.outbox_rows_are_queued() returns trigger
language plpgsql security definer set search_path = pg_catalog as $$
declare
  stranger text;
  of_campaigns boolean;
  in_sequences boolean;
begin
  select min(f.sender) filter (where s.sender is null), bool_or(f.campaign_id is not null), bool_or(f.sequence is not null)
  into stranger, of_campaigns, in_sequences
  from fresh f left join wa.senders s on s.sender = f.sender;
  if stranger is not null then
    perform wa.refuse('sender', format('sender %s does not exist', wa.shown(stranger)),
      'add it: wa-outbox sender add PHONE_NUMBER_ID --credential env:NAME; known senders: '
      || coalesce((select string_agg(sender, ', ') from (select sender from wa.senders order by sender limit 5) s), 'none'));
  end if;

  -- In the lane of a campaign one priority counts, the campaign's of the day, so it is not written into each of its rows.
  insert into wa.queue (id, sender, priority, due_at, expires_at, campaign)
  select id, sender, case when campaign_id is null then priority else 0 end, due_at, expires_at, coalesce(campaign_id, 0)
  from fresh where sequence is null;

  if of_campaigns then
    insert into wa.campaign_deltas (campaign, kind, n)
    select campaign_id, 'queued', count(*) from fresh where campaign_id is not null group by campaign_id;
  end if;

  if in_sequences then
    insert into wa.waiting (sender, recipient, sequence, id, priority, due_at, expires_at)
    select sender, recipient, sequence, id, priority, due_at, expires_at from fresh where sequence is not null;
    perform wa.promote(s.sender, s.recipient, s.sequence)
    from (select distinct sender, recipient, sequence from fresh where sequence is not null order by 1, 2, 3) s;
  end if;

  if exists (select from wa.workers w where w.asleep) then
    perform pg_notify('wa_outbox_due', w.worker::text)
    from wa.workers w
    where w.asleep and w.worker in (select l.worker from wa.leases l where l.sender in (select sender from fresh));
  end if;
  return null;
end
$$;
