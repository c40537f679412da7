#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The seeds of the trace fuzzer: a small trace in each format. seeds.sh TARN FOLDER
set -eu
tarn=$1 folder=$2
rm -rf "$folder"
mkdir -p "$folder"
"$tarn" --quiet trace gen mixed --requests 60 --objects 20 --param sizes=lognormal \
    --param puts=0.2 --param deletes=0.1 --param rate=3 -o "$folder/all.tarn"
"$tarn" --quiet trace gen loop --requests 40 --objects 9 -o "$folder/unit.tarn"
"$tarn" --quiet trace gen zipf --requests 40 --objects 9 --param sizes=lognormal \
    -o "$folder/gets.oracleGeneral"
"$tarn" --quiet trace convert "$folder/all.tarn" -o "$folder/all.csv"
"$tarn" --quiet trace convert "$folder/all.tarn" -o "$folder/all.keys"
printf 'key,cost,tag,op\n1,2.5e3,7,get\n2,,0,put\n3,0.1,,get\n' >"$folder/cost.csv"
"$tarn" --quiet trace convert "$folder/cost.csv" -o "$folder/cost.tarn"
printf '# Time;URL;x;Size;op\r\n1.5;"a;""b""";;10;GET\r\n2;/c;;0;del\n' >"$folder/odd.csv"
for file in all.tarn gets.oracleGeneral odd.csv; do
    "$tarn" --quiet trace convert "$folder/$file" --to csv -o "$folder/$file.csv.zst" || [ $? = 1 ]
done
