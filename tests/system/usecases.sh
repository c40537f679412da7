# SPDX-License-Identifier: Apache-2.0
# Sites that say what their requests are for: the same requests, with tags and without. $1: the command.
. "$(dirname "$0")/lib.sh"

for site in market shop sensors streaming; do
    for tags in 0 1; do
        "$tarn" trace gen $site -o $site-$tags.tarn -n 150000 --objects 10000 -p tags=$tags --quiet
        run replay $site-$tags.tarn --policy learned --size 1000obj --device host --json --quiet
        expect 0 '' "$site, tags=$tags"
        cp .out $site-$tags.json
    done
    json "$site: a network of its own for each tag misses less" "(lambda m: m[1] < 0.995 * m[0])([json.load(open('$site-%d.json' % i))\
['traces'][0]['results'][0]['miss_ratio'] for i in (0, 1)])"
done
finish
