# SPDX-License-Identifier: Apache-2.0
# What `meson install` puts down is all that a program needs: installed.sh BUILD SOURCE CC. Installs
# into an empty folder, builds embed.c there by pkg-config and runs it, and the command too. TAP.
set -u
build=$1 source=$2 cc=$3
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
unset TARN_DEVICE TARN_LOG LD_LIBRARY_PATH
cases=0

report() { # EXIT-CODE TEXT
    cases=$((cases + 1))
    if [ "$1" = 0 ]; then
        echo "ok $cases - $2"
    else
        echo "not ok $cases - $2"
        tail -5 "$work/log" | sed 's/^/# /'
    fi
}

check() { # TEXT COMMAND...
    text=$1
    shift
    "$@" >"$work/log" 2>&1 </dev/null
    report $? "$text"
}

check 'it installs' meson install -C "$build" --no-rebuild --destdir "$work/root"
pc=$(find "$work/root" -name tarn.pc)
if [ -z "$pc" ]; then
    report 1 'there is a pkg-config file'
    echo "1..$cases"
    exit 1
fi
export PKG_CONFIG_PATH="$(dirname "$pc")" PKG_CONFIG_SYSROOT_DIR="$work/root"
library=$(find "$work/root" -name 'libtarn.so')
header_folder=$(find "$work/root" -type d -path '*/include/tarn')
cp "$source/tests/examples/embed.c" "$work"
mkdir "$work/empty"
cd "$work/empty" || exit 1

for header in "$header_folder"/*.h; do
    name=tarn/$(basename "$header")
    printf '#include <%s>\n#include <%s>\nint main(void) { return 0; }\n' "$name" "$name" >"$work/alone.c"
    check "$name stands alone, as C11 too" $cc -std=c11 -Wall -Wextra -Wpedantic -Werror -fsyntax-only \
        $(pkg-config --cflags tarn) "$work/alone.c"
done
cmp_headers() {
    for header in "$source"/include/tarn/*.h; do
        cmp "$header" "$header_folder/$(basename "$header")" || return 1
    done
}
check 'every public header is installed' cmp_headers
check 'embed.c builds by pkg-config' $cc -O2 -Wall -Wextra -Werror "$work/embed.c" -o "$work/embed" \
    $(pkg-config --cflags --libs tarn)
LD_LIBRARY_PATH=$(dirname "$library")
export LD_LIBRARY_PATH
check 'embed runs on the host' "$work/embed" host
if pkg-config --exists OpenCL; then
    foreign() {
        $cc -O2 -Wall -Wextra -Werror "$source/tests/examples/share_opencl.c" -o "$work/share_opencl" \
            $(pkg-config --cflags --libs tarn OpenCL) -lm
    }
    check 'share_opencl.c builds by pkg-config' foreign
fi
others() { pkg-config --static --libs tarn | tr ' ' '\n' | grep -v '^-ltarn$'; }
check 'it builds with the static library' $cc -O2 "$work/embed.c" -o "$work/embed-static" \
    $(pkg-config --cflags tarn) "$(dirname "$library")/libtarn.a" $(others)
is_shared() { readelf -d "$work/embed" | grep -q 'NEEDED.*libtarn\.so\.0'; }
check 'it uses the shared library, by its version' is_shared
only_tarn() { ! nm -D --defined-only "$library" | awk '{print $3}' | grep -v '^tarn_'; }
check 'the library shows tarn_ symbols only' only_tarn
tarn=$(find "$work/root" -path '*/bin/tarn')
unset LD_LIBRARY_PATH
runs() {
    "$tarn" trace gen zipf -o x.tarn --requests 20000 --objects 2000 --quiet &&
        "$tarn" replay x.tarn --policy learned,lru --device host --json | grep -q train_steps
}
check 'the command runs on its own from an empty folder' runs
nothing_else() { [ "$(ls -A)" = x.tarn ]; }
check 'and leaves nothing there but what it was asked for' nothing_else
manuals() { [ -n "$(find "$work/root" -name tarn.1)" ] && [ -n "$(find "$work/root" -name tarn-replay.1)" ]; }
check 'the man pages are there' manuals
echo "1..$cases"
