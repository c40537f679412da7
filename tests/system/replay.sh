# SPDX-License-Identifier: Apache-2.0
# `tarn replay` as a user runs it: tables, JSON, charts, standard input, errors.
. "$(dirname "$0")/lib.sh"

# refused TEXT CODE PATTERN ARGUMENT...: one line on stderr, nothing on stdout
refused() {
    text=$1 wanted=$2 pattern=$3
    shift 3
    run replay "$@"
    expect "$wanted" "$pattern" "$text"
    check 'and prints nothing' [ -z "$out" ]
}

# A loop of 20 keys, ten times, each round with a key of one use; and objects of 100 to 129 bytes.
awk 'BEGIN { for (r = 0; r < 10; r++) { for (i = 0; i < 20; i++) print "k" i; print "once" r } }' \
    >loop.keys
awk 'BEGIN { print "time,key,size,op"; for (i = 0; i < 300; i++)
    print i "," i % 30 "," 100 + i % 30 "," (i % 50 == 49 ? "delete" : "get") }' >sized.csv

run replay loop.keys --format keys --size 10obj --policy lru,belady
expect 0 '' 'a loop'
says '^lru  *100.00 %' 'it always misses under lru'
says '^belady  *[0-9.]* %.* 100.0 %' 'belady closes the gap'
run replay loop.keys --format keys --size 30obj --policy all
expect 0 '' 'a cache for all objects'
check 'misses each once' [ "$(printf '%s\n' "$out" | grep -c ' 14.29 %  *14.29 %')" -ge 10 ]
run replay sized.csv --size 10%
expect 0 '' 'the usual policies'
says '^sized: 300 requests, 30 objects, 3.4 KiB' 'the table says what the trace is'
says '^cache of 10% (343 B)' 'and how large the cache'

run replay loop.keys sized.csv --size 10%,50% --policy lru,s3fifo --json
expect 0 '' 'two traces, two sizes, two policies'
json 'as JSON' "d['tarn'] and d['device'] == 'host' and [t['name'] for t in d['traces']] == ['loop', 'sized']"
json 'the traces' "[(t['requests'], t['objects'], t['bytes']) for t in d['traces']] == [(210, 30, 30), (300, 30, 3435)]"
json 'sizes and policies in order' "[(r['size'], r['policy']) for r in d['traces'][1]['results']] == [
    (s, p) for s in ('10%', '50%') for p in ('lru', 's3fifo')]"
json 'capacities and units' "[(r['capacity'], r['unit']) for t in d['traces'] for r in t['results'][1:3]] == [
    (3, 'objects'), (15, 'objects'), (343, 'bytes'), (1717, 'bytes')]"
json 'ratios' "all(0 < r['miss_ratio'] <= 1 and 0 < r['byte_miss_ratio'] <= 1 and
    r['requests_per_second'] > 0 and r['cpu_seconds'] >= 0 for t in d['traces'] for r in t['results'])"
json 'timelines' "all(len(r['timeline']) >= 190 and r['timeline'][-1][0] == t['requests'] and
    all(0 <= m <= 1 for _, m in r['timeline']) for t in d['traces'] for r in t['results'])"

run replay sized.csv --unit-size --limit 60 --size 50% --policy lru --json
json '--limit and --unit-size' "d['traces'][0]['requests'] == 60 and d['traces'][0]['bytes'] == 30 and
    d['traces'][0]['results'][0]['unit'] == 'objects' and d['traces'][0]['results'][0]['capacity'] == 15"
run replay sized.csv --size 3obj --policy lru --json
json 'a limit in objects' "d['traces'][0]['results'][0]['unit'] == 'objects' and
    d['traces'][0]['bytes'] == 3435 and d['traces'][0]['results'][0]['capacity'] == 3"
"$tarn" replay - --format keys --size 10obj --policy lru <loop.keys >.out 2>.err
code=$? out=$(cat .out) err=$(cat .err)
expect 0 '' 'standard input'
says '^lru  *100.00 %' 'is replayed as a file is'

