#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The seeds of the sensors' fuzzer: the recorded files of the boards. seeds-sensors.sh TREES FOLDER
set -eu
trees=$1 folder=$2
rm -rf "$folder"
mkdir -p "$folder"
# one of each name and board is enough
find "$trees" -type f | while read -r file; do
    board=${file#"$trees"/}
    cp "$file" "$folder/${board%%/*}-${file##*/}"
done
