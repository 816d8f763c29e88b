# Stops the test server in folder $1, with the pg_ctl $2, one second after its last user has gone.
#
# It runs apart from whoever started it, and so outlives a kill of all test processes. A user that comes within the second
# finds the server as it was; one that comes while the server stops waits for the lease, and starts it again.

# flock(1) is not on macOS; perl is, and takes the same lock.
if command -v flock >/dev/null; then
    wait_for() { flock -x "$1"; }
    try() { flock -n -x "$1"; }
    give_back() { flock -u "$1"; }
else
    perl_flock() { perl -MFcntl=:flock -e 'open my $f, "+<&=", $ARGV[0] or exit 1; exit !flock $f, eval $ARGV[1]' "$@"; }
    wait_for() { perl_flock "$1" LOCK_EX; }
    try() { perl_flock "$1" 'LOCK_EX | LOCK_NB'; }
    give_back() { perl_flock "$1" LOCK_UN; }
fi

reap() {
    exec 8<>"$1/lease.lock" 9<>"$1/reaper.lock" || exit
    # One reaper is enough. A few tries, because the one that is there may just be leaving.
    tries=3
    until try 9; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || exit
        sleep 1
    done
    while wait_for 8; do
        give_back 8
        sleep 1
        if try 8; then
            exec "$2" stop -D "$1/data" -m fast -w -t 60 -s
        fi
    done
}

# Twice forked: our parent waits for us, and the reaper belongs to nobody.
(reap "$1" "$2") &
