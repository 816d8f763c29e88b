-- What people look at: lists, groups of failures, the health of webhooks. A look walks an index from its newest end and goes no
-- further than it is told, so it costs the same whatever stands in the tables.
--
-- Whatever is rare among millions has a partial index that an ordinary message never enters. No index here holds a column that
-- changes on the way of an ordinary message, nor does a condition, so those updates stay on their page.

-- Newest first of one recipient, of one reference and of one campaign, however many there are of it.
drop index wa.outbox_by_recipient;
create index outbox_by_recipient on wa.outbox (recipient, id);
drop index wa.outbox_by_reference;
create index outbox_by_reference on wa.outbox (reference, id) where reference is not null;
create index outbox_by_campaign on wa.outbox (campaign_id, id) where campaign_id is not null;

create index results_not_accepted on wa.results (state, id) where state <> 'accepted';
create index results_duplicate on wa.results (id) where duplicate is not null;

-- What has failed, before WhatsApp took it (rejected) or after (a status): by code, by the failing status alone, and by time.
create index results_by_failure on wa.results (coalesce(error_code, -1), id) where state = 'failed' or failed_at is not null;
create index results_failed_status on wa.results (id) where failed_at is not null;
create index results_by_failure_time on wa.results (coalesce(failed_at, ended_at), id) where state = 'failed' or failed_at is not null;

-- With the event, so that a page of statuses that came at the same moment has an order.
drop index wa.status_events_unmatched;
create index status_events_unmatched on wa.status_events (received_at, event) where id is null;

create index webhook_inbox_bad on wa.webhook_inbox (id) where state = 'bad' or bad_entries is not null;

-- What a person has decided about many messages at once. Each message keeps what was done to it; here stands who, why and to how
-- many.
create table wa.group_decisions (
  decision bigint generated always as identity primary key,
  decided_at timestamptz not null default clock_timestamp(),
  what text not null
    constraint a_group_is_sent_again_suppressed_or_settled check (what in ('again', 'suppress', 'not_sent', 'send_again')),
  of_what text not null,
  author text not null,
  reason text not null
    constraint a_decision_has_a_reason check (reason <> ''),
  messages bigint not null default 0
);
comment on table wa.group_decisions is 'what a person has decided about many messages at once, and to how many it was done';
comment on column wa.group_decisions.of_what is 'the group, in words';
comment on column wa.group_decisions.messages is 'grows with each slice, in its transaction';

grant select, insert (what, of_what, author, reason), update (messages) on wa.group_decisions to wa_worker;
grant select on wa.group_decisions to wa_viewer;
