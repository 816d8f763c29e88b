-- All processes of a database make and read callback tokens with one key.
--
-- A process with another key calls every status of the others' requests forged: a lost answer whose status has come is then sent again. So
-- the database knows the key by a fingerprint, from which it cannot be had, and a process that has another does not start.

create table wa.token_key_in_use (
  is_only boolean primary key default true constraint there_is_one_row check (is_only),
  fingerprint text not null,
  since timestamptz not null default clock_timestamp(),
  process text not null
);
comment on table wa.token_key_in_use is
  'the key that callback tokens are made with. Its owner may delete the row: then the next process decides, and lost answers of before stay lost';
comment on column wa.token_key_in_use.process is 'who was the last to be let in with it';
comment on column wa.token_key_in_use.since is 'when';
grant select on wa.token_key_in_use to wa_worker, wa_viewer;

-- Lets a process work with its key, or refuses it. A key may be changed while nobody works and no answer is missing: with the new one nobody
-- could read the statuses that tell what became of those.
create function wa.use_token_key(its_fingerprint text, of_process text, listening_gap interval) returns void
language plpgsql security definer set search_path = pg_catalog as $$
declare
  known wa.token_key_in_use;
  alive text;
  in_doubt bigint;
  refusal text;
begin
  insert into wa.token_key_in_use (fingerprint, process) values (its_fingerprint, of_process) on conflict do nothing;
  select k.* into known from wa.token_key_in_use k for update;
  if known.fingerprint = its_fingerprint then
    -- Who is let in now is not among the workers yet.
    update wa.token_key_in_use k set since = clock_timestamp(), process = of_process;
    return;
  end if;
  refusal := format('token.key: this process has the key with the fingerprint %s, and the messages of this database are sent with %s',
    its_fingerprint, known.fingerprint);
  alive := coalesce(
    (select format('worker %s is running', w.name) from wa.workers w where w.expires_at > clock_timestamp() limit 1),
    (select 'webhooks are being received' from wa.webhook_listening l where l.last_said_at > clock_timestamp() - listening_gap),
    (select format('%s has begun to use it this minute', known.process) where known.since > clock_timestamp() - interval '1 minute'));
  if alive is not null then
    raise exception using errcode = 'object_not_in_prerequisite_state', message = format('%s (%s)', refusal, alive),
      hint = 'give all processes the same token.key; to change it, stop all of them first, and wait a minute';
  end if;
  in_doubt := (select count(*) from wa.queue q where q.state = 'sending') + (select count(*) from wa.uncertain);
  if in_doubt > 0 then
    raise exception using errcode = 'object_not_in_prerequisite_state',
      message = format('%s, of which %s have no answer yet: their statuses can be read by it alone', refusal, in_doubt),
      hint = 'work with the key of before until none is uncertain; if it is lost, see the runbook, "The key of callback tokens"';
  end if;
  update wa.token_key_in_use k set fingerprint = its_fingerprint, process = of_process, since = clock_timestamp();
end
$$;
revoke execute on function wa.use_token_key(text, text, interval) from public;
grant execute on function wa.use_token_key(text, text, interval) to wa_worker;
