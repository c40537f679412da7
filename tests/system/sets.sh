# SPDX-License-Identifier: Apache-2.0
# Sets of models: searched, looked at, used. $1: the command.
. "$(dirname "$0")/lib.sh"

"$tarn" trace gen zipf -o a.tarn -n 30000 --objects 3000 --quiet
"$tarn" trace gen zipf -o blank.tarn -n 1200 --objects 100 --quiet
run model train a.tarn --steps 200 --rounds 1 --patience 0 -o poor.model --quiet
expect 0 '' 'a poor model'
run model train a.tarn --search --trials 2 --class mine --model poor.model -o my.sets --json --quiet
expect 0 '' 'a search'
json 'what was tried, and what became of it' "[s['name'] for s in d['sets']] == ['mine'] and \
  d['sets'][0]['traces'] == ['a'] and len(d['sets'][0]['trials']) == 2 and \
  d['sets'][0]['kept'] == (d['sets'][0]['misses'] < -2 * d['sets'][0]['error']) and \
  all(t['first'] is not None for t in d['sets'][0]['trials'])"
cp .out first
run model train a.tarn --search --trials 2 --class mine --model poor.model -o again.sets --json --quiet
json 'the same again' "{**d, 'file': 0} == {**json.load(open('first')), 'file': 0}"
check 'the same file' cmp my.sets again.sets
run model verify my.sets
expect 0 '' 'it is whole'
run model info my.sets --json
json 'the general one and its provenance' "'1 rounds of 200 steps' in d['provenance'] and \
  [s['name'] for s in d.get('sets', [])] in ([], ['general', 'mine'])"
head -c 3000 my.sets >cut.sets
run model verify cut.sets
expect 1 'cut.sets: 3000 bytes' 'a cut file is refused by its name'
run replay a.tarn --policy learned --size 5% --model my.sets --device host --json --quiet
expect 0 '' 'replay takes it'
json 'and says what it does' "d['traces'][0]['results'][0]['set'] == 'general' and 'workload_class' in d['traces'][0]['results'][0]"
run model train a.tarn --class mine -o x.model
expect 2 'belong to --search' 'a class without a search'
for wrong in '--class general' '--class a/b' '--class 12345678901234567890123456789012' '--trials 1' '--widths 8,32' \
    --early-exit '--patience 3' '--rounds 1' '--steps 10'; do
    # shellcheck disable=SC2086
    run model train no-such-trace --search $wrong -o x.sets
    expect 2 "${wrong%% *}" "a search with $wrong, before anything is read"
done
run model train no-such-trace --search --device virtual:none -o x.sets
expect 77 'virtual:none' 'a device that is not there'
"$tarn" model train a.tarn --steps 5 --rounds 1 --patience 0 --widths 4,32 --early-exit -o elastic.model --quiet
run model train a.tarn --search --trials 2 --class mine --model elastic.model -o elastic.sets --quiet
expect 0 '' 'a search from an elastic model'
run model info elastic.sets --json
json 'whose set is kept, and elastic alike' "[(s['name'], s['widths'], s['early_exit']) for s in d['sets']] == \
  [('general', [4, 32], True), ('mine', [4, 32], True)]"
run replay a.tarn --policy learned --size 5% --model elastic.sets --width 4 --device host --json --quiet
expect 0 '' 'and used at a width'
run model slice elastic.sets --width 4 -o x.model
expect 1 'elastic.sets: a file of sets; this needs one model' 'slice wants one model'
run model grow elastic.sets --width 40 -o x.model
expect 1 'this needs one model' 'and grow'
run model train no-such-trace --model elastic.sets -o x.model
expect 1 'this needs one model' 'and training without a search'
# what is named is looked at before anything is read: the pipe has no writer
mkfifo pipe
head -c 3000 my.sets >cut.sets
for start in missing.model cut.sets; do
    run model train pipe --search --class mine --model $start -o x.sets
    expect 1 "$start: " "a search from $start ends at once"
    run model train pipe --model $start -o x.model
    expect 1 "$start: " 'and training without one'
done
mkdir somewhere
for trace in missing.tarn somewhere; do
    run model train pipe $trace --search --class mine -o x.sets
    expect 1 "$trace: " "with several traces too: $trace"
    run model train pipe $trace -o x.model
    expect 1 "$trace: " 'and without a search'
    run model slice poor.model pipe $trace --width 8 -o x.model
    expect 1 "$trace: " 'and by slice'
done
run model train blank.tarn --search --class mine -o x.sets --quiet
expect 1 'too short' 'a trace that is too short'
run model train a.tarn --steps 100000 --rounds 1 --patience 1 -o early.model --json --quiet
expect 0 '' 'an early end'
json 'fewer steps than asked for' "0 < d['steps'] < 100000 and d['loss'] > 0"
cp .out early
run model info early.model --json
json 'which its provenance says' "('ended early, after %d steps' % json.load(open('early'))['steps']) in d['provenance'] and \
  'patience 1\n' in d['provenance'] and 'evictions by' not in d['provenance']"
run model train a.tarn --steps 100 --rounds 1 --model poor.model -o next.model --quiet
run model info next.model --json
json 'whole rounds, and what it began with' "'early' not in d['provenance'] and 'evictions by model' in d['provenance']"
mkdir folder
for path in missing/x.model folder; do
    run model train no-such-trace -o $path
    expect 1 "$path: " "where nothing can be written is said first: $path"
    run model train no-such-trace --search -o $path
    expect 1 "$path: " 'with a search too'
    run model slice poor.model no-such-trace --width 8 -o $path
    expect 1 "$path: " 'and by slice'
done
check 'nothing stays behind' [ -z "$(ls folder)" -a -z "$(ls | grep '\.model\..')" ]
finish
