-- What a row of the outbox must be, checked where it is written: by the INSERT, in words that name the field, the value and the fix.
-- Called by the outbox's triggers, and by nobody else.

create function wa.message_types() returns text[]
language sql immutable parallel safe as $$
  select array['text', 'image', 'audio', 'video', 'document', 'sticker', 'location', 'contacts', 'reaction', 'template',
               'interactive', 'pin']
$$;

-- True for a payload that needs no second look. Everything else goes through wa.outbox_row_is_checked, which mends or refuses.
-- Escapes are looked for first, in the text: a NUL or half a surrogate pair makes ->> fail with words that name no field, and
-- an escaped ASCII letter may hide a key ("t\u006f"). CASE keeps the order. Of the content it reads one field or two, as each of
-- them costs a walk through the text; a field that is there says that its object is. (Not by #>: of an object that is given twice
-- it may find the field in the first, while the last one counts.)
create function wa.payload_is_plain(payload json) returns boolean
language sql immutable parallel safe as $$
  select case
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

create function wa.refuse(field text, message text, fix text, in_table text default 'outbox') returns void
language plpgsql as $$
begin
  raise exception using errcode = 'check_violation', schema = 'wa', table = in_table, column = field,
    message = message, hint = fix;
end
$$;

-- A value as it is shown in a refusal: quoted, and short.
create function wa.shown(value text) returns text
language sql immutable as $$
  select case when value is null then 'null' when length(value) > 60 then '"' || left(value, 57) || '…"' else '"' || value || '"' end
$$;

-- Refuses a null where WhatsApp needs a word: what a function or a query of the application's has made of a value it did not have.
create function wa.refuse_null(payload json, place text[], fix text) returns void
language plpgsql set search_path = pg_catalog as $$
begin
  if json_typeof(payload #> place) = 'null' then
    perform wa.refuse('payload', format('payload.%s is null', array_to_string(place, '.')), fix);
  end if;
end
$$;

-- Refuses what the documentation of WhatsApp has otherwise and a database can see at once. Most rules are held before a message is
-- sent (docs/rules.md); these are those whose breach an application should hear of while it still has the row in its hands.
create function wa.check_content(payload json, kind text) returns void
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
          'shorten it, or send it in parts');
      end if;
    when kind = 'reaction' then
      if coalesce(content ->> 'message_id', '') = '' or content ->> 'emoji' is null then
        perform wa.refuse('payload', format('payload.reaction lacks %s', case when content ->> 'emoji' is null then 'an emoji' else 'a message_id' end),
          'name the wamid of the message as message_id, and an emoji; an empty one takes the reaction back');
      end if;
    when kind in ('image', 'video', 'document', 'audio', 'sticker') then
      given := (coalesce(content ->> 'id', '') <> '')::integer + (coalesce(content ->> 'link', '') <> '')::integer;
      if given <> 1 then
        perform wa.refuse('payload', format('payload.%s has %s id and link', kind, case given when 0 then 'neither' else 'both' end),
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
        perform wa.refuse('payload', format('payload.template.name is %s', case when content ->> 'name' is null then 'missing' else wa.shown(content ->> 'name') end),
          'write the template''s name as it was approved: small letters, digits and _');
      end if;
    else null;
  end case;
end
$$;

create function wa.checked_payload(payload json, recipient text, validate text) returns json
language plpgsql set search_path = pg_catalog as $$
declare
  kind text;
  content_type text;
  callback_data text;
begin
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

-- A number without what is dialled in front of it inside its country.
create function wa.without_national_prefix(digits text, plan wa.countries) returns text
language plpgsql stable set search_path = pg_catalog as $$
declare
  -- The whole of the prefix, then what its pattern captures.
  found text[] := regexp_match(digits, '^(' || plan.national_prefix || ')');
  bare text := substr(digits, length(found[1]) + 1);
begin
  if found is null then
    return digits;
  end if;
  if found[3] <> '' or found[2] <> '' and found[3] is null then
    if plan.national_prefix_becomes is not null then
      bare := replace(replace(plan.national_prefix_becomes, '$1', found[2]), '$2', coalesce(found[3], '')) || bare;
    end if;
  end if;
  -- A number that begins like a prefix.
  if digits ~ plan.general_pattern and bare !~ plan.general_pattern then
    return digits;
  end if;
  return bare;
end
$$;

-- Whether a country has such a number, given without its calling code.
create function wa.number_exists(digits text, in_region text) returns boolean
language sql stable set search_path = pg_catalog as $$
  select exists (select from wa.countries c where c.region = in_region and digits ~ c.general_pattern and digits ~ c.number_pattern)
$$;

-- A number as it is dialled in a country, in E.164; null when that country has no such number. Null too when it may be meant with
-- the calling code in front or without: a message must not go to a stranger.
create function wa.dialled_in(digits text, in_region text) returns text
language plpgsql stable set search_path = pg_catalog as $$
declare
  plan wa.countries;
  main wa.countries;
  national text := digits;
  bare text;
  is_domestic boolean := true;
begin
  select c.* into plan from wa.countries c where c.region = in_region;
  select c.* into main from wa.countries c where c.calling_code = plan.calling_code and c.is_main;
  if digits !~ '^[0-9]{2,17}$' or plan.region is null then
    return null;
  end if;
  if digits ~ ('^(?:' || plan.international_prefix || ')[1-9]') then
    national := regexp_replace(digits, '^(?:' || plan.international_prefix || ')', '');
    if national !~ ('^' || plan.calling_code) then
      return null;
    end if;
    is_domestic := false;
    national := substr(national, length(plan.calling_code) + 1);
    plan := main;
  elsif digits ~ ('^' || plan.calling_code) then
    bare := wa.without_national_prefix(substr(digits, length(plan.calling_code) + 1), plan);
    -- Dialled at home it would be no number, or too long for one.
    if digits !~ plan.general_pattern and bare ~ plan.general_pattern
       or length(digits) > (select max(l) from unnest(plan.lengths) l) then
      is_domestic := false;
      national := bare;
      plan := main;
    end if;
  end if;
  bare := wa.without_national_prefix(national, plan);
  if length(bare) = any (plan.lengths) then
    national := bare;
  end if;
  if not wa.number_exists(national, in_region)
     or is_domestic and digits ~ ('^' || plan.calling_code) and wa.number_exists(substr(digits, length(plan.calling_code) + 1), in_region) then
    return null;
  end if;
  return '+' || plan.calling_code || national;
end
$$;

-- `country`: numbers without + are read as they are dialled there.
create function wa.checked_recipient(recipient text, kind text, country text default null) returns text
language plpgsql set search_path = pg_catalog as $$
declare
  digits text := regexp_replace(recipient, '[\s().\-/\u00a0\u2010-\u2015]', '', 'g');
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

revoke execute on function wa.checked_payload(json, text, text), wa.check_content(json, text), wa.checked_recipient(text, text, text),
  wa.dialled_in(text, text), wa.number_exists(text, text), wa.without_national_prefix(text, wa.countries),
  wa.refuse_null(json, text[], text), wa.refuse(text, text, text, text) from public;
