# SPDX-License-Identifier: Apache-2.0
# Elastic models: trained, looked at, cut, grown, used. $1: the command.
. "$(dirname "$0")/lib.sh"

"$tarn" trace gen zipf -o a.tarn -n 30000 --objects 3000 --quiet
run model train a.tarn --steps 300 --rounds 1 --patience 0 --widths 8,16,32 --early-exit -o e.model --quiet
expect 0 '' 'an elastic model'
run model info e.model
says '^elastic     8, 16, 32 units, each without' 'says that it is one'
run model info e.model --json
json 'in JSON too' "d['widths'] == [8, 16, 32] and d['early_exit'] and d['shape'] == [28, 32, 32, 11]"
run model info --json
json 'the built-in one has its own width' "d['widths'][-1] == 32"
run model slice e.model --width 8 -o small.model
expect 0 '' 'a slice'
run model info small.model --json
json 'is a model by itself' "d['shape'] == [28, 8, 8, 11] and 'sliced from 32' in d['provenance']"
run model slice e.model --width 12 -o x.model
expect 1 'isn.t trained' 'a width that was not trained'
run model slice e.model a.tarn --width 12 --limit 20000 -o cut.model --json
expect 0 '' 'by importance'
json 'any width' "d['widths'] == [12] and d['parameters'] == 12 * 29 + 12 * 13 + 11 * 13"
run model grow e.model --width 40 -o large.model --json
expect 0 '' 'grown'
json 'it keeps its widths' "d['widths'] == [8, 16, 32, 40]"
run model grow e.model --width 20 -o x.model
expect 1 '64 at most' 'to less than there is'
for options in '--width 8' '--width 16 --early-exit' ''; do
    # shellcheck disable=SC2086
    run replay a.tarn --policy learned --size 5% --model e.model $options --device host --json --quiet
    expect 0 '' "replayed with '$options'"
    json 'which the result says' "(lambda r: ['--width', str(r['width'])] + r['early_exit'] * ['--early-exit'] == '$options'.split() if '$options'
      else r['width'] in (8, 16, 32) and r['width_changes'] >= 0)(d['traces'][0]['results'][0])"
    json 'and which set' "(lambda r: r['set'] == 'general' and r['class_changes'] == r['class_returns'] == 0)(d['traces'][0]['results'][0])"
done
cp .out whole
run replay a.tarn --policy learned --size 5% --model large.model --width 32 --device host --json --quiet
expect 0 '' 'the large one at the old width'
run model train a.tarn --steps 10 --widths 16,8 -o x.model
expect 2 'rising' 'widths that fall'
run model train a.tarn --steps 10 --widths 8,, -o x.model
expect 2 'rising' 'half a list'
run model slice e.model -o x.model
expect 2 'width N is needed' 'no width'
finish
