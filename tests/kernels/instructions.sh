#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# instructions.sh OBJDUMP CPU-FAMILY ISA ARCHIVE: the host kernels' code holds the vectors that its
# instruction set is there for (a missing flag leaves right answers and slow code), and none above it
# (a CPU that was asked first would stop at them).
set -eu
code=$(mktemp)
trap 'rm -f "$code"' EXIT
"$1" -d --no-show-raw-insn "$4" >"$code"
case $2-$3 in
x86_64-baseline) uses='mulps.*%xmm' never='%[yz]mm' ;;
x86_64-avx2) uses='vfmadd.*ps.*%ymm' never='%zmm' ;;
x86_64-avx512) uses='vfmadd.*ps.*%zmm' never='' ;;
aarch64-neon) uses='fml[as].*v[0-9]+\.4s' never='[^a-z]z[0-9]+\.s' ;;
arm-baseline) uses='v(mul|mla|fma)\.f32' never='[^a-z0-9]q[0-9]' ;;
arm-neon) uses='v(mla|fma|mul)\.f32[[:space:]]+q' never='vfma\.f32' ;;
*) uses='' never='' ;;
esac
if [ -z "$uses$never" ]; then
    echo "1..0 # SKIP nothing known of $3 on $2"
    exit 0
fi
echo 1..2
count=$(grep -cE "$uses" "$code") || true
[ "$count" -ge 50 ] && echo "ok 1 - $3 uses its vectors" || {
    echo "not ok 1 - $3 uses its vectors"
    echo "# $count instructions of: $uses"
}
if [ -n "$never" ] && grep -qE "$never" "$code"; then
    echo "not ok 2 - $3 holds nothing above it"
    grep -m3 -E "$never" "$code" | sed 's/^/# /'
else
    echo "ok 2 - $3 holds nothing above it"
fi
