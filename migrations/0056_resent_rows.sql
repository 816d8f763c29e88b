-- no-transaction
-- What waits for its turn again after an answer was lost, to be counted when its campaign is cancelled: few rows, and no column of them
-- changes on their way.
create index concurrently queue_of_resent on wa.queue (sender, campaign) where resends > 0;
