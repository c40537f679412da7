#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The real `tarn replay`, from an empty directory: tables, JSON, charts, errors. $1: the command.
set -u
tarn=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
count=0
failed=0
directory=$(mktemp -d) || exit 1
trap 'rm -rf "$directory"' EXIT
cd "$directory" || exit 1

check() { # what, condition's exit code
    count=$((count + 1))
    if [ "$2" = 0 ]; then
        echo "ok $count - $1"
    else
        echo "not ok $count - $1"
        failed=$((failed + 1))
        sed 's/^/# out: /' out 2>/dev/null | head -20
        sed 's/^/# err: /' err 2>/dev/null | head -5
    fi
}
run() { "$tarn" replay "$@" >out 2>err </dev/null; code=$?; }
fails() { # what, exit code, text of the one line on stderr, arguments
    what=$1 wanted=$2 text=$3
    shift 3
    run "$@"
    [ $code = "$wanted" ] && [ "$(wc -l <err)" = 1 ] && grep -q -- "$text" err && [ ! -s out ]
    check "$what" $?
}

# A loop of 20 keys, ten times, with a few keys of one use.
awk 'BEGIN { for (r = 0; r < 10; r++) { for (i = 0; i < 20; i++) print "k" i; print "once" r } }' >loop.keys
awk 'BEGIN { print "time,key,size,op"; for (i = 0; i < 300; i++)
    print i "," i % 30 "," 100 + i % 30 "," (i % 50 == 49 ? "delete" : "get") }' >sized.csv

run loop.keys --format keys --size 10obj --policy lru,belady
[ $code = 0 ] && grep -q '^lru  *100.00 %' out && grep -q '^belady  *[0-9.]* %.* 100.0 %' out &&
    [ ! -s err ]
check 'a loop misses always under lru, and belady closes the gap' $?

run loop.keys --format keys --size 30obj --policy all
[ $code = 0 ] && [ "$(grep -c '14.29 %' out)" -ge 10 ]
check 'a cache for all objects misses each once' $?

run loop.keys sized.csv --format auto --size 10%,50% --policy lru,s3fifo --json
[ $code = 0 ] && grep -q '"name":[[:space:]]*"loop"' out && grep -q '"name":[[:space:]]*"sized"' out &&
    [ "$(grep -c '"timeline"' out)" = 8 ] && [ "$(grep -c '"objects",$' out)" = 4 ] &&
    ! grep -qiE 'nan|inf' out && [ ! -s err ]
check 'JSON of two traces, two sizes and two policies' $?
if command -v python3 >/dev/null; then
    python3 -c 'import json
d = json.load(open("out"))
assert d["tarn"] and d["device"], d
a, b = d["traces"]
assert a["requests"] == 210 and a["objects"] == 30 and a["bytes"] == 30, a
assert [r["capacity"] for r in a["results"]] == [3, 3, 15, 15], a
assert b["bytes"] == sum(range(100, 130)), b
assert [r["unit"] for r in b["results"]] == ["bytes"] * 4, b
for r in a["results"] + b["results"]:
    assert 0 < r["miss_ratio"] <= 1 and r["cpu_seconds"] >= 0, r
    assert r["timeline"][-1][0] == (210 if r in a["results"] else 300), r
' 2>err
    check 'every field of the JSON' $?
fi

cat loop.keys | "$tarn" replay - --format keys --size 10obj --policy lru >out 2>err
[ $? = 0 ] && grep -q '^lru  *100.00 %' out
check 'standard input' $?

run sized.csv --unit-size --limit 60 --size 50% --policy lru --json
[ $code = 0 ] && grep -q '"requests":[[:space:]]*60' out && grep -q '"unit":[[:space:]]*"objects"' out
check '--limit and --unit-size' $?

run loop.keys sized.csv --size 10%,50%,5obj --plot chart.svg --policy all --quiet
[ $code = 0 ] && [ ! -s err ] && grep -q '^</svg>' chart.svg && grep -q 's3fifo' chart.svg &&
    grep -q 'Cache of 10% ' chart.svg && ! grep -qE '[" ](nan|inf)' chart.svg
check 'a chart' $?
if command -v rsvg-convert >/dev/null; then
    rsvg-convert chart.svg -o chart.png 2>err
    check 'the chart can be drawn' $?
fi

run sized.csv --size 10% --policy lhd,wtinylfu --json --seed 3
sed '/requests_per_second/d; /cpu_seconds/d' out >first
run sized.csv --size 10% --policy lhd,wtinylfu --json --seed 3
sed '/requests_per_second/d; /cpu_seconds/d' out | cmp -s - first && grep -q wtinylfu first
check 'the same seed gives the same figures' $?

printf '' >empty
fails 'no trace' 2 'TRACE' --size 1%
fails 'an unknown policy' 2 "did you mean 's3fifo'" loop.keys --policy lru,s3fif
fails 'a policy twice' 2 'twice' loop.keys --policy lru,lru
fails 'no size' 2 "'abc' is not a size" loop.keys --size 1%,abc
fails 'an empty item' 2 'list of sizes' loop.keys --size 1%,
fails 'a size below one object' 1 'holds not one object' loop.keys --format keys --size 1%
fails 'fewer bytes than the smallest object' 1 'smallest object' sized.csv --size 99
fails 'a missing trace' 1 'missing' missing.keys
fails 'an empty trace' 1 'empty' empty --format keys
fails 'standard input twice' 2 'once' - -
fails 'a goal without learning' 2 'learns' loop.keys --policy lru --goal bytes
fails 'an unknown goal' 2 'goal' loop.keys --goal speed
run loop.keys --format keys --size 10obj --policy lru --plot no/such/folder.svg
[ $code = 1 ] && [ "$(wc -l <err)" = 1 ] && grep -q 'no/such/folder.svg' err
check 'a chart that cannot be written' $?

echo "1..$count"
[ $failed = 0 ]
