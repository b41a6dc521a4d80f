#!/bin/busybox sh
# shellcheck shell=dash
# The first process of the virtual machine: loads the modules, runs each program of the list, prints what came of
# it, and switches the machine off. busybox has applets called ip and tc of its own, which know no netem: hence no
# links to it in front of /usr/sbin.
b=/bin/busybox
export PATH=/usr/sbin:/usr/bin:/bin HOME=/root LC_ALL=C CHAOS_VM=1
export CHAOS_LOAD=/opt/chaos-load NET_PEER=/opt/net_peer FAULT_DRIVER=/opt/fault_driver MINI_HTTP=/opt/mini_http
# What netem makes, and no more at once than one processor can.
export NET_MECHANISM=netem CHAOS_FELT_MECHANISM=netem CHAOS_FELT_AT_ONCE=1 CHAOS_SAFETY_AT_ONCE=1
export CHAOS_SAFETY_ROWS='process .*mechanism: (netem|htb)|host (latency|rate): .*netem'
export CHAOS_FELT_ROWS='process, v[46]: (latency delay: 40ms|loss percent: 20%|corrupt|duplicate|reorder|rate rate: 8mbit(, d|$))'
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs dev /dev
$b mkdir -p /run/netns /var /dev/shm /sys/fs/cgroup
$b ln -s /run /var/run
$b mount -t tmpfs tmp /tmp
$b mount -t cgroup2 none /sys/fs/cgroup
for applet in sh sleep cat cut sed grep rm mkdir kill ls chmod test true false env nc seq awk ping ping6 ps head tail wc setsid; do
    $b ln -s busybox "/bin/$applet"
done
while read -r module; do
    $b insmod "/modules/$module.ko" || echo "module $module was not loaded"
done </modules/order
ip link set lo up
while read -r name; do
    echo "---- $name"
    case $name in
    *.py) python3 -S "/chaos-load/tests/e2e/$name" ;;
    *) "/chaos-load/tests/e2e/$name" ;;
    esac
    echo "RESULT $name $?"
done </chaos-load/tests/list
$b poweroff -f
