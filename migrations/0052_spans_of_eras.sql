-- As the migration spans has it for senders.
create trigger a_span_is_plain before insert or update of wait on wa.eras
for each row when (wa.has_a_negative_part(new.wait))
execute function wa.a_span_is_plain('wait');
alter table wa.eras
  add constraint evidence_is_waited_for_at_most_a_hundred_years_longer check (wait between '0' and '100 years') not valid;
