-- A suppression names somebody.
--
-- A number with a no-break space in front, as web pages have it, was taken for an id and kept as it stood; the outbox mends it, so the
-- person was written to whom no campaign was to be sent. What names nobody is refused now. What stands stays.

-- A recipient of whom a person speaks, as it is stored. Whether it is a number is decided without its separators, whatever \s means in
-- this database; what is neither a number nor an id as WhatsApp gives them names somebody only if a message was written to that id.
create function wa.somebody(recipient text, in_table text) returns text
language plpgsql stable set search_path = pg_catalog set enable_seqscan = off as $$
declare
  bare text := regexp_replace(recipient, '[\s().\-/\u0085\u00a0\u1680\u2000-\u200a\u2010-\u2015\u2028\u2029\u202f\u205f\u3000]', '', 'g');
begin
  if coalesce(recipient, '') = '' or bare ~ '^(\+|[0-9]{5,15}$)' then
    return wa.checked_recipient(recipient, 'phone');
  end if;
  -- A group's id is base64 and may begin with a digit; what has a dot there as well is a number of a spreadsheet (4.9E12).
  if recipient ~ '^([A-Za-z][A-Za-z0-9._=-]*|[0-9][A-Za-z0-9_=-]*)$' and recipient ~ '[A-Za-z]' and length(recipient) <= 256 then
    return recipient;
  end if;
  if not exists (select from wa.outbox o where o.recipient = somebody.recipient and o.recipient_kind <> 'phone') then
    perform wa.refuse('recipient', format('recipient %s is no user id and no phone number', wa.shown(recipient)),
      'write the phone number with its +, or the id as WhatsApp gave it', in_table);
  end if;
  return recipient;
end
$$;

-- As before, for whatever a person writes. A number without its + is refused, as the outbox refuses it: looked for as it stands, it would be
-- nobody's, and "nobody is suppressed" a wrong answer.
create or replace function wa.plain_recipient(recipient text) returns text
language plpgsql stable security definer set search_path = pg_catalog as $$
begin
  return wa.somebody(recipient, 'outbox');
end
$$;

-- What WhatsApp has told of somebody is kept whatever it calls them: a refusal would keep the answer or the delivery from being recorded.
create or replace function wa.suppression_is_checked() returns trigger
language plpgsql security definer set search_path = pg_catalog as $$
begin
  if tg_op = 'UPDATE' and new.recipient = old.recipient then
    return new;
  end if;
  begin
    new.recipient := wa.somebody(new.recipient, 'suppressions');
  exception when check_violation then
    if new.source not in ('answer', 'webhook') then
      raise;
    end if;
  end;
  return new;
end
$$;

revoke execute on function wa.somebody(text, text) from public;
