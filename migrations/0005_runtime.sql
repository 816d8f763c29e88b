-- What the owner of a sender says of itself, once a second, for people. Not a fact anything rests on, so it need not survive a
-- crash of the database.

create unlogged table wa.sender_runtime (
  sender text primary key,
  worker bigint not null,
  epoch bigint not null,
  updated_at timestamptz not null default now(),
  rate_now double precision not null,
  rate_limit double precision not null,
  limit_source text not null,
  in_flight integer not null,
  at_hand integer not null,
  breaker text not null default 'closed'
    constraint breaker_is_closed_open_or_half_open check (breaker in ('closed', 'open', 'half_open')),
  breaker_until timestamptz,
  slow_until timestamptz,
  last_error text,
  last_error_at timestamptz
) with (fillfactor = 50);
comment on column wa.sender_runtime.rate_now is 'requests that left in the last second';
comment on column wa.sender_runtime.rate_limit is 'requests a second that its throttle permits at the moment';
comment on column wa.sender_runtime.limit_source is 'where that limit comes from, in words';
comment on column wa.sender_runtime.at_hand is 'messages read ahead and not begun';

grant select, insert, update, delete on wa.sender_runtime to wa_worker;
grant select on wa.sender_runtime to wa_viewer;
