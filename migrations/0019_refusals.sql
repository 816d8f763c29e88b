-- What a bad row is told, where it did not say clearly what is wrong or gave the wrong advice; and what a phone number may hold.

create or replace function wa.check_content(payload json, kind text) returns void
language plpgsql set search_path = pg_catalog as $$
declare
  content json := payload -> kind;
  body text;
  given integer;
begin
  case
    when kind = 'text' then
      body := content ->> 'body';
      if json_typeof(content -> 'body') is null or json_typeof(content -> 'body') in ('object', 'array') then
        perform wa.refuse('payload', format('payload.text.body is %s', coalesce(json_typeof(content -> 'body') || ', not a string', 'missing')),
          'write what the message says, e.g. {"type":"text","text":{"body":"Hello"}}');
      elsif length(body) not between 1 and 4096 then
        perform wa.refuse('payload', format('payload.text.body has %s characters, not 1 to 4096', length(body)),
          case when body = '' then 'write what the message says' else 'shorten it, or send it in parts' end);
      end if;
    when kind = 'reaction' then
      if coalesce(content ->> 'message_id', '') = '' or content ->> 'emoji' is null then
        perform wa.refuse('payload', format('payload.reaction lacks %s', case when content ->> 'emoji' is null then 'an emoji' else 'a message_id' end),
          'name the wamid of the message as message_id, and an emoji; an empty one takes the reaction back');
      end if;
    when kind in ('image', 'video', 'document', 'audio', 'sticker') then
      given := (coalesce(content ->> 'id', '') <> '')::integer + (coalesce(content ->> 'link', '') <> '')::integer;
      if given <> 1 then
        perform wa.refuse('payload', format('payload.%s has %s', kind, case given when 0 then 'neither id nor link' else 'both id and link' end),
          'give the id of uploaded media, or the link to it');
      end if;
    when kind = 'location' then
      if content ->> 'latitude' is null or content ->> 'longitude' is null then
        perform wa.refuse('payload', 'payload.location lacks a latitude or a longitude', 'give both, in degrees');
      end if;
    when kind = 'contacts' then
      if json_array_length(content) not between 1 and 257 then
        perform wa.refuse('payload', format('payload.contacts has %s contacts, not 1 to 257', json_array_length(content)),
          'send them in several messages');
      end if;
    when kind = 'interactive' then
      if json_typeof(content -> 'type') is distinct from 'string' then
        perform wa.refuse('payload', format('payload.interactive.type is %s', coalesce(json_typeof(content -> 'type') || ', not a string', 'missing')),
          'name the kind, e.g. "button" or "list"');
      end if;
    when kind = 'template' then
      if coalesce(content ->> 'name', '') !~ '^[a-z0-9_]+$' then
        perform wa.refuse('payload', format('payload.template.name is %s', case when content ->> 'name' is null then 'missing' else wa.shown(content ->> 'name') || ', which is no template''s name' end),
          'write the template''s name as it was approved: small letters, digits and _');
      end if;
    else null;
  end case;
end
$$;

-- A phone number may have any space of Unicode between its digits, as spreadsheets and web pages write them (U+202F in France, U+3000
-- in Japan). What \s means depends on the locale that a database was made with; a number must not.
create or replace function wa.checked_recipient(recipient text, kind text, country text default null) returns text
language plpgsql set search_path = pg_catalog as $$
declare
  digits text := regexp_replace(recipient, '[\s().\-/\u0085\u00a0\u1680\u2000-\u200a\u2010-\u2015\u2028\u2029\u202f\u205f\u3000]', '', 'g');
