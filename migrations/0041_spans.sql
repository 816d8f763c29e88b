-- Spans of time that can be reckoned with.
--
-- Postgres compares intervals by months of 30 days and adds them by the calendar, part by part. So '1000000 years -359999000 days' was a
-- timeout of 1000 days, and no time could be told that lies so far from another: one such setting ended each look at all sequences, each
-- delivery with a status of that message, and the look at all campaigns. A span whose parts are all positive has no such surprise.

create function wa.has_a_negative_part(span interval) returns boolean
language sql immutable parallel safe
return least(extract(year from span), extract(month from span), extract(day from span),
  extract(hour from span), extract(minute from span), extract(second from span)) < 0;

grant execute on function wa.has_a_negative_part(interval) to wa_producer, wa_worker, wa_viewer;

-- Called for a row with a span of mixed parts; its arguments are the columns. '1 day -1 hour' is kept as 23 hours. What is no span at all,
-- or longer than any may be, stays so, for the constraints to refuse.
create function wa.a_span_is_plain() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp set intervalstyle = 'postgres' as $$
declare
  field text;
begin
  foreach field in array tg_argv loop
    new := jsonb_populate_record(new, jsonb_build_object(field,
      make_interval(secs => greatest(least(extract(epoch from (to_jsonb(new) ->> field)::interval), 4e9), -1)::float8)));
  end loop;
  return new;
end
$$;

create trigger a_span_is_plain before insert or update of delivery_timeout on wa.senders
for each row when (wa.has_a_negative_part(new.delivery_timeout))
execute function wa.a_span_is_plain('delivery_timeout');
create trigger a_span_is_plain before insert or update of delivery_timeout on wa.sequence_defaults
for each row when (wa.has_a_negative_part(new.delivery_timeout))
execute function wa.a_span_is_plain('delivery_timeout');

-- ── one that fails costs no other anything ───────────────────────────────────────────────────────────────────────

-- Settles these gates, whose rows the caller has locked, by what is known of these members. Gives the senders that may send more.
create function wa.settle_gates(gates wa.sequences[], ids bigint[]) returns text[]
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  one record;
  moved text[] := '{}';
begin
  for one in
    select g.sender, g as gate, coalesce(e.members, '{}') as ended
    from unnest(gates) g
    left join (
      select o.sender, o.recipient, o.sequence, array_agg(o.id) as members
      from wa.results r join wa.outbox o on o.id = r.id and o.sender = r.sender
      where r.id = any (ids) and r.state in ('expired', 'cancelled')
      group by o.sender, o.recipient, o.sequence
    ) e on (e.sender, e.recipient, e.sequence) = (g.sender, g.recipient, g.sequence)
  loop
    if wa.settle_gate(one.gate, ids, one.ended) then
      moved := moved || one.sender;
    end if;
  end loop;
  return moved;
end
$$;

-- Settles members of which something has become known (see the migration sequences). They are settled together, in one subtransaction; where
-- one of them cannot be, each alone, and what cannot is put down: whoever settles has learned something of the others, too.
create or replace function wa.settle_sequences(ids bigint[]) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '100ms' as $$
declare
  gates wa.sequences[];
  gate wa.sequences;
  moved text[] := '{}';
begin
  begin
    gates := array(select g from wa.lock_gates(ids) g);
  exception
    when lock_not_available or deadlock_detected then
      gates := array(select g from wa.lock_free_gates(ids) g);
  end;
  begin
    moved := wa.settle_gates(gates, ids);
  exception
    when data_exception or integrity_constraint_violation or program_limit_exceeded or plpgsql_error or internal_error
      or lock_not_available or deadlock_detected then
      foreach gate in array gates loop
        begin
          moved := moved || wa.settle_gates(array[gate], ids);
        exception
          when data_exception or integrity_constraint_violation or program_limit_exceeded or plpgsql_error or internal_error
            or lock_not_available or deadlock_detected then
            -- Without the words of the error: what is refused may stand in them.
            raise warning 'a sequence of sender % with message % in front cannot be settled (%)', gate.sender, gate.head_id, sqlstate;
            insert into wa.unsettled (id, sender)
            select o.id, o.sender from wa.outbox o
            where o.id = any (ids) and (o.sender, o.recipient, o.sequence) = (gate.sender, gate.recipient, gate.sequence)
            order by o.id
            on conflict do nothing;
        end;
      end loop;
  end;
  if cardinality(moved) > 0 then
    perform wa.wake_owners(moved);
  end if;
