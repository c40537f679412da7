# SPDX-License-Identifier: Apache-2.0
# `tarn bench` on simulated devices: the same figures each time, and docs/virtual-devices.md's. $1: the
# command.
. "$(dirname "$0")/lib.sh"

# twice NAME ARGUMENT...: both runs print the same object, in the device's own time
twice() {
    name=$1
    shift
    run bench "$name" "$@" --json --quiet
    expect 0 '' "bench $name $*"
    cp .out first
    run bench "$name" "$@" --json --quiet
    check "the same again" cmp -s .out first
    json 'nothing of this machine' "d['clock'] == 'virtual' and d['rows'] and all( \
      v is None for r in d['rows'] for k, v in r.items() if k.startswith(('host_', 'cpu_', 'warm_')))"
}

# The page's table, in us without latencies, and what a launch waits before it starts (submit_us).
board() { # BOARD SUBMIT LOOKUP FORWARD TRAIN
    twice lookup --quick --batch 4096 --device "virtual:$1"
    json "lookups on $1" "[round(4096 / r['mlookups_per_s'], 1) for r in d['rows']] == [round($2 + $3, 1)]"
    twice score --quick --device "virtual:$1"
    json "scores on $1" "[round(r['us'], 1) for r in d['rows'] if r['batch'] == 4096] == [round($2 + $4, 1)]"
    twice train --quick --device "virtual:$1"
    json "a training step on $1" "[round(r['us_per_step'], 1) for r in d['rows'] \
      if r['steps_per_launch'] == 1 and r['batch'] == 128] == [round($2 + $5, 1)]"
}
board mali 120 49.8 825.1 75.4
board videocore 200 99.6 2576.3 233.3
board jetson 25 10.6 52.4 5.6

twice score --quick --path all --width 32 --batch 64 --device virtual:mali
json 'every path but the host has a time' "all((r['us'] is None) == (r['path'] == 'host') for r in d['rows'])"
twice train --quick --path all --width 32 --batch 64 --device virtual:mali
run bench score --quick --device virtual:mali --quiet
says 'own clock' 'a table'
if printf '%s\n' "$out" | grep -q nan; then report not 'what is unknown is a dash'; else
    report ok 'what is unknown is a dash'; fi
run bench lookup --batch 100
expect 2 'batch' 'too small a batch'
run bench score --quick --path host --width 8 --batch 16 --device host --json
json "a real device's clock" "d['clock'] == 'wall' and d['rows'][0]['us'] > 0 and d['rows'][0]['host_us'] > 0"
finish
