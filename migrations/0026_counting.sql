-- A worker sees for itself whether there is anything to add up (wa.fold_campaign_deltas). To have that function see it took a lock, and so
-- wrote to the log, each second of a database in which nothing happens.
grant select on wa.campaign_deltas to wa_worker;
