-- How far files of recipients have been read into campaigns.
--
-- A batch of recipients and the place that the file was read to are written in one transaction. So an import that was cut off
-- goes on behind its last batch when it is run again, and one that was finished finds nothing more to do; no key of any row is
-- needed for it.

create table wa.campaign_imports (
  campaign bigint not null references wa.campaigns,
  source text not null
    constraint the_source_of_an_import_has_a_name check (length(source) between 1 and 200),
  lines bigint not null default 0,
  checksum bytea not null default ''::bytea,
  recipients bigint not null default 0,
  faults bigint not null default 0,
  faults_bytes bigint not null default 0,
  started_at timestamptz not null default clock_timestamp(),
  started_by text not null default session_user,
  changed_at timestamptz not null default clock_timestamp(),
  finished_at timestamptz,
  primary key (campaign, source)
) with (fillfactor = 50);
comment on column wa.campaign_imports.source is 'the name of the file, without its folder';
comment on column wa.campaign_imports.lines is 'lines of it that were read, and whose recipients are in wa.outbox';
comment on column wa.campaign_imports.checksum is 'of these lines: tells whether it is still the same file';
comment on column wa.campaign_imports.faults_bytes is 'length that the file of faults had then';

grant select, insert, update on wa.campaign_imports to wa_producer, wa_worker;
grant select on wa.campaign_imports to wa_viewer;
