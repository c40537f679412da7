# SPDX-License-Identifier: Apache-2.0
# `tarn bench learn`: the fields that programs rely on, and what it says of wrong usage. $1: the command.
. "$(dirname "$0")/lib.sh"

run bench learn --quick --json --quiet
expect 0 '' 'all of it, quickly'
json 'what programs rely on' "all(k in d for k in ('adaptation_speedup', 'adaptation', 'forgetting', \
  'loop_cost', 'sabotage')) and all(k in d['sabotage'] for k in ('trials', 'stopped_share', \
  'undone_share', 'false_rollbacks_share'))"
json 'pairs' "d['adaptation'] and all(p['name'] and 0 < p['reference_miss_ratio'] <= 1 and \
  0 < p['tarn_miss_ratio'] <= 1 and all(p[k] is None or 0 <= p[k] <= p['requests'] \
  for k in ('tarn', 'periodic', 'none')) for p in d['adaptation'])"
json 'the median is of the pairs that say something' "d['adaptation_pairs_told'] == \
  sum(p['ratio'] is not None for p in d['adaptation']) and \
  (d['adaptation_speedup'] is None) == (d['adaptation_pairs_told'] == 0)"
json 'a second visit' "d['forgetting'] and all(0 < s[k] <= 1 for s in d['forgetting'] \
  for k in ('tarn', 'naive', 'best'))"
json 'cells' "d['loop_costs'] and abs(d['loop_cost'] - sum(c['gated'] / c['in_place'] - 1 \
  for c in d['loop_costs']) / len(d['loop_costs'])) < 1e-9 and abs(d['loop_cost']) < 0.2"
json 'trials, and weights that are no numbers are stopped' "d['sabotage']['trials'] > 0 and \
  d['sabotage']['trials'] == sum(k['trials'] for k in d['sabotage']['kinds']) + d['sabotage']['offered'] \
  and all(k['stopped_share'] == 1 for k in d['sabotage']['kinds'] if k['name'] == 'not a number')"
cp .out first
run bench learn --quick --json --quiet --only cost
json 'one part alone, the same figures again' "d['loop_costs'] == json.load(open('first'))['loop_costs'] \
  and d['sabotage'] is None and d['adaptation'] == [] and d['adaptation_speedup'] is None"

"$tarn" trace gen zipf -o a.tarn --requests 30000 --objects 4000 --quiet
"$tarn" trace gen recency -o b.tarn --requests 30000 --objects 4000 --quiet
run bench learn a.tarn b.tarn --quick --json --quiet --only adaptation,cost --period 20000
expect 0 '' 'traces'
json 'pairs of them, and cells of two sizes' "[p['name'] for p in d['adaptation']] == ['a > b', 'b > a'] \
  and len(d['loop_costs']) == 4"
run bench learn --only speed
expect 2 "none of adaptation" 'no such part'
run bench learn missing.tarn --only cost
expect 1 'missing.tarn' 'no such trace'
finish
