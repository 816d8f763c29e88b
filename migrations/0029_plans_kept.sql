-- What is done for each answer keeps one plan for one and for many: at 80 messages a second to plan took a sixth of Postgres' time. And none
-- reads a table from end to end, also where a pooler keeps no settings of the connection.
alter function wa.learn_from_answers(text[], text[], bigint[], integer[], text[], text[])
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off;

-- What runs in the sessions of applications and operators reads no queue from end to end either: they, too, keep the plans of a time when it
-- was empty. To insert 30,000 messages, each the first of its sequence, took 21 s.
alter function wa.promote(text, text, text) set enable_seqscan = off set jit = off;
alter function wa.cancel(bigint) set enable_seqscan = off set jit = off;
alter function wa.skip_head(text, text, text, text, text) set enable_seqscan = off set jit = off;
alter function wa.resume_sequence(text, text, text, text, text) set enable_seqscan = off set jit = off;
alter function wa.cancel_sequence(text, text, text, text, text) set enable_seqscan = off set jit = off;
