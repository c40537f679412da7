# SPDX-License-Identifier: Apache-2.0
# `tarn bench share` on simulated devices: what its JSON holds, that the arbiter keeps its promises, and
# wrong usage. $1: the command.
. "$(dirname "$0")/lib.sh"

ways='all(set(d[w]) >= {"p50_us", "p99_us", "p999_us", "requests", "train_steps_per_s"} for w in ("alone", "naive", "arbiter"))'
figures='set(d) >= {"train_alone_steps_per_s", "p50_ratio", "p99_ratio", "train_kept", "quantum_us", "in_flight", "gap_us", "blocking_max_us"}'

# The promises with the defaults: what lookups wait more, and what training keeps of what they leave.
board() { # BOARD LEAST-KEPT
    run bench share --device "virtual:$1" --json --quiet
    expect 0 '' "$1"
    json "$1: three ways" "$ways"
    json "$1: the figures" "$figures and d['device'] == 'virtual:$1'"
    json "$1: they belong together" "abs(d['p99_ratio'] - d['arbiter']['p99_us'] / d['alone']['p99_us']) < 1e-3 \
      and d['alone']['train_steps_per_s'] == 0 and d['alone']['requests'] == d['arbiter']['requests'] \
      and all(d[w]['p50_us'] <= d[w]['p99_us'] <= d[w]['p999_us'] for w in ('alone', 'naive', 'arbiter'))"
    json "$1: lookups wait little" "d['p99_ratio'] <= 1.2"
    json "$1: training keeps $2" "$2 <= d['train_kept'] <= 1.001"
    json "$1: no lookup waits for more than the slices in flight" \
        "0 < d['blocking_max_us'] <= d['in_flight'] * d['quantum_us'] * 1.001 + d['gap_us']"
    json "$1: without control it is worse" "d['naive']['p99_us'] > 1.5 * d['arbiter']['p99_us']"
}
board mali 0.85
board videocore 0.80
board jetson 0.85

run bench share --quick --device virtual:mali --json --quiet --seed 2
cp .out first
json 'quick is shorter' "d['arbiter']['requests'] <= 3000"
run bench share --quick --device virtual:mali --json --quiet --seed 2
check 'the same again' cmp -s .out first
run bench share --quick --device virtual:mali --json --quiet --seed 3
if cmp -s .out first; then report not 'a seed is another stream'; else report ok 'a seed is another stream'; fi

run bench share --quick --device virtual:videocore --frames 4000 --json --quiet
json 'frames are drawn in time beside the arbiter' \
    "d['arbiter']['frames'] > 20 and d['arbiter']['frames_missed'] <= 0.01 * d['arbiter']['frames']"
json 'which they are not without control' "d['naive']['frames_missed'] > 0.5 * d['naive']['frames']"

run bench share --quick --device virtual:mali --quantum 100 --in-flight 1 --json --quiet
json 'what is asked for is in force' "d['quantum_us'] == 100 and d['in_flight'] == 1"
run bench share --quick --device virtual:mali --lookups 500 --load 0.1 --keys 1024 --json --quiet
json 'lookups, load and keys' "d['arbiter']['requests'] == 500 and d['keys'] == 1024"

run bench share --quick --device virtual:jetson --plot share.svg --quiet
expect 0 '' 'a table and a chart'
says '^arbiter ' 'the table has the arbiter'
says 'longest blocking' 'and the longest blocking'
check 'the chart is SVG' grep -q '</svg>' share.svg
run bench share --quick --device virtual:jetson --plot nowhere/share.svg --quiet
expect 1 'nowhere/share.svg' 'a chart that cannot be written is named'

run bench share --quantum 0
expect 2 'quantum' 'a quantum of nothing'
run bench share --in-flight 4
expect 2 'in-flight' 'more slices than there may be'
run bench share --load 1.5
expect 2 'load' 'more load than a device has'
run bench share --frames soon
expect 2 'frames' 'a frame that is no number'
run bench share --what
expect 2 'what' 'an unknown option'
run bench share file
expect 2 'argument' 'an argument'
run bench share --device opencl:77 --quick
expect 77 'opencl:77' 'a device that is not there'
finish
