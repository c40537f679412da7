#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# size.sh STRIP TARN LIBRARY: what a small device has to hold, stripped as an installation is: the
# library within 500 KB, both within 1.5 MB.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$1" -o "$work/tarn" "$2"
"$1" -o "$work/libtarn.so" "$3"
command=$(wc -c <"$work/tarn") library=$(wc -c <"$work/libtarn.so")
echo 1..2
echo "# tarn $command bytes, libtarn.so $library bytes"
[ "$library" -le 500000 ] || printf 'not '
echo 'ok 1 - the library is within 500 KB'
[ $((command + library)) -le 1500000 ] || printf 'not '
echo 'ok 2 - both are within 1.5 MB'
