# SPDX-License-Identifier: Apache-2.0
# The same requests and seed on every device that is there: miss ratios agree within 0.3 %. The caches are large
# enough for a device to score.
. "$(dirname "$0")/lib.sh"

"$tarn" --quiet trace gen zipf -o zipf.tarn --requests 200000 --objects 20000 --seed 3
"$tarn" --quiet trace gen mixed -o mixed.tarn --requests 100000 --objects 20000 --seed 3

field() { printf '%s\n' "$out" | sed -n "s/.*\"$1\":[^0-9]*\\([0-9.]*\\).*/\\1/p" | head -1; }

for trace in zipf mixed; do
    size=40%
    [ $trace = mixed ] && size=10%
    run replay $trace.tarn --size $size --policy learned --device host --json --quiet
    code_host=$code
    host=$(field miss_ratio)
    check "$trace on the host" [ "$code_host" = 0 ]
    for device in virtual:mali virtual:jetson opencl:0 vulkan:0; do
        # lavapipe takes its time for gradient steps: one of the two is enough there
        [ $device = vulkan:0 ] && [ $trace = mixed ] && continue
        run devices --json
        printf '%s\n' "$out" | grep -q "\"$device\"" || continue
        run replay $trace.tarn --size $size --policy learned --device $device --json --quiet
        json "$trace on $device: within 0.3 % of the host, on the device indeed" \
            "abs(d['traces'][0]['results'][0]['miss_ratio'] / $host - 1) < 0.003 and
            d['traces'][0]['results'][0]['kernels']['score']['launches'] > 10"
    done
done
# the same again is the same to the last miss
run replay zipf.tarn --size 40% --policy learned --device virtual:mali --json --quiet
first=$(field miss_ratio)
run replay zipf.tarn --size 40% --policy learned --device virtual:mali --json --quiet
check 'a device repeats itself' [ "$first" = "$(field miss_ratio)" ]
finish
