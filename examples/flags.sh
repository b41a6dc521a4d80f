#!/bin/sh
# Without a plan: the demo server, 20 users, a kill in the middle, and what must hold.
# LOAD and TIME may be set from outside; anything after them goes to the run as it is.
set -eu
LOAD=${CHAOS_LOAD:-chaos-load}
TIME=${TIME:-30s}
PORT=${PORT:-18081}

exec "$LOAD" run -H "http://127.0.0.1:$PORT" -u 20 -r 20 -t "$TIME" --seed 7 \
    --task 'GET / 3' \
    --task 'GET /health expect=200' \
    --task 'POST /items json={"name":"from-flags"}' \
    --think 'between(100ms, 300ms)' \
    --header 'X-Team: platform' \
    --process "name=shop run='$LOAD target --listen 127.0.0.1:$PORT' ready=tcp:127.0.0.1:$PORT" \
    --fault 'kill process=shop at=4s restart_after=1s' \
    --recover-hold 1s \
    --threshold 'errors: rate < 1% in baseline' \
    --threshold 'recovery_time: max < 10s' \
    "$@"
