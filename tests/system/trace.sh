# SPDX-License-Identifier: Apache-2.0
# Traces through the real binary: generated, converted, inspected; and everything that can be wrong
# with one.
. "$(dirname "$0")/lib.sh"

zstd=yes
run trace gen loop --requests 10 -o probe.tarn.zst
case $err in *'left out'*) zstd=no ;; esac

# ---- generators ----
for kind in zipf scan loop recency drift burst mixed phases; do
    run trace gen $kind --requests 20000 --objects 1000 -o $kind.tarn
    expect 0 '' "gen $kind"
    run trace info $kind.tarn --json
    json "info of $kind" "d['requests'] == 20000 and d['format'] == 'tarn' and d['objects'] > 100"
    run trace gen $kind --requests 20000 --objects 1000 -o again.tarn
    check "$kind is the same for the same seed" cmp -s $kind.tarn again.tarn
    if [ $kind != loop ]; then # a loop without zipf requests has nothing random in it
        run trace gen $kind --requests 20000 --objects 1000 --seed 2 -o again.tarn
        check "$kind differs for another seed" sh -c "! cmp -s $kind.tarn again.tarn"
    fi
done
run trace gen zpif -o x.tarn
expect 2 "did you mean 'zipf'" 'a mistyped workload'
run trace gen zipf --param alpha=much -o x.tarn
expect 2 'alpha=much' 'a parameter out of range'
run trace gen zipf --param length=3 -o x.tarn
expect 2 'length' 'a parameter of another model'
run trace gen zipf -o /nowhere/x.tarn
expect 1 'No such file' 'a folder that is not there'
check 'nothing is left behind' [ ! -e x.tarn ]

# ---- formats ----
run trace gen zipf --requests 20000 --objects 1000 --param sizes=lognormal --param rate=100 -o a.tarn
run trace info --json a.tarn
same="d['requests'] == 20000 and d['footprint'] == $(sed -n 's/.*"footprint":[^0-9]*\([0-9]*\).*/\1/p' .out)"
json 'sizes and times' "d['size']['max'] > d['size']['min'] and d['seconds'] == 199"
endings='csv oracleGeneral tarn'
[ $zstd = yes ] && endings="$endings csv.zst oracleGeneral.zst tarn.zst oracleGeneral.bin.zst"
for ending in $endings; do
    run trace convert a.tarn -o b.$ending
    expect 0 '' "convert to .$ending"
    run trace info b.$ending --json
    json "read .$ending" "$same and d['seconds'] == 199"
    cp b.$ending nameless
    run trace info nameless --json
    json "$ending is found by its content" "$same"
    "$tarn" trace info - --json <b.$ending >.out 2>.err
    json "$ending from standard input" "$same"
    run trace convert b.$ending -o back.tarn
    check "$ending keeps everything" cmp -s a.tarn back.tarn
done
run trace convert a.tarn -o a.keys
run trace info a.keys --json
json 'keys' "d['requests'] == 20000 and d['unit_sizes'] and d['seconds'] is None"
printf 'url,bytes,method\n"/a, ""b""",10,GET\n/c,20,put\n/c,0,DELETE\n"/a, ""b""",11,get\n' >q.csv
run trace info q.csv --json
json 'csv with a header and quotes' "d['objects'] == 2 and d['footprint'] == 31 and d['ops']['put'] == 1"
printf '5 ; a;9\r\n4;b ;7\r\n' >s.csv
run trace info s.csv --columns time,key,size --json
json 'csv with semicolons' "d['footprint'] == 16 and d['times_out_of_order'] == 1"
printf 'key,tag,cost\n1,7,2500\n2,0,0\n3,,0.5\n' >c.csv
run trace info c.csv --json
json 'tags and costs' "d['gets_by_tag'] == {'0': 2, '7': 1} and \
  d['cost_us'] == {'gets': 2, 'min': 0.5, 'median': 2500, 'mean': 1250.25, 'max': 2500}"
run trace info c.csv
says '^tags        gets of 7: 1, none: 2' 'tags as text'
says '^costs       min 0.5, median 2500, mean 1250.25, max 2500 us; of 2 gets' 'costs as text'
run trace info s.csv --columns time,key,size --json
json 'a trace without' "d['gets_by_tag'] is None and d['cost_us'] is None"
run trace convert c.csv -o c.tarn
run trace convert c.tarn -o c2.csv
check 'tags and costs are kept' [ "$(paste -sd' ' c2.csv)" = 'key,size,op,tag,cost 1,1,get,7,2500 2,1,get,0,0 3,1,get,0,0.5' ]
run trace convert c.csv -o c.oracleGeneral
expect 1 'no tags and costs' 'which oracle cannot hold'
run trace convert q.csv -o q.oracleGeneral
expect 1 'gets only' 'what oracle cannot hold'
check 'and no half file' [ ! -e q.oracleGeneral ]
if [ -w /dev/full ]; then
    run trace convert a.tarn -o /dev/full
    expect 1 'No space left' 'a full disk'
