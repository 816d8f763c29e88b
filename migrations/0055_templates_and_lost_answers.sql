-- The template of a campaign is one, by its name and its language: by these it is held, and told of by WhatsApp. Where a variable filled
-- them in, a hold of one of those templates did not reach the campaign, and an answer about one held what has no name.

-- As before, except for that.
create or replace function wa.campaign_is_checked() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  template json;
  language text;
begin
  if new.sender is null then
    select s.sender into new.sender from wa.senders s order by s.is_default desc limit 1;
    if new.sender is null or (select count(*) > 1 and not bool_or(s.is_default) from wa.senders s) then
      perform wa.refuse('sender', 'sender is missing and there is no default', 'name the sender', 'campaigns');
    end if;
  elsif not exists (select from wa.senders s where s.sender = new.sender) then
    perform wa.refuse('sender', format('sender %s does not exist', wa.shown(new.sender)), 'see which there are: wa-outbox sender list', 'campaigns');
  end if;
  if tg_op = 'INSERT' or new.payload::text is distinct from old.payload::text then
    -- What it says is known when its placeholders are filled, and looked at then.
    perform wa.checked_payload(new.payload, '', 'off');
    template := new.payload -> 'template';
    language := coalesce(template -> 'language' ->> 'code', template ->> 'language');
    if new.payload ->> 'type' is distinct from 'template' then
      perform wa.refuse('payload', format('payload.type is %s', wa.shown(new.payload ->> 'type')), 'a campaign sends a template: set "type" to "template"', 'campaigns');
    elsif coalesce(template ->> 'name', '') = '' then
      perform wa.refuse('payload', 'payload.template.name is missing', 'name the template', 'campaigns');
    elsif strpos(template ->> 'name', '{{') > 0 then
      perform wa.refuse('payload', format('payload.template.name is %s', wa.shown(template ->> 'name')),
        'name the template without a variable: make a campaign for each template', 'campaigns');
    elsif strpos(language, '{{') > 0 then
      perform wa.refuse('payload', format('payload.template.language is %s', wa.shown(language)),
        'name the language without a variable: make a campaign for each language', 'campaigns');
    end if;
  end if;
  if new.ramp is not null and (tg_op = 'INSERT' or new.ramp is distinct from old.ramp) and not wa.campaign_ramp_is_sound(new.ramp) then
    perform wa.refuse('ramp', format('ramp is %s', wa.shown(new.ramp::text)),
      'write steps such as [{"per_hour":100,"for_hours":1}], of 720 hours together at most', 'campaigns');
  end if;
  if (tg_op = 'INSERT' or new.time_zone is distinct from old.time_zone) and not wa.is_time_zone(new.time_zone) then
    perform wa.refuse('time_zone', format('time_zone is %s', wa.shown(new.time_zone)), 'use an IANA name such as Europe/Berlin, or UTC', 'campaigns');
  end if;
  return new;
end
$$;

-- What ends by itself or by somebody's word may have been sent once all the same, where it waits only because an answer was lost.
create function wa.a_lost_answer_is_told() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
begin
  if (select q.resends > 0 from wa.queue q where q.id = new.id and q.sender = new.sender) then
    new.error_message := concat_ws('; ', new.error_message, 'a request of it may have been accepted: its answer was lost');
  end if;
  return new;
end
$$;
create trigger a_lost_answer_is_told before insert on wa.results
for each row when (new.state in ('cancelled', 'expired'))
execute function wa.a_lost_answer_is_told();
revoke execute on function wa.a_lost_answer_is_told() from public;
