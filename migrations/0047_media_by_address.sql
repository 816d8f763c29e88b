-- A file is known by its id to the provider that keeps it, and to no other.

alter table wa.media add column kept_by text;
comment on column wa.media.kept_by is 'the address that it was uploaded to, without a version; null: that of its sender, as it is';

-- As before; and files of the way before are uploaded anew. (Those with an address are told apart by it, also where an upload ends after this.)
create or replace function wa.sender_goes_another_way() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  -- Who was never worked has sent nothing. Else workers take it up within two seconds, or lose the sender before this has passed.
  if exists (select from wa.leases l where l.sender = new.sender and l.epoch > 0) then
    new.way_changed_at := clock_timestamp() + interval '1 minute';
  end if;
  update wa.webhook_flow f set echoes = false where f.sender = new.sender and f.echoes;
  update wa.media m set expires_at = clock_timestamp() where m.sender = new.sender and m.expires_at > clock_timestamp();
  return new;
end
$$;
