# SPDX-License-Identifier: Apache-2.0
# What the system tests share: an empty working directory, TAP, runs that keep stdout, stderr and the
# exit code. The first argument of a test is the command's path.
set -u
tarn=$(CDPATH='' cd -- "$(dirname -- "$1")" && pwd)/$(basename -- "$1")
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
unset TARN_DEVICE TARN_LOG
# what was measured here once is to change no test
TARN_CALIBRATION=off
export TARN_CALIBRATION
cases=0

# run ARGUMENT...: output in $out and $err, exit code in $code
run() {
    "$tarn" "$@" >.out 2>.err </dev/null
    code=$?
    out=$(cat .out)
    err=$(cat .err)
}

report() { # ok|not TEXT
    cases=$((cases + 1))
    if [ "$1" = ok ]; then
        echo "ok $cases - $2"
    else
        echo "not ok $cases - $2"
        echo "# exit $code"
        printf '%s\n' "$out" | head -5 | sed 's/^/# out: /'
        printf '%s\n' "$err" | head -5 | sed 's/^/# err: /'
    fi
}

# expect CODE PATTERN TEXT: the exit code, and one line on stderr that matches (or none for '')
expect() {
    verdict=ok
    [ "$code" = "$1" ] || verdict=not
    if [ -n "$2" ]; then
        [ "$(printf '%s\n' "$err" | wc -l)" = 1 ] || verdict=not
        printf '%s\n' "$err" | grep -q -- "^tarn: .*$2" || verdict=not
    else
        [ -z "$err" ] || verdict=not
    fi
    report $verdict "$3"
}

# says PATTERN TEXT: stdout matches
says() {
    if printf '%s\n' "$out" | grep -q -- "$1"; then report ok "$2"; else report not "$2"; fi
}

# json TEXT [PYTHON]: stdout is one JSON object, and the expression over `d` holds
json() {
    if ! command -v python3 >/dev/null; then
        cases=$((cases + 1))
        echo "ok $cases - $1 # SKIP no python3"
        return
    fi
    if python3 -c "
import json, sys
def no(x): raise ValueError(x)
d = json.load(open('.out'), parse_constant=no)
assert isinstance(d, dict) and (${2:-True})" 2>.python; then
        report ok "$1"
    else
        err=$(tail -1 .python)
        report not "$1"
    fi
}

# check TEXT COMMAND...: the command succeeds
check() {
    text=$1
    shift
    if "$@"; then report ok "$text"; else report not "$text"; fi
}

finish() { echo "1..$cases"; }
