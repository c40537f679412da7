#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The seeds of the model fuzzer: the built-in model, and the smallest. seeds-model.sh MODEL FOLDER
set -eu
model=$1 folder=$2
rm -rf "$folder"
mkdir -p "$folder"
cp "$model" "$folder/default.model"
# 1-1-1-1: six weights, a text of one letter; the fuzzer mends the checksum
{
    printf 'TARNMDL\032\001\000\000\000\101\000\000\000\001\000\001\000\001\000\001\000\001\000\000\000\000\000\000\000'
    printf '\000\000\200\077\000\000\000\277\000\000\200\077\000\000\000\277\000\000\200\077\000\000\000\277x01234567'
} >"$folder/tiny.model"
# 1-2-1-1 with a nested width of 1 that leaves early
{
    printf 'TARNMDL\032\001\000\000\000\115\000\000\000\001\000\002\000\001\000\001\000\001\000\000\000\001\000\000\001'
    printf '\000\000\200\077\000\000\000\277\000\000\200\077\000\000\000\277\000\000\200\077\000\000\000\277'
    printf '\000\000\200\077\000\000\000\277\000\000\200\077x01234567'
} >"$folder/nested.model"
