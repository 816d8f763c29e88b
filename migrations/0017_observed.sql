-- What an operator watches.

-- Messages that were accepted twice are counted for the metrics. An ordinary message never has a cause of a duplicate, so neither its
-- way nor the updates of its row touch this index.
create index results_duplicate on wa.results (duplicate) where duplicate is not null;
