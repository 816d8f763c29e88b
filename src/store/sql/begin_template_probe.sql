-- Begins the probe of a held template. Waits for whoever is setting messages aside for it at this moment.
update wa.template_holds h set probing_until = clock_timestamp() + make_interval(secs => $3)
where h.hold = $2 and h.released_at is null and h.cause <> 'operator' and h.held_until <= clock_timestamp()
  and (h.probing_until is null or h.probing_until <= clock_timestamp())
  and exists (select from wa.leases l where l.sender = h.sender and l.worker = $1)
