-- Roles with no more rights than they need. Run once after `wa-outbox migrate`, as the owner of the schema (CREATEROLE):
--   psql "$DATABASE_URL" -v ON_ERROR_STOP=1 -f deploy/producer.sql
-- Then give each login a password (\password shop), or better a certificate. To run it again changes nothing.
--
-- A producer inserts messages and reads what became of them. It cannot change or delete a message, take one out of the queue, read a
-- sender's credential or see raw webhooks.
do $$
declare
  login record;
begin
  for login in
    select * from (values
      -- The application that writes messages. Give each application a login of its own.
      ('shop', 'wa_producer'),
      -- The process `wa-outbox run --no-migrate`.
      ('wa_outbox_worker', 'wa_worker'),
      -- People and dashboards that only look.
      ('wa_outbox_viewer', 'wa_viewer')
    ) as l (name, granted)
  loop
    if not exists (select from pg_roles where rolname = login.name) then
      execute format('create role %I login nosuperuser nocreatedb nocreaterole noreplication', login.name);
    end if;
    execute format('grant %I to %I', login.granted, login.name);
  end loop;
end $$;

-- One application must not take all connections, nor keep a transaction open for ever: it would hold up its own sequences.
alter role shop connection limit 50;
alter role shop set idle_in_transaction_session_timeout = '60s';
alter role shop set statement_timeout = '30s';

-- Nobody else may look into the schema.
revoke all on schema wa from public;
