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
