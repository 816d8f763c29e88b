-- As the migration spans has it for senders.
create trigger a_span_is_plain before insert or update of expires_after on wa.campaigns
for each row when (wa.has_a_negative_part(new.expires_after))
execute function wa.a_span_is_plain('expires_after');
create trigger a_second_span_is_plain before insert or update of pause_window on wa.campaigns
for each row when (wa.has_a_negative_part(new.pause_window))
execute function wa.a_span_is_plain('pause_window');
-- The throttle knows no slower rate than one in some three hours, so this is what slower ones meant.
update wa.campaigns set max_per_second = 0.0001 where max_per_second < 0.0001;
alter table wa.campaigns
  add constraint expires_after_is_at_most_a_hundred_years check (expires_after <= '100 years') not valid,
  add constraint max_per_second_is_at_least_0_0001 check (max_per_second >= 0.0001) not valid;