end
$$;

-- Looks at these gates, whose rows the caller has locked. Says how many timed out, and gives the senders that may send more.
create function wa.look_at_gates(gates wa.sequences[], out overdue bigint, out moved text[])
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  gate wa.sequences;
  looked record;
begin
  overdue := 0;
  moved := '{}';
  foreach gate in array gates loop
    if wa.member_standing(gate.head_id) <> 'open' then
      -- Something is known of the head already: that counts, not the time.
      if wa.settle_gate(gate, array[gate.head_id], '{}') then
        moved := moved || gate.sender;
      end if;
      select s.* into gate from wa.sequences s
      where (s.sender, s.recipient, s.sequence) = (gate.sender, gate.recipient, gate.sequence);
    end if;
    select * into looked from wa.look_at_gate(gate);
    perform wa.keep_gate(looked.gate);
    if looked.timed_out then
      overdue := overdue + 1;
      moved := moved || gate.sender;
    end if;
  end loop;
end
$$;

-- As before (the migration sequences); but where one gate cannot be looked at, or an application keeps its head locked, each is alone, and
-- that one is looked at again a little later, so that it stands in front of no other. Each look also notes what people have chosen (the
-- migration preferences), for it is what older programs call.
create or replace function wa.look_after_sequences(senders text[], at_most integer) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '100ms'
-- Read in the order of the index, also where the planner does not know yet that there are many: a look must not sort them all.
set enable_bitmapscan = off as $$
declare
  mine text;
  gates wa.sequences[];
  gate wa.sequences;
  ids bigint[];
  looked record;
  overdue bigint := 0;
  moved text[] := '{}';
begin
  with found as (
    select u.id, u.sender from wa.unsettled u order by u.id, u.sender limit at_most for update skip locked
  ), taken as (
    delete from wa.unsettled u using found f where u.id = f.id and u.sender = f.sender returning u.id
  )
  select array_agg(id) into ids from taken;
  if ids is not null then
    perform wa.settle_sequences(ids);
  end if;
  perform wa.note_waiting_preferences(at_most);

  for mine in
    select m.sender from unnest(senders) as m (sender)
    cross join lateral (
      select from wa.sequences s where s.sender = m.sender and s.look_at <= now() order by s.look_at limit 1
    ) due
  loop
    gates := array(
      select s from wa.sequences s
      where s.sender = mine and s.look_at <= now()
      order by s.look_at
      limit at_most
      for update skip locked);
    begin
      looked := wa.look_at_gates(gates);
      overdue := overdue + looked.overdue;
      moved := moved || looked.moved;
    exception
      when data_exception or integrity_constraint_violation or program_limit_exceeded or plpgsql_error or internal_error
        or lock_not_available or deadlock_detected then
        foreach gate in array gates loop
          begin
            looked := wa.look_at_gates(array[gate]);
            overdue := overdue + looked.overdue;
            moved := moved || looked.moved;
          exception
            when data_exception or integrity_constraint_violation or program_limit_exceeded or plpgsql_error or internal_error
              or lock_not_available or deadlock_detected then
              raise warning 'a sequence of sender % with message % in front cannot be looked at (%)', gate.sender, gate.head_id, sqlstate;
              update wa.sequences s
              set look_at = now() + case when sqlstate in ('55P03', '40P01') then interval '5 seconds' else interval '1 minute' end
              where (s.sender, s.recipient, s.sequence) = (gate.sender, gate.recipient, gate.sequence);
          end;
        end loop;
    end;
  end loop;
  if cardinality(moved) > 0 then
    perform wa.wake_owners(moved);
  end if;
  return overdue;
end
$$;

revoke execute on function wa.settle_gates(wa.sequences[], bigint[]), wa.look_at_gates(wa.sequences[]) from public;
