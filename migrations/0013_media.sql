-- Media files that were uploaded, so that one file is uploaded once, however many messages show it.

create table wa.media (
  sender text not null,
  -- Of the file's content (SHA-256).
  content bytea not null constraint content_is_a_sha256 check (octet_length(content) = 32),
  media_type text not null,
  bytes bigint not null,
  -- The provider's.
  media_id text not null,
  uploaded_at timestamptz not null default now(),
  -- From then on it is uploaded anew.
  expires_at timestamptz not null,
  primary key (sender, content, media_type)
);
comment on table wa.media is 'media files that the provider keeps, by their content; a provider gives an id to one sender';
grant select, insert, update, delete on wa.media to wa_worker;
grant select on wa.media to wa_viewer;
