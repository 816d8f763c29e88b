-- refused: by-hand
drop trigger outbox_row_is_checked on wa.outbox;
