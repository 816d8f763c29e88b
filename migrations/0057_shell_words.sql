-- Commands that are told have names in quotes where a shell would see more in them: who copies "wa-outbox campaign resume spring sale; rm -r ."
-- runs what somebody else has written into a name. (src/standing/shell.rs does the same.)

create function wa.shell_word(word text) returns text
language sql immutable strict parallel safe
return case when word ~ '^[[:alnum:]_./:@%+=,-]+$' then word
  else '''' || replace(word, '''', E'\'\\\'\'') || '''' end;
grant execute on function wa.shell_word(text) to wa_producer, wa_worker, wa_viewer;

-- As they are now, but for the names.
do $$
declare
  ours record;
  definition text;
begin
  for ours in
    select * from (values
      ('wa.lead_campaign(bigint, text, text, text)', '|| one.name', '|| wa.shell_word(one.name)'),
      ('wa.campaign_row_is_filled()', '|| one.name', '|| wa.shell_word(one.name)'),
      ('wa.campaign_hold_in_words(wa.campaigns)', '(campaign).name', 'wa.shell_word((campaign).name)')
    ) as t (name, as_it_is, in_quotes)
  loop
    definition := pg_get_functiondef(ours.name::regprocedure);
    if strpos(definition, ours.as_it_is) = 0 then
      raise exception '% tells no name of a campaign any more', ours.name;
    end if;
    execute replace(definition, ours.as_it_is, ours.in_quotes);
  end loop;
end
$$;
