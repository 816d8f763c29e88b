-- Nothing of ours runs what somebody else has named like something of Postgres.
--
-- Unless it is named, pg_temp is looked through before everything else: a type of the caller's there, named "text", ran his code with the
-- rights of the owner of our schema. And a function without a path of its own takes operators and functions from wherever its caller looks:
-- a producer's own "format" was run by whoever read wa.messages, and a row passed by checks whose "<" was another.
--
-- What is in the schema is taken for ours, but for what is no plain function or belongs to an extension.

do $$
declare
  ours record;
begin
  for ours in
    select p.oid::regprocedure as name, p.prosrc as body from pg_proc p
    where p.pronamespace = 'wa'::regnamespace and p.prokind = 'f' and 'search_path=pg_catalog' = any (p.proconfig)
  loop
    execute format('alter function %s set search_path = pg_catalog, pg_temp', ours.name);
    -- A pattern is the same pattern in every session.
    if ours.body like '%\\%' then
      execute format('alter function %s set standard_conforming_strings = on', ours.name);
    end if;
  end loop;
end
$$;

-- What is asked of each row has no path of its own, which would cost it as much as the question. It is a function in SQL whose body is
-- kept as it was understood when it was made, and is planned once a session where a function in PL/pgSQL calls it.
create function wa.row_needs_a_look(
  sender text, recipient text, recipient_kind text, payload json, variables jsonb, campaign_id bigint, priority smallint, due_at timestamptz,
  expires_at timestamptz, sequence text, dedup_key text, on_uncertain text, reference text
) returns boolean
language sql immutable parallel safe
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

create or replace function wa.row_is_unusual(
  sender text, recipient text, recipient_kind text, payload json, variables jsonb, campaign_id bigint, priority smallint, due_at timestamptz,
  expires_at timestamptz, sequence text, dedup_key text, on_uncertain text, reference text
) returns boolean
language plpgsql immutable parallel safe as $$
begin
  return wa.row_needs_a_look(sender, recipient, recipient_kind, payload, variables, campaign_id, priority, due_at, expires_at, sequence,
    dedup_key, on_uncertain, reference);
end
$$;

-- Of the others that have no path, those in SQL are kept as they are understood now, and those in PL/pgSQL get one.
do $$
declare
  ours record;
begin
  set local search_path = pg_catalog, pg_temp;
  set local standard_conforming_strings = on;
  for ours in
    select p.oid::regprocedure as name, l.lanname as language, p.prosrc as body, pg_get_functiondef(p.oid) as definition
    from pg_proc p join pg_language l on l.oid = p.prolang
    where p.pronamespace = 'wa'::regnamespace and p.prokind = 'f' and p.prosqlbody is null
      and not exists (select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
      and not exists (select from unnest(p.proconfig) as c (setting) where c.setting like 'search_path=%')
      and p.proname <> 'row_is_unusual'
  loop
    begin
      if ours.language = 'sql' then
        execute left(ours.definition, strpos(ours.definition, E'\nAS $function$')) || format(E'begin atomic\n%s;\nend', ours.body);
      else
        execute format('alter function %s set search_path = pg_catalog, pg_temp', ours.name);
      end if;
    exception
      when others then
        raise exception using errcode = sqlstate, message = format('function %s: %s', ours.name, sqlerrm),
          hint = 'if it is not of wa-outbox, move it out of the schema wa: alter function … set schema …';
    end;
  end loop;
end
$$;

-- Where functions are not everybody's by default, producers could insert nothing.
grant execute on function
  wa.row_needs_a_look(text, text, text, json, jsonb, bigint, smallint, timestamptz, timestamptz, text, text, text, text),
  wa.row_is_unusual(text, text, text, json, jsonb, bigint, smallint, timestamptz, timestamptz, text, text, text, text)
to wa_producer, wa_worker, wa_viewer;