run replay loop.keys sized.csv --size 10%,50%,5obj --plot chart.svg --policy all --quiet
expect 0 '' 'a chart'
check 'is whole' grep -q '^</svg>' chart.svg
check 'names sizes' grep -q 'sized: Cache of 10% (343 B)' chart.svg
check 'has each policy on each size, twice at most' [ "$(grep -c '>s3fifo<' chart.svg)" -ge 6 ]
check 'and numbers only' sh -c "! grep -qE '[\" (](nan|inf|-nan)' chart.svg"
if command -v rsvg-convert >/dev/null; then
    check 'can be drawn' rsvg-convert chart.svg -o chart.png
fi

awk 'BEGIN { print "key,cost"; for (i = 0; i < 2000; i++) { k = (i * 7919) % 101; print k "," (k % 10 ? 10 : 1000) } }' >costs.csv
run replay costs.csv --size 20% --policy gdsf,learned --json
json 'what misses cost' "all(0 < r['miss_cost_ratio'] <= 1 and r['mean_miss_cost_us'] > 0 for r in d['traces'][0]['results'])"
before=$(printf '%s\n' "$out" | sed -n 's/.*"miss_cost_ratio":[^0-9]*\([0-9.]*\).*/\1/p' | paste -sd,)
run replay costs.csv --size 20% --policy gdsf,learned --goal latency --json
json 'with it as the goal it is less' "all(r['miss_cost_ratio'] < 0.5 * b for r, b in zip(d['traces'][0]['results'], [$before]))"
run replay costs.csv --size 20% --policy gdsf --goal latency
expect 0 '' 'gdsf weighs costs without a learner'
says 'miss cost' 'which the table shows'
run replay costs.csv --size 20% --policy lru,belady,gdsf --goal latency
check 'and no gap, for which there is no bound' [ "$(printf '%s\n' "$out" | grep -cE '^(lru|gdsf|belady) .* % +- ')" = 3 ]
refused 'a goal for nobody' 2 'none is asked for' costs.csv --policy lru --goal latency
run replay costs.csv --size 20% --policy learned --relief 4 --json
json 'what is given up is told' "d['traces'][0]['results'][0]['relief'] == 4 and d['traces'][0]['results'][0]['unsound_rounds'] == 0"
refused 'no such level' 2 'relief' costs.csv --policy learned --relief 5
run replay loop.keys --format keys --size 10obj --policy lru --json
json 'without costs they are not known' "d['traces'][0]['results'][0]['miss_cost_ratio'] is None"

same() { run replay sized.csv --size 10% --policy lhd,wtinylfu --json --seed "$1"; }
same 3
first=$(printf '%s\n' "$out" | grep -v _seconds | grep -v per_second)
same 3
check 'the same seed gives the same figures' \
    [ "$first" = "$(printf '%s\n' "$out" | grep -v _seconds | grep -v per_second)" ]

: >empty
refused 'no trace' 2 'TRACE' --size 1%
refused 'an unknown policy' 2 "did you mean 's3fifo'" loop.keys --policy lru,s3fif
refused 'a policy twice' 2 'twice' loop.keys --policy lru,lru
refused 'no size' 2 "'abc' is not a size" loop.keys --size 1%,abc
refused 'an empty item' 2 'list of sizes' loop.keys --size 1%,
refused 'a size below one object' 1 'holds not one object' loop.keys --format keys --size 1%
refused 'fewer bytes than the smallest object' 1 'smallest object' sized.csv --size 99
refused 'a missing trace' 1 'missing.keys' missing.keys
refused 'an empty trace' 1 'empty' empty --format keys
refused 'standard input twice' 2 'once' - -
refused 'a goal without learning' 2 'learns' loop.keys --policy lru --goal bytes
refused 'a width without learning' 2 'width is for a policy that learns' loop.keys --policy lru --width 8
refused 'an early exit without learning' 2 'early-exit is for a policy that learns' loop.keys --policy lru --early-exit
refused 'an early exit of the width that the engine chooses' 2 'needs --width' loop.keys --early-exit
refused 'an unknown goal' 2 'goal' loop.keys --goal speed
refused 'a state without learning' 2 'learns' loop.keys --policy lru --state-dir kept
refused 'candidates never' 2 'mint-every' loop.keys --mint-every 0
refused 'shadows of more than all' 2 'shadow-share' loop.keys --shadow-share 1.5
refused 'an unknown ensemble' 2 'mean, select, stack, bayes, hedge, shadow' loop.keys --ensemble all
refused 'an ensemble without learning' 2 'learns' loop.keys --policy lru --ensemble mean
refused "a state that can't be kept" 1 '/proc/no' loop.keys --format keys --size 10obj \
    --policy learned --state-dir /proc/no/such

