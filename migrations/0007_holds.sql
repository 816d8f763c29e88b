-- Holds: a sender, or a template of a sender, that must rest until the cause is gone. Nothing fails meanwhile.
--
-- A hold names its author, its reason and its cause. One that WhatsApp's answers made is tried again with a single message, the
-- probe; one that a person made is never touched by a machine, except that it ends when the time it was given is over.

alter table wa.senders
  add column held_cause text
    constraint held_cause_is_known check (held_cause in
      ('operator', 'token', 'permission', 'account', 'payment', 'registration', 'policy', 'address', 'other')),
  add column held_code bigint,
  add column held_fingerprint text,
  add column probe_at timestamptz,
  add column probes integer not null default 0,
  add column probing_until timestamptz,
  add column released_at timestamptz,
  add column released_by text,
  add column released_why text;
comment on column wa.senders.held_fingerprint is
  'tells whether the token at its reference is still the one that was refused; a truncated HMAC, the token cannot be had from it';
comment on column wa.senders.probe_at is 'when one message may be tried; null = never by itself';
comment on column wa.senders.probing_until is 'one message is being tried; if nothing is heard of it by then, another one may be';

-- Whatever writes a hold or ends one, also by hand: what belongs to a hold comes and goes with it.
create function wa.sender_hold_is_whole() returns trigger
language plpgsql set search_path = pg_catalog as $$
begin
  if new.held_reason is null then
    if tg_op = 'UPDATE' and old.held_reason is not null and new.released_at is not distinct from old.released_at then
      new.released_at := clock_timestamp();
      new.released_by := session_user;
      new.released_why := 'released by SQL';
    end if;
    new.held_by := null;
    new.held_until := null;
    new.held_at := null;
    new.held_cause := null;
  elsif tg_op = 'INSERT' or old.held_reason is null or new.held_at is distinct from old.held_at then
    new.held_at := coalesce(new.held_at, clock_timestamp());
    new.held_cause := coalesce(new.held_cause, 'operator');
  elsif (new.held_reason, new.held_by) is distinct from (old.held_reason, old.held_by)
    and new.probing_until is not distinct from old.probing_until then
    -- Neither a new hold nor the end of a probe: written over by hand, so it is a person's.
    new.held_at := clock_timestamp();
    new.held_cause := 'operator';
  end if;
  if new.held_cause is null or new.held_cause = 'operator' then
    new.held_code := null;
    new.held_fingerprint := null;
    new.probe_at := null;
    new.probes := 0;
    new.probing_until := null;
  end if;
  return new;
end
$$;
create trigger sender_hold_is_whole before insert or update on wa.senders
for each row execute function wa.sender_hold_is_whole();

create table wa.template_holds (
  hold bigint generated always as identity,
  sender text not null references wa.senders,
  template text not null
    constraint a_template_has_a_name check (template <> '' and length(template) <= 512),
  language text
    constraint a_language_is_written_like_en_us check (language ~ '^[A-Za-z0-9_]{1,64}$'),
  cause text not null
    constraint a_template_is_held_by_operator_answer_mismatch_or_webhook check (cause in ('operator', 'answer', 'mismatch', 'webhook')),
  reason text not null,
  code bigint,
  account text,
  held_by text not null,
  held_at timestamptz not null default clock_timestamp(),
  held_until timestamptz
    constraint what_no_person_holds_has_an_end check (held_until is not null or cause = 'operator'),
  probes integer not null default 0,
  probing_until timestamptz,
  released_at timestamptz,
  released_by text,
  released_why text,
  brought_back_at timestamptz,
  primary key (hold, sender),
  constraint a_release_has_an_author_and_a_reason
    check ((released_at is null) = (released_by is null) and (released_at is null) = (released_why is null)),
  constraint only_after_a_release_is_everything_brought_back check (brought_back_at is null or released_at is not null)
);
comment on column wa.template_holds.language is 'null: every language of the template';
comment on column wa.template_holds.account is 'the WhatsApp Business Account whose webhook held it';
comment on column wa.template_holds.held_until is 'by then a person''s hold ends, and any other is tried again with one message';
comment on column wa.template_holds.brought_back_at is 'when the last message that it had set aside was due again';
create unique index a_template_is_held_once on wa.template_holds (sender, template, coalesce(language, '')) where released_at is null;
create index template_holds_to_bring_back on wa.template_holds (sender, hold) where released_at is not null and brought_back_at is null;
grant select, insert, update on wa.template_holds to wa_worker;
grant select on wa.template_holds to wa_producer, wa_viewer;

-- Where messages of a held template wait, out of the way of the others: at a due time in the last year that an application can
-- write, one for each hold. So a release finds them by the order they are read in, and needs no index of its own. (What an
-- application itself has put there has that time in its outbox row too. A later year would be unambiguous, but clients cannot
-- read it.)
create function wa.set_aside_at(hold bigint) returns timestamptz
language sql immutable parallel safe as $$
  select timestamptz '9999-01-01 00:00:00+00' + hold * interval '1 millisecond'
$$;

-- What a message waits for when its template is held; null when it is not. Looks into the content only where the sender has a hold.
create function wa.template_hold_in_words(of_sender text, payload json) returns text
language sql stable as $$
  select format('its template %s, held: %s', h.template, h.reason)
  from wa.template_holds h
  where h.sender = of_sender and h.released_at is null
    and (h.cause <> 'operator' or h.held_until is null or h.held_until > now())
    and payload ->> 'type' = 'template'
    and payload -> 'template' ->> 'name' = h.template
    and (h.language is null or replace(payload -> 'template' -> 'language' ->> 'code', '-', '_') = h.language)
  order by h.language nulls last
  limit 1
$$;
