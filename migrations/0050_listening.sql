-- Whether something was said within so many seconds, by the clock as it is: what lies ahead was said before the clock was set back.
create function wa.is_of_now(said_at timestamptz, seconds double precision) returns boolean
language sql stable
return said_at between now() - make_interval(secs => seconds) and now() + make_interval(secs => seconds);
grant execute on function wa.is_of_now(timestamptz, double precision) to wa_producer, wa_worker, wa_viewer;
