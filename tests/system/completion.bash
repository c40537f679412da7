# SPDX-License-Identifier: Apache-2.0
# The completion in bash: what is offered for a line is what the command's help names.
set -u
tarn=$(realpath "$1")
complete() { :; } # not an interactive shell
. "$2"
unset -f complete
n=0

offered() { # LINE, its last word being completed
    read -ra COMP_WORDS <<<"$1"
    [[ $1 == *' ' ]] && COMP_WORDS+=('')
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    COMPREPLY=()
    _tarn
    printf '%s\n' "${COMPREPLY[@]}"
}
expect() { # LINE WORD
    n=$((n + 1))
    if offered "$1" | grep -qxF -- "$2"; then echo "ok $n - '$1' offers $2"
    else echo "not ok $n - '$1' offers $2"; fi
}
cd "$(mktemp -d)" || exit 1
: >file-here
for name in $("$tarn" --help | sed -n '/^commands:/,/^$/s/^  \([a-z]*\) .*/\1/p'); do
    expect 'tarn ' "$name"
done
expect 'tarn tr' trace
expect 'tarn trace ' convert
expect 'tarn trace convert --o' --output
expect 'tarn --json trace info --col' --columns
expect 'tarn trace info fi' file-here
expect 'tarn help tr' trace
rm file-here
rmdir "$PWD"
echo "1..$n"
