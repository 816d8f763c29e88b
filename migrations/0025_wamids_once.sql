-- no-transaction
-- A wamid ends one message, whoever writes it.
create unique index concurrently wamid_is_of_one_message on wa.results (wamid, sender) where wamid is not null;
