-- What WhatsApp said of a sender's speed outlives who was told it: a new owner, or the same program started again, keeps the wait that was
-- asked for and goes on from the lowered rate. It is written when it is learned, and read with the lease.
alter table wa.leases
  add column slowed_at timestamptz,
  add column slowed_to float8,
  add column silent_until timestamptz;
comment on column wa.leases.slowed_at is 'when WhatsApp last said that it was too fast';
comment on column wa.leases.slowed_to is 'requests a second to which its rate was lowered then';
comment on column wa.leases.silent_until is 'WhatsApp asked for no request before this';