# what kind of workload it is, and of how much of each
run trace gen loop -o round.tarn --requests 40000 --objects 2000 --quiet
run replay round.tarn --size 500obj --policy learned --json --device host
json 'the kind of workload' "(lambda r: r['workload'] == 'loop' and 0.5 < r['confidence'] <= 1 and
    r['blend']['loop'] > 0.8 and abs(sum(r['blend'].values()) - 1) < 1e-4)(
    d['traces'][0]['results'][0])"

# what decisions cost: by class and by version, and as a series
json 'what decisions cost' "(lambda f: f['classes']['loop']['requests'] > 20000 and
    abs(f['classes']['loop']['regret']) < 0.2 and f['classes']['loop']['best'] != '' and
    sum(r['requests'] for r in f['series']) == 40000 and f['series'][-1]['end'] == 40000 and
    sum(v['requests'] for v in f['versions']) == 40000)(d['traces'][0]['results'][0]['feedback'])"

# several networks decide together, in each way
run trace gen mixed -o few.tarn --requests 20000 --objects 5000 --quiet
for kind in single mean select stack bayes hedge shadow; do
    run replay few.tarn --size 500obj --policy learned --ensemble $kind --json --device host
    json "$kind" "(lambda r: r['ensemble'] == '$kind' and 0 < r['miss_ratio'] < 1 and r['members']['network'] != 0 and
        r['ensemble_now'] == ('single' if '$kind' == 'shadow' else '$kind') and
        ('frozen' in r['members']) == ('$kind' != 'single') and
        ('$kind' == 'select' or abs(sum(r['members'].values()) - 1) < 1e-4))(d['traces'][0]['results'][0])"
done

# versions go live, and a second run goes on from what the first has left
run trace gen mixed -o mixed.tarn --requests 60000 --objects 20000 --quiet
run replay mixed.tarn --size 2000obj --policy learned --state-dir kept --json --device host
check 'versions are counted' sh -c 'echo "$1" | grep -q "\"swaps\":[[:space:]]*[1-9]"' sh "$out"
check 'and candidates' sh -c 'echo "$1" | grep -q "\"minted\":[[:space:]]*[1-9]"' sh "$out"
check 'what was learnt is kept' [ -s kept/history -a -s kept/live.model ]
run model history kept
check 'and what decisions cost' [ -s kept/feedback ]
check 'its history can be read' sh -c 'echo "$1" | grep -q "trained here"' sh "$out"
run model history kept --json
check 'with what decisions cost' sh -c 'echo "$1" | grep -q "\"regret_by_class\""' sh "$out"
run model history kept/history --json
check 'by programs too' sh -c 'echo "$1" | grep -q "\"why\":[[:space:]]*\"start\""' sh "$out"
run model history kept/live.model
expect 1 'not a history' 'a model is no history'
run model history none
expect 1 'none' 'nor is what is missing'
run model info kept/live.model
expect 0 '' 'as a model that can be looked at'
run replay mixed.tarn --size 2000obj --policy learned --state-dir kept --json --device host
expect 0 '' 'and gone on from'
echo nonsense >kept/live.model
run replay mixed.tarn --size 2000obj --policy learned --state-dir kept --json --device host
expect 0 'live.model' 'what is damaged is named, and done without'
# what would end it is told before anything is read: the pipe has no writer
mkfifo pipe
run replay pipe missing.keys --format keys --size 10obj --policy lru
expect 1 'missing.keys: No such file' 'a second trace that is not there'
run replay pipe --format keys --size 10obj --policy lru,learned --state-dir loop.keys
expect 1 'loop.keys: Not a directory' 'a state in the place of a file'
run replay pipe --format keys --size 10obj --policy lru --plot no/such/folder.svg
expect 1 'no/such/folder.svg' "a chart that can't be written"
finish
