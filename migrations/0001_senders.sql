-- Senders, who works them, and the roles everything else is granted to.
--
-- A sender is one business phone number: the unit of rate and of ownership. One worker at a time holds its lease;
-- the lease's epoch rises with each change of hands, so nothing of an earlier owner can start afterwards.

create schema if not exists wa;

-- Roles belong to the cluster, not to the database: another database may have made them already, or be making
-- them at this moment.
do $$
declare
  role_name text;
begin
  foreach role_name in array array['wa_producer', 'wa_worker', 'wa_viewer'] loop
    begin
      execute format('create role %I nologin', role_name);
    exception
      when duplicate_object or unique_violation then null;
    end;
  end loop;
end
$$;

grant usage on schema wa to wa_producer, wa_worker, wa_viewer;

-- The key that signs our callback token (design: a token we did not sign is no evidence). Made here so that a
-- first run needs no setting; the setting `token.key` overrides it. Two random UUIDs carry 244 random bits.
create table wa.keys (
  name text primary key,
  key bytea not null constraint a_key_has_32_bytes check (octet_length(key) = 32)
);
insert into wa.keys (name, key)
values ('callback_token', sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())));
grant select on wa.keys to wa_worker;

-- Numbering plans of countries, for senders whose applications write numbers as one dials them at home. `wa-outbox migrate` fills the
-- table from a library that knows them, and brings it up to date.
create table wa.countries (
  region text primary key
    constraint region_is_two_letters check (region ~ '^[A-Z]{2}$'),
  calling_code text not null,
  -- Of several regions with one calling code, the one whose rules hold until more is known.
  is_main boolean not null,
  international_prefix text,
  national_prefix text,
  -- What a national prefix with captured digits is replaced by, e.g. 9$1; null: it is taken off.
  national_prefix_becomes text,
  -- How many digits a number has, without calling code and national prefix.
  lengths integer[] not null,
  -- What such a number looks like in general, and what a number looks like that can exist. Both for the whole of it.
  general_pattern text not null,
  number_pattern text not null
);
grant select on wa.countries to wa_worker, wa_viewer, wa_producer;

create table wa.senders (
  sender text primary key
    constraint sender_is_one_plain_word check (sender ~ '^[A-Za-z0-9_.+-]{1,64}$'),
  provider text not null default 'cloud_api'
    constraint provider_is_known check (provider in ('cloud_api', 'bsp', 'on_premises')),
  base_url text not null default 'https://graph.facebook.com'
    constraint base_url_is_http_without_a_trailing_slash check (base_url ~ '^https?://[^ ]+[^ /]$'),
  path text
    constraint path_starts_with_a_slash check (path ~ '^/[^ ]*$')
    constraint a_bsp_has_a_path check (provider <> 'bsp' or path is not null),
  api_version text not null default 'v23.0'
    constraint api_version_looks_like_v23_0 check (api_version ~ '^v[0-9]+\.[0-9]+$'),
  credential text not null
    constraint credential_is_a_reference_env_or_file check (credential ~ '^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+)$'),
  auth_header text not null default 'Authorization'
    constraint auth_header_is_a_header_name check (auth_header ~ '^[A-Za-z0-9-]{1,64}$'),
  auth_scheme text
    constraint auth_scheme_is_one_word check (auth_scheme ~ '^[A-Za-z0-9-]{1,32}$'),
  ca_file text
    constraint ca_file_is_a_path check (ca_file <> ''),
  callback_echo boolean,
  rate_per_second double precision not null default 80
    constraint rate_per_second_is_above_zero check (rate_per_second > 0 and rate_per_second <= 10000),
  pair_period_ms integer not null default 6000
    constraint pair_period_ms_is_not_negative check (pair_period_ms >= 0),
  pair_burst integer not null default 45
    constraint pair_burst_is_at_least_one check (pair_burst >= 1),
  max_in_flight integer
    constraint max_in_flight_is_at_least_one check (max_in_flight >= 1),
  on_uncertain text
    constraint on_uncertain_is_retry_or_hold check (on_uncertain in ('retry', 'hold')),
  reconcile_window_s integer
    constraint reconcile_window_s_is_at_least_one check (reconcile_window_s >= 1),
  validate text not null default 'refuse'
    constraint validate_is_off_warn_or_refuse check (validate in ('off', 'warn', 'refuse')),
  strict boolean not null default false,
  default_country text
    constraint default_country_is_known references wa.countries (region),
  is_default boolean not null default false,
  held_reason text,
  held_until timestamptz,
  held_by text,
  held_at timestamptz,
  created_at timestamptz not null default now(),
  constraint a_hold_has_a_reason_and_an_author check ((held_reason is null) = (held_by is null)),
  constraint only_a_hold_has_an_end check (held_until is null or held_reason is not null)
);
comment on column wa.senders.credential is
  'where the token is (user:password for on_premises): env:NAME or file:PATH; never the token itself';
comment on column wa.senders.auth_scheme is
  'the word before the token, none for no word; null = Bearer in Authorization, no word in any other header';
comment on column wa.senders.ca_file is 'a file of the worker with the only certificates that may vouch for the server; null = the machine''s';
comment on column wa.senders.callback_echo is
  'whether statuses bring our callback data back; null = what its kind of provider does, and a bsp that was seen to';
comment on column wa.senders.pair_period_ms is 'one message per this many milliseconds to one recipient; 0 = no limit';
comment on column wa.senders.max_in_flight is 'requests out at once; null = the worker''s setting';
comment on column wa.senders.validate is
  'what becomes of a message that breaks the documented rules: off = not looked at, warn = sent and counted, refuse = failed before a request is made';
comment on column wa.senders.strict is 'also refuse fields that the documentation does not have, as the Cloud API does';
comment on column wa.senders.default_country is
  'numbers without + are read as they are dialled in this country (ISO 3166-1), when they are valid there; null = they are refused';
comment on column wa.senders.reconcile_window_s is 'seconds of silence before an uncertain message is settled by policy; null = the worker''s setting';
create unique index there_is_one_default_sender on wa.senders (is_default) where is_default;

grant select, insert, update on wa.senders to wa_worker;
grant select on wa.senders to wa_viewer;

-- A running worker. One heartbeat renews all its senders at once.
create table wa.workers (
  worker bigint generated always as identity primary key,
  name text not null,
  started_at timestamptz not null default now(),
  expires_at timestamptz not null,
  asleep boolean not null default false
) with (fillfactor = 50);
comment on column wa.workers.asleep is
  'true while the worker has nothing to do: only then does an INSERT notify it, because a NOTIFY in every enqueuing transaction serialises their commits';
grant select, insert, update, delete on wa.workers to wa_worker;
grant select on wa.workers to wa_viewer;

create table wa.leases (
  sender text primary key references wa.senders,
  worker bigint,
  epoch bigint not null default 0,
  taken_at timestamptz,
  problem text
) with (fillfactor = 50);
comment on column wa.leases.problem is 'why the owner cannot send for it at the moment, in words';
grant select, update on wa.leases to wa_worker;
grant select on wa.leases to wa_viewer;

create function wa.sender_gets_a_lease() returns trigger
language plpgsql security definer set search_path = pg_catalog as $$
begin
  insert into wa.leases (sender) values (new.sender);
  return null;
end
$$;
create trigger sender_gets_a_lease after insert on wa.senders
for each row execute function wa.sender_gets_a_lease();
