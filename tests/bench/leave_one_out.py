#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The learned policy on traces whose source its model has never seen.

    leave_one_out.py TARN TRACES [--limit N] [--steps N] [--models DIR] [--device D] [--shipped]

TRACES is a folder with INDEX.tsv (columns name and real_sizes among others), baselines.tsv (trace,
size_frac, cache_size, algo, req_miss_ratio) and TRACE.oracleGeneral.zst. Traces whose names begin alike
up to the first underscore are of one source. For each source a model is trained by `tarn model train`
from all others and from generated workloads; its traces are then replayed with that model. --shipped
skips the training and replays with the built-in model. Cells of at least 50 objects with a gap of at
least 0.02 between LRU and Belady count.
"""
import argparse
import collections
import concurrent.futures
import csv
import json
import os
import subprocess
import sys

KINDS = ('zipf', 'scan', 'loop', 'recency', 'drift', 'burst', 'mixed', 'phases')
FUTURE = ('Belady', 'BeladySize')


def mean(values):
    values = list(values)
    return sum(values) / len(values) if values else float('nan')


def generated(tarn, folder):
    files = []
    for kind in KINDS:
        path = os.path.join(folder, f'generated_{kind}.tarn')
        if not os.path.exists(path):
            subprocess.run([tarn, 'trace', 'gen', kind, '-o', path, '--requests', '200000', '--objects', '10000',
                            '--quiet'], check=True)
        files.append(path)
    return files


def train(tarn, output, traces, args):
    if not os.path.exists(output):
        subprocess.run([tarn, 'model', 'train', *traces, '-o', output, '--rounds', str(args.rounds), '--limit',
                        str(args.limit), '--steps', str(args.steps), '--quiet'], check=True)
    return output


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    parser.add_argument('tarn')
    parser.add_argument('traces')
    parser.add_argument('--limit', type=int, default=400000, help='requests of a trace used for training')
    parser.add_argument('--steps', type=int, default=80000)
    parser.add_argument('--rounds', type=int, default=1)
    parser.add_argument('--models', default='.', help='where models are kept; those there are used again')
    parser.add_argument('--device', default='host')
    parser.add_argument('--shipped', action='store_true')
    args = parser.parse_args()

    with open(os.path.join(args.traces, 'INDEX.tsv'), encoding='utf-8') as file:
        index = {row['name']: row['real_sizes'] == 'y' for row in csv.DictReader(file, delimiter='\t')}
    theirs = collections.defaultdict(dict)
    capacity = {}
    with open(os.path.join(args.traces, 'baselines.tsv'), encoding='utf-8') as file:
        for row in csv.DictReader(file, delimiter='\t'):
            cell = row['trace'], float(row['size_frac'])
            try:
                theirs[cell][row['algo']] = float(row['req_miss_ratio'])
            except ValueError:
                continue
            capacity[cell] = int(row['cache_size'])
    path = {name: os.path.join(args.traces, name + '.oracleGeneral.zst') for name in index}
    sources = collections.defaultdict(list)
    for name in index:
        sources[name.split('_')[0]].append(name)
    model = {}
    if not args.shipped:
        os.makedirs(args.models, exist_ok=True)
        synthetic = generated(args.tarn, args.models)
        for source, names in sources.items():
            others = [path[name] for name in index if name not in names]
            output = train(args.tarn, os.path.join(args.models, f'without_{source}.model'), others + synthetic, args)
            model.update({name: output for name in names})

    def replay(cell):
        command = [args.tarn, 'replay', path[cell[0]], '--size', f'{cell[1] * 100:g}%', '--policy', 'learned',
                   '--device', args.device, '--json', '--quiet']
        if cell[0] in model:
            command += ['--model', model[cell[0]]]
        result = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)['traces'][0]
        return result['results'][0]['miss_ratio'], result['results'][0]['cpu_seconds'] / result['requests'] * 1e6

    cells = []
    for cell, figures in sorted(theirs.items()):
        best = min(figures.get(name, 1) for name in FUTURE)
        if 'LRU' in figures and figures['LRU'] - best >= 0.02 and (index[cell[0]] or capacity[cell] >= 50):
            cells.append(cell)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(replay, cells))
    ours = {cell: result[0] for cell, result in zip(cells, results)}

    def closed(cell, figure):
        best = min(theirs[cell].get(name, 1) for name in FUTURE)
        return (theirs[cell]['LRU'] - figure) / (theirs[cell]['LRU'] - best)

    for cell in cells:
        print(f"{cell[0]:22s} {cell[1] * 100:5g}%  LRU {theirs[cell]['LRU']:.4f}  learned {ours[cell]:.4f}  "
              f"{100 * (ours[cell] / theirs[cell]['LRU'] - 1):+6.2f} %")
    print(f'\n{len(cells)} cells; means over the cells that both have\n'
          f"{'':20s} cells  gap closed  learned's  misses against it")
    ahead = True
    algorithms = sorted({name for cell in cells for name in theirs[cell] if name not in FUTURE},
                        key=lambda name: -mean(closed(c, theirs[c][name]) for c in cells if name in theirs[c]))
    for name in algorithms:
        both = [cell for cell in cells if name in theirs[cell]]
        gap, own = (mean(closed(c, theirs[c][name]) for c in both), mean(closed(c, ours[c]) for c in both))
        misses = mean(ours[c] / theirs[c][name] - 1 for c in both)
        print(f'{name:20s} {len(both):5d}  {100 * gap:8.1f} %  {100 * own:7.1f} %  {100 * misses:+7.2f} %')
        if name in ('LRU', 'S3-FIFO', 'SIEVE', 'ARC', '3LCache-OMR', 'GLCache', 'LRB-OMR'):
            ahead = ahead and own > gap
    worst = max(cells, key=lambda c: ours[c] / theirs[c]['LRU'])
    print(f"worst against LRU: {worst[0]} {worst[1] * 100:g}% {100 * (ours[worst] / theirs[worst]['LRU'] - 1):+.2f} %; "
          f'{mean(r[1] for r in results):.2f} us of CPU a request')
    return 0 if ahead and ours[worst] <= 1.01 * theirs[worst]['LRU'] else 1


if __name__ == '__main__':
    sys.exit(main())
