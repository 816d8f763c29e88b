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