begin
  if kind not in ('phone', 'user', 'group') then
    perform wa.refuse('recipient_kind', format('recipient_kind is %s', wa.shown(kind)), 'use phone (the default), user or group');
  end if;
  if coalesce(recipient, '') = '' then
    perform wa.refuse('recipient', 'recipient is missing', 'write the phone number with its country code, e.g. +16505551234');
  end if;
  if kind <> 'phone' then
    if recipient ~ '\s' or length(recipient) > 256 then
      perform wa.refuse('recipient', format('recipient %s is no %s id', wa.shown(recipient), kind), 'write the id as WhatsApp gave it');
    end if;
    return recipient;
  end if;
  if recipient ~ '[[:alpha:]]' then
    perform wa.refuse('recipient', format('recipient %s has letters', wa.shown(recipient)),
      'write a phone number such as +16505551234, or set recipient_kind to user or group');
  end if;
  if digits !~ '^\+' and country is not null then
    digits := wa.dialled_in(digits, country);
    if digits is null then
      perform wa.refuse('recipient', format('recipient %s is not clearly one number as it is dialled in %s, the default country of the sender', wa.shown(recipient), country),
        'write + and the country code, then the number');
    end if;
  elsif digits !~ '^\+' then
    perform wa.refuse('recipient', format('recipient %s does not start with +', wa.shown(recipient)),
      'write + and the country code: without it WhatsApp puts the sender''s own country code in front and the message goes to a stranger');
  end if;
  if digits !~ '^\+[1-9][0-9]{6,14}$' then
    perform wa.refuse('recipient', format('recipient %s is no phone number', wa.shown(recipient)),
      'write + and 7 to 15 digits, the first not 0 (E.164); spaces, hyphens, dots and parentheses may separate them');
  end if;
  return digits;
end
$$;

-- A worker reads rows ahead, hundreds of each sender, into its memory: none may be larger than anything that WhatsApp takes.
create or replace function wa.payload_is_plain(payload json) returns boolean
language sql immutable parallel safe as $$
  select case
    when octet_length(payload::text) > 1048576 then false
    when payload::text ~ '\\u(00[0-7]|[dD][89a-fA-F])|"(to|recipient|recipient_type|messaging_product|biz_opaque_callback_data)"|"(body|name|code)"\s*:\s*(null|"")' then false
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

create or replace function wa.checked_payload(payload json, recipient text, validate text) returns json
language plpgsql set search_path = pg_catalog as $$
declare
  kind text;
  content_type text;
  callback_data text;
begin
  if octet_length(payload::text) > 1048576 then
    perform wa.refuse('payload', format('payload has %s bytes, more than a megabyte', octet_length(payload::text)),
      'send media by id or link, and long texts in parts');
  end if;
  begin
    perform payload::jsonb;
  exception
    when numeric_value_out_of_range then null;   -- it is sent as it is written, not stored as a number
    when others then
      perform wa.refuse('payload', 'payload cannot be stored as text: ' || sqlerrm,
        'a NUL (\u0000) or half a surrogate pair cannot be sent; take it out');
  end;
  if json_typeof(payload) <> 'object' then
    perform wa.refuse('payload', format('payload is %s, not an object', json_typeof(payload)),
      'write the message body of the Cloud API, e.g. {"type":"text","text":{"body":"Hello"}}');
  end if;
  if payload ->> 'messaging_product' <> 'whatsapp' then
    perform wa.refuse('payload', format('payload.messaging_product is %s', wa.shown(payload ->> 'messaging_product')),
      'leave it out: it is added when the message is sent');
  end if;
  if payload -> 'to' is not null and regexp_replace(payload ->> 'to', '[^0-9]', '', 'g') <> regexp_replace(recipient, '[^0-9]', '', 'g')
     or payload -> 'recipient' is not null and payload ->> 'recipient' <> recipient then
    perform wa.refuse('payload', 'payload names another recipient than the column recipient',
      'leave "to" and "recipient" out of the payload; the column recipient decides');
  end if;
  callback_data := payload ->> 'biz_opaque_callback_data';
  if json_typeof(payload -> 'biz_opaque_callback_data') <> 'string' then
    perform wa.refuse('payload', format('payload.biz_opaque_callback_data is %s, not a string', json_typeof(payload -> 'biz_opaque_callback_data')),
      'write it as a string');
  end if;
  if length(callback_data) > 448 then
    perform wa.refuse('payload', format('payload.biz_opaque_callback_data has %s characters, more than 448', length(callback_data)),
      'shorten it: WhatsApp takes 512 and our own token in front of it needs the rest');
  end if;
  perform wa.refuse_null(payload, '{type}', 'set "type" to one of: ' || array_to_string(wa.message_types(), ', '));
  kind := coalesce(payload ->> 'type', case when payload -> 'text' is not null then 'text' end);
  if kind is null and payload ->> 'status' = 'read' then
    if json_typeof(payload -> 'message_id') is distinct from 'string' or payload ->> 'message_id' = '' then
      perform wa.refuse('payload', format('payload.message_id is %s', case json_typeof(payload -> 'message_id')
          when 'string' then 'empty' else coalesce('a ' || json_typeof(payload -> 'message_id') || ', not a string', 'missing') end),
        'name the wamid of the message to be marked as read');
    end if;
    return payload;
  end if;
  if kind is null then
    perform wa.refuse('payload', 'payload.type is missing', 'set "type" to one of: ' || array_to_string(wa.message_types(), ', '));
  end if;
  if kind <> all (wa.message_types()) and (validate = 'refuse' or json_typeof(payload -> kind) is distinct from 'object') then
    perform wa.refuse('payload', format('payload.type is %s, which is no message type', wa.shown(kind)),
      'set "type" to one of: ' || array_to_string(wa.message_types(), ', '));
  end if;
  content_type := case when kind = 'contacts' then 'array' else 'object' end;
  if json_typeof(payload -> kind) is distinct from content_type then
    perform wa.refuse('payload', format('payload.%s is %s, not an %s', kind, coalesce(json_typeof(payload -> kind), 'missing'), content_type),
      format('a message of type %L carries its content under the key %L', kind, kind));
  end if;
  if kind = 'text' then
    perform wa.refuse_null(payload, '{text,body}', 'write what the message says, e.g. {"type":"text","text":{"body":"Hello"}}');
  elsif kind = 'template' then
    perform wa.refuse_null(payload, '{template,name}', 'write the template''s name as it was approved');
    perform wa.refuse_null(payload, '{template,language,code}', 'write the template''s language, e.g. "language":{"code":"en_US"}');
  end if;
  if validate = 'refuse' then
    perform wa.check_content(payload, kind);
  end if;
  return payload;
