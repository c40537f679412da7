# SPDX-License-Identifier: Apache-2.0
# `tarn devices --calibrate` on all devices, and what follows from it. $1: the command.
. "$(dirname "$0")/lib.sh"
unset TARN_CALIBRATION
# what sensors tell is another each time
mkdir no-sensors
TARN_SYSFS_ROOT=$PWD/no-sensors
export TARN_SYSFS_ROOT

run devices --json --cache-dir cache
json 'nothing is known at first' "all(x['measured'] is None for x in d['devices'])"
run devices --calibrate --json --cache-dir cache
expect 0 '' 'calibration'
json 'figures of each device' "all(x['dispatch_us'] > 0 and \
  (x['type'] == 'virtual' or len(x['measured']['paths']) == 16) \
  for x in d['devices'])"
json 'a crossover with the host, or none' "all(x['measured']['lookup']['device_ns'] > 0 and \
  x['measured']['score']['host_ns'] > 0 and x['measured']['train']['slice'] >= 1 \
  for x in d['devices'] if x['type'] in ('gpu', 'cpu'))"
json 'a CPU-type device is selected only if it won' "all(not x['selected'] or \
  x['lookup_crossover'] or x['score_crossover'] or x['train_crossover'] \
  for x in d['devices'] if x['type'] == 'cpu')"
json 'the chosen path is the quickest' "all(p['us'][p['chosen']] <= 1.001 * \
  min(u for u in p['us'].values() if u) for x in d['devices'] for p in x['measured']['paths'])"
json 'the reason agrees with the figures' "all(('at everything' in x['why']) == (not \
  (x['lookup_crossover'] or x['score_crossover'] or x['train_crossover'])) \
  for x in d['devices'] if x['type'] == 'cpu' and not x['selected'] and 'wins' not in x['why'])"
cp .out first
run devices --json --cache-dir cache
check 'the same is remembered' cmp -s .out first
for file in cache/calibration-*; do
    printf 'x' | dd of="$file" bs=1 seek=40 conv=notrunc 2>/dev/null
done
run devices --json --cache-dir cache
expect 0 '' 'damaged files'
json 'are no calibration' "all(x['measured'] is None for x in d['devices'])"
finish
