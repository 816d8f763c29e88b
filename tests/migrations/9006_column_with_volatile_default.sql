-- refused: adding-field-with-default
alter table wa.outbox add column origin uuid not null default gen_random_uuid();
