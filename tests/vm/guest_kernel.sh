#!/bin/sh
# What the other tests build on: the machine's kernel has what they are here for.
for kind in netem prio tbf htb; do
    grep -q "^sch_$kind " /proc/modules || {
        echo "the kernel has no sch_$kind"
        exit 1
    }
done
