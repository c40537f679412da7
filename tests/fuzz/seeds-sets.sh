#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The seeds of the fuzzer of sets: a model alone, and the smallest sets. seeds-sets.sh MODEL FOLDER
set -eu
model=$1 folder=$2
rm -rf "$folder"
mkdir -p "$folder"
cp "$model" "$folder/default.model"
zeros() { dd if=/dev/zero bs=1 count="$1" 2>/dev/null; }
one=$(printf '\\000\\000\\200\\077') half='\000\000\000\077' four='\000\000\200\100'
# a set: rate, pace, replayed, mix rate, half-life, network; the fuzzer mends places and checksums
entry() {
    printf '%s' "$1"
    zeros $((32 - ${#1}))
    zeros 4
    printf '\101\000\000\000'
    printf "$one$one"
    zeros 8
    printf "$four$half"
    zeros 32
}
tiny() {
    printf 'TARNMDL\032\001\000\000\000\101\000\000\000\001\000\001\000\001\000\001\000\001\000\000\000\000\000\000\000'
    printf '\000\000\200\077\000\000\000\277\000\000\200\077\000\000\000\277\000\000\200\077\000\000\000\277x01234567'
}
{
    printf 'TARNSET\032\001\000\000\000\000\000\000\000\002\000\000\000'
    zeros 12
    entry general
    entry loop
    tiny
    tiny
    zeros 8
} >"$folder/tiny.sets"
