-- What is done for each answer keeps one plan for one and for many: at 80 messages a second to plan took a sixth of Postgres' time. And none
-- reads a table from end to end, also where a pooler keeps no settings of the connection.
alter function wa.learn_from_answers(text[], text[], bigint[], integer[], text[], text[]) set enable_seqscan = off;
alter function wa.learn_from_answers(text[], text[], bigint[], integer[], text[], text[]) set plan_cache_mode = force_generic_plan;

-- As before (the migration campaigns); but the rows are found by their ids, not in their lane.
create or replace function wa.leave_out(of_campaign bigint, messages bigint[], reasons text[]) returns bigint
language plpgsql security definer set search_path = pg_catalog set enable_seqscan = off as $$
declare
  left_out bigint;
begin
  with asked as materialized (
    select q.id, q.sender, q.attempts, q.campaign from wa.queue q
    where q.id = any (messages) and (q.campaign = of_campaign) is true and q.state = 'queued'
    order by q.id
    for update
  ), ended as (
    insert into wa.results (id, sender, state, attempts, campaign, error_message)
    select a.id, a.sender, 'cancelled', a.attempts, a.campaign, n.reason
    from asked a join unnest(messages, reasons) as n (id, reason) on n.id = a.id
    on conflict do nothing
    returning id
  )
  select count(*) into left_out from ended;
  return left_out;
end
$$;

-- What runs in the sessions of applications and operators reads no queue from end to end either: they, too, keep the plans of a time when it
-- was empty. To insert 30,000 messages, each the first of its sequence, took 21 s.
alter function wa.promote(text, text, text) set enable_seqscan = off set jit = off;
alter function wa.cancel(bigint) set enable_seqscan = off set jit = off;
alter function wa.skip_head(text, text, text, text, text) set enable_seqscan = off set jit = off;
alter function wa.resume_sequence(text, text, text, text, text) set enable_seqscan = off set jit = off;
alter function wa.cancel_sequence(text, text, text, text, text) set enable_seqscan = off set jit = off;
