-- refused: adding-required-field
alter table wa.outbox add column origin text not null;
