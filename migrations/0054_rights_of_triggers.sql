-- Only the schema's own triggers run its functions for triggers. Anybody could hang one on a temporary table of his, and have it take a
-- message out of the queue, or put one in that was accepted, as the owner. (The right is asked for when a trigger is made, not when it runs,
-- and a function that is replaced keeps it.)
do $$
declare
  ours record;
begin
  for ours in
    select p.oid::regprocedure as name from pg_proc p where p.pronamespace = 'wa'::regnamespace and p.prorettype = 'trigger'::regtype
  loop
    execute format('revoke execute on function %s from public', ours.name);
  end loop;
end
$$;
