#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How far `tarn replay`'s baselines are from another simulator's figures.

    agreement.py TARN TRACES [--cells POLICY] [--worst N]

TARN is the command. TRACES is a folder with baselines.tsv (columns trace, size_frac, cache_size, algo,
req_miss_ratio, byte_miss_ratio) and TRACE.oracleGeneral.zst for each trace named there. Prints the relative
difference of the miss ratios a policy, cells with unit sizes and with real sizes apart, and fails if a
policy that must agree does not: lru, fifo, clock, sieve and belady within 1 % on every unit-size cell,
s3fifo within 2 % where at least 200 objects fit. The others follow their publications with the parameters
stated in src/sim, which differ from the other simulator's: their rows show by how much.
"""
import argparse
import csv
import json
import os
import subprocess
import sys

NAMES = {'lru': 'LRU', 'fifo': 'FIFO', 'clock': 'CLOCK', 'sieve': 'SIEVE', 'belady': 'Belady',
         's3fifo': 'S3-FIFO', 'arc': 'ARC', 'slru': 'SLRU', 'lfu': 'LFU', 'gdsf': 'GDSF', 'lhd': 'LHD',
         'wtinylfu': 'W-TinyLFU'}
STRICT = {'lru': 0.01, 'fifo': 0.01, 'clock': 0.01, 'sieve': 0.01, 'belady': 0.01}
S3FIFO_LIMIT, S3FIFO_OBJECTS = 0.02, 200


def percent(fraction):
    """0.001 as "0.1%", without rounding noise."""
    return f'{float(fraction) * 100:.6g}%'


def replay(tarn, path, sizes):
    command = [tarn, 'replay', path, '--size', ','.join(sizes), '--policy', ','.join(NAMES), '--json', '--quiet']
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)['traces'][0]


def main():
    parser = argparse.ArgumentParser(description='Compare baselines with a table of figures.')
    parser.add_argument('tarn')
    parser.add_argument('traces')
    parser.add_argument('--cells', metavar='POLICY', help='print every cell of this policy')
    parser.add_argument('--worst', type=int, default=2, help='cells to name a row (default 2)')
    args = parser.parse_args()

    theirs = {}
    with open(os.path.join(args.traces, 'baselines.tsv'), encoding='utf-8') as table:
        for row in csv.DictReader(table, delimiter='\t'):
            theirs[row['trace'], percent(row['size_frac']), row['algo']] = row
    rows, broken = {}, []
    for trace in sorted({key[0] for key in theirs}):
        sizes = sorted({key[1] for key in theirs if key[0] == trace}, key=lambda s: float(s[:-1]))
        ours = replay(args.tarn, os.path.join(args.traces, trace + '.oracleGeneral.zst'), sizes)
        for result in ours['results']:
            row = theirs.get((trace, result['size'], NAMES[result['policy']]))
            if row is None:
                continue
            cell = f"{trace} {result['size']}"
            if result['capacity'] != int(row['cache_size']):
                broken.append(f"{cell}: a limit of {result['capacity']}, not {row['cache_size']}")
            policy, unit = result['policy'], result['unit'] == 'objects'
            wanted = float(row['req_miss_ratio'])
            off = result['miss_ratio'] / wanted - 1
            off_bytes = result['byte_miss_ratio'] / float(row['byte_miss_ratio']) - 1
            objects = result['capacity'] * ours['objects'] / ours['bytes']
            rows.setdefault((policy, unit), []).append((off, off_bytes, cell, result['miss_ratio'], wanted))
            limit = STRICT.get(policy) if unit else None
            if policy == 's3fifo' and objects >= S3FIFO_OBJECTS:
                limit = S3FIFO_LIMIT
            if limit is not None and abs(off) > limit:
                broken.append(f"{policy}, {cell}: {result['miss_ratio']:.4f} against {wanted:.4f} ({off:+.2%})")

    print(f"{'policy':9} {'sizes':5} {'cells':>5} {'mean':>8} {'mean abs':>8} {'bytes':>8}  worst (ours/theirs)")
    for policy in NAMES:
        for unit in (True, False):
            cells = rows.get((policy, unit), [])
            if not cells:
                continue
            worst = sorted(cells, key=lambda c: -abs(c[0]))[:args.worst]
            print(f"{policy:9} {'unit' if unit else 'real':5} {len(cells):5}"
                  f" {sum(c[0] for c in cells) / len(cells):+8.2%}"
                  f" {sum(abs(c[0]) for c in cells) / len(cells):8.2%}"
                  f" {sum(c[1] for c in cells) / len(cells):+8.2%}  "
                  + '; '.join(f"{c[2]} {c[0]:+.2%} ({c[3]:.4f}/{c[4]:.4f})" for c in worst))
    if args.cells:
        for unit in (True, False):
            for off, off_bytes, cell, mine, wanted in rows.get((args.cells, unit), []):
                print(f"{args.cells} {cell}: {mine:.4f} against {wanted:.4f} ({off:+.2%}, bytes {off_bytes:+.2%})")
    for line in broken:
        print('too far: ' + line)
    return 1 if broken else 0


if __name__ == '__main__':
    sys.exit(main())