fi

# ---- bad input ----
bad() { # FILE PATTERN TEXT [OPTION...]
    file=$1 pattern=$2 text=$3
    shift 3
    run trace info "$@" "$file"
    expect 1 "$pattern" "$text"
}
: >empty
for ending in csv keys oracleGeneral tarn; do
    cp empty empty.$ending
    bad empty.$ending 'empty' "empty .$ending"
done
bad missing 'missing: No such file' 'a missing file'
bad . 'directory' 'a folder'
head -c 1000 b.oracleGeneral >cut.oracleGeneral
bad cut.oracleGeneral 'byte 984: .*16 of 24' 'a truncated oracle record'
for n in 7 15 20 5000; do
    head -c $n a.tarn >first.tarn
    bad first.tarn 'is cut short\|first bytes' "the first $n bytes of tarn"
done
head -c "$(($(wc -c <a.tarn) - 24))" a.tarn >endless.tarn
bad endless.tarn 'is cut short' 'tarn without its end'
{ cat a.tarn; echo; } >long.tarn
bad long.tarn 'follows the end' 'tarn with something behind it'
{ head -c 3000 a.tarn; printf 'X'; tail -c +3002 a.tarn; } >flip.tarn
bad flip.tarn 'checksum' 'tarn with a wrong byte'
{ printf '\211TARNTR\n\377\377\0\0\0\0\0\0'; } >new.tarn
bad new.tarn 'checksum' 'a damaged header'
LC_ALL=C awk 'BEGIN { srand(7); for (i = 0; i < 4800; i++) printf "%c", 128 + int(rand() * 127) }' >garbage
printf '\1\2\3' >>garbage
bad garbage 'not a trace in a known format' 'garbage'
cp garbage garbage.oracleGeneral
bad garbage.oracleGeneral 'byte 0' 'garbage that is named a trace'
cp garbage garbage.tarn
bad garbage.tarn 'byte 0' 'garbage that is named tarn'
printf '1,2,3\n1,x,y\n' >n.csv
bad n.csv 'n.csv:2: .y. is not a size' 'a size that is none'
printf 'key,tag,cost\n1,1,2\n1,9,2\n' >t.csv
bad t.csv 't.csv:3: .9. is not a tag' 'a tag that is none'
printf 'key,cost\n1,nan\n' >t.csv
bad t.csv 't.csv:2: .nan. is not a cost' 'a cost that is none'
printf 'a,b\nfoo,bar\n' >h.csv
bad h.csv 'h.csv:1: .a. is not a time' 'a header that says nothing'
printf '1,"2,3\n' >u.csv
bad u.csv 'quote' 'a quote that stays open'
printf 'time,key\n5\n' >f.csv
bad f.csv 'f.csv:2: .*no key' 'a line without its key'
bad n.csv 'none is named key' 'columns without a key' --columns time,size
printf 'a\0b\n' >nul.keys
bad nul.keys 'nul.keys:1: .*NUL' 'a NUL byte'
if [ $zstd = yes ]; then
    head -c 1000 b.tarn.zst >part.zst
    bad part.zst 'zstd stream is cut short' 'a truncated zstd stream'
    { head -c 100 b.tarn.zst; head -c 5000 garbage; } >flip.zst
    bad flip.zst 'zstd' 'a damaged zstd stream'
fi
# fine, if unusual
printf '9,1,0\n3,1,0\n5,2,0\n' >zero.csv
run trace info zero.csv --json
json 'zero sizes count 1' "d['footprint'] == 2 and d['unit_sizes']"
printf '1,a,10737418240\n2,b,1\n' >big.csv
run trace info big.csv --json
json 'a 10 GB object' "d['size']['max'] == 10737418240 and d['footprint'] == 10737418241"
run trace convert big.csv -o big.tarn
run trace info big.tarn --json
json 'a 10 GB object in tarn' "d['size']['max'] == 10737418240"
run trace convert big.csv -o big.oracleGeneral
expect 1 'below 2^32' 'a 10 GB object in oracle'
printf '1,a,18446744073709551615\n' >huge.csv
bad huge.csv 'not a size' 'a size beyond reason'
printf 'k' >one.keys
run trace info one.keys --json
json 'one key without a newline' "d['requests'] == 1 and d['reuse_requests']['median'] is None"
check 'no temporary files are left' [ -z "$(ls | grep '\.......$' | grep -v '\.tarn$\|\.keys$')" ]

finish
