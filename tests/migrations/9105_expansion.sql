-- refused: nothing
alter table wa.outbox add column origin text;
alter table wa.senders add column tier text not null default 'usual';
alter table wa.outbox add constraint origin_has_a_name check (origin <> '') not valid;
create table wa.origins (origin text primary key);
create index origins_by_length on wa.origins (length(origin));
create or replace function wa.origin_of(message bigint) returns text language sql stable as $$ select origin from wa.outbox where id = message $$;
grant select on wa.origins to wa_worker;