end
$$;

create or replace function wa.campaign_row_is_filled() returns trigger
language plpgsql security definer set search_path = pg_catalog as $$
declare
  one record;
begin
  select c.sender, c.priority, c.state, c.expires_after, c.name into one from wa.campaigns c where c.id = new.campaign_id;
  if not found then
    perform wa.refuse('campaign_id', format('campaign_id is %s: there is no such campaign', new.campaign_id),
      'see which there are: wa-outbox campaign list');
  end if;
  if one.state in ('cancelled', 'done') then
    perform wa.refuse('campaign_id', format('campaign %s is %s', one.name, one.state), case one.state
      when 'done' then 'to add recipients, start it again: wa-outbox campaign start ' || one.name else 'make a new campaign' end);
  end if;
  if new.variables is null then
    new.variables := '{}';
  elsif jsonb_typeof(new.variables) <> 'object' then
    perform wa.refuse('variables', format('variables is %s, not an object', jsonb_typeof(new.variables)),
      'write the values by name, e.g. {"first_name":"Ada"}');
  elsif pg_column_size(new.variables) > 1048576 then
    perform wa.refuse('variables', format('variables has %s bytes, more than a megabyte', pg_column_size(new.variables)),
      'give what the placeholders need, and nothing else');
  end if;
  if new.payload is not null then
    perform wa.refuse('payload', 'payload is given together with campaign_id', 'leave it out: the campaign has the payload, variables fill it');
  end if;
  if new.sequence is not null then
    perform wa.refuse('sequence', 'sequence is given together with campaign_id', 'leave one of them out: a campaign keeps no order');
  end if;
  if new.sender is null then
    new.sender := one.sender;
  elsif new.sender <> one.sender then
    perform wa.refuse('sender', format('sender %s is not the campaign''s, %s', wa.shown(new.sender), wa.shown(one.sender)), 'leave it out');
  end if;
  -- 5 is what an INSERT that does not say has.
  if new.priority is null or new.priority = 5 then
    new.priority := one.priority;
  elsif new.priority <> one.priority then
    perform wa.refuse('priority', format('priority is %s and the campaign''s is %s', new.priority, one.priority), 'leave it out');
  end if;
  if new.expires_at is null and one.expires_after is not null then
    new.expires_at := greatest(new.due_at, now()) + one.expires_after;
  end if;
  return new;
end
$$;
