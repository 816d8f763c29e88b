-- How far files of messages have been read into the outbox (`wa-outbox import`).
--
-- As with files of recipients (the migration campaign_imports), a part of a file and the place that it was read to are written in one
-- transaction. So an import that was cut off goes on behind its last part when it is run again, and one that was finished finds
-- nothing more to do; no row needs a dedup_key for that.

create table wa.imports (
  source text primary key
    constraint the_source_of_an_import_has_a_name check (length(source) between 1 and 200),
  lines bigint not null default 0,
  checksum bytea not null default ''::bytea,
  messages bigint not null default 0,
  duplicates bigint not null default 0,
  faults bigint not null default 0,
  faults_bytes bigint not null default 0,
  started_at timestamptz not null default clock_timestamp(),
  started_by text not null default session_user,
  changed_at timestamptz not null default clock_timestamp(),
  finished_at timestamptz
) with (fillfactor = 50);
comment on table wa.imports is 'files of messages that were imported, by name';
comment on column wa.imports.source is 'the name of the file, without its folder; or the one that was given to it';
comment on column wa.imports.lines is 'lines of it that were read, and whose messages are in wa.outbox';
comment on column wa.imports.checksum is 'of these lines: tells whether it is still the same file';
comment on column wa.imports.duplicates is 'rows that were left out, because a message of their sender had their dedup_key';
comment on column wa.imports.faults_bytes is 'length that the file of faults had then';

grant select, insert, update on wa.imports to wa_producer, wa_worker;
grant select on wa.imports to wa_viewer;
