-- A publication of all tables refuses to delete from one whose rows it cannot name: counts of campaigns were added up no more.
alter table wa.campaign_deltas replica identity full;
