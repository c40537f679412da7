# SPDX-License-Identifier: Apache-2.0
# The command line itself: help of each command, exit codes, errors, output that can't be written.
data=$(CDPATH='' cd -- "$(dirname -- "$0")/../data/sysfs" && pwd)
. "$(dirname "$0")/lib.sh"

run --version
expect 0 '' 'version'
says '^tarn [0-9]' 'version has a number'
run --help
expect 0 '' 'help'
says '^usage: tarn COMMAND' 'help has the usage'

commands=$("$tarn" --help | sed -n '/^commands:/,/^$/s/^  \([a-z]*\) .*/\1/p' | grep -v '^help$')
check 'there are commands' [ -n "$commands" ]
for name in $commands; do
    run help "$name"
    expect 0 '' "help $name"
    says '^usage: tarn ' "help $name has the usage"
    help=$out
    run "$name" --help
    check "$name --help is the same" [ "$out" = "$help" ]
    run help man "$name"
    says '^\.SH SYNOPSIS' "$name has a man page"
    for sub in $(printf '%s\n' "$help" | sed -n '/^commands:/,/^$/s/^  \([a-z]*\) .*/\1/p'); do
        run "$name" "$sub" --help
        expect 0 '' "$name $sub --help"
        says "^usage: tarn $name $sub" "$name $sub --help has the usage"
    done
done

run
expect 2 'no command' 'no command'
run trcae
expect 2 "did you mean 'trace'" 'a mistyped command'
run help nothing-like-it
expect 2 'no command' 'help of an unknown command'
run trace
expect 2 'which of its commands' 'a command that needs a subcommand'
run trace inof x
expect 2 "did you mean 'info'" 'a mistyped subcommand'
run trace info --frmat csv x
expect 2 "did you mean '--format'" 'a mistyped option'
run trace info -Z x
expect 2 "no option '-Z'" 'an unknown letter'
run trace info --json=yes x
expect 2 'takes no value' 'a flag with a value'
run trace info --format
expect 2 'needs F' 'an option without its value'
run trace info --limit -3 x
expect 2 'whole number' 'a negative number'
run trace info --limit 0x x
expect 2 'whole number' 'half a number'
run trace info --limit 99999999999999999999 x
expect 2 'whole number' 'a number beyond 64 bits'
run --seed abc trace info x
expect 2 'seed' 'a seed that is none'
run --log loud trace info x
expect 2 'none of none' 'a log level that is none'
run trace info
expect 2 'one FILE' 'a missing argument'
run trace info a b
expect 2 'one FILE' 'too many arguments'
run trace info -- --help
expect 1 'No such file' 'words behind -- are no options'
TARN_LOG=loud run devices
expect 2 'TARN_LOG' 'a wrong environment'

run devices --json
expect 0 '' 'devices'
json 'devices as JSON' "[x['id'] for x in d['devices'] if x['type'] != 'virtual'][-1] == 'host' and \
  [x['id'] for x in d['devices']][-3:] == ['virtual:mali', 'virtual:videocore', 'virtual:jetson'] and \
  sum(x['selected'] for x in d['devices']) == 1 and all(x['why'] for x in d['devices'])"
json 'the board and its sensors, or null' "set(d['board']) == {'name', 'profile'} and 'gpu_load' in d['sensors']"
TARN_SYSFS_ROOT=$data/jetson-orin run devices --device host --json
expect 0 '' 'a recorded Jetson'
json 'its name, profile and sensors' "d['board'] == {'name': 'NVIDIA Jetson Orin Nano Developer Kit', \
  'profile': 'jetson'} and d['sensors']['gpu_load'] == 0.423 and d['sensors']['power_scope'] == 'board' and \
  d['sensors']['battery_percent'] is None and d['sensors']['on_battery'] is None"
TARN_SYSFS_ROOT=$data/laptop-amdgpu run devices --device host
says '^board: LENOVO 21CF004PGE$' 'a board in words'
says '^now: GPU 8 % busy, GPU clock 200 of 2200 MHz, 48 C, .*on battery, battery 82 %' 'and how it is doing'
TARN_SYSFS_ROOT=$data/container run devices --device host --json
json 'nothing to be had' "set(d['sensors'].values()) == {None} and d['board'] == {'name': None, 'profile': None}"
TARN_SYSFS_ROOT=/nowhere run devices --device host --json
expect 0 'nowhere' 'a root that is none is a warning'
run devices --device host --json --calibrate --cache-dir cache
json 'calibrated' "all(x['dispatch_us'] > 0 for x in d['devices'] if x['selected'])"
run devices --device host --json --cache-dir cache
json 'and remembered' "all(x['dispatch_us'] > 0 for x in d['devices'] if x['selected'])"
run bench score --device host --quick --path fused,host --width 32 --json
json 'paths of a width' "[x['path'] for x in d['rows']] == ['host', 'fused'] and \
  all(x['us'] > 0 and x['host_us'] > 0 and x['shape'] == '28-32-32-11' for x in d['rows'])"
run bench train --device host --quick --path gemm --width 512 --batch 32 --json
json 'a wide gradient step' "d['rows'][0]['us_per_step'] > 0 and d['rows'][0]['batch'] == 32"
run bench score --path quickest
expect 2 'quickest' 'no such path'
run bench score --path host --width 100
expect 2 'powers of two' 'no such width'
run devices --device virtual:jetson --json --calibrate --cache-dir cache
json 'a simulated launch' "[x['dispatch_us'] for x in d['devices'] if x['selected']] == [26.003]"
run devices --device virtual:toaster
expect 77 'virtual:toaster' 'a simulation that is not there'
for backend in opencl vulkan; do # with the backend or without
    run devices --device $backend:99
    expect 77 "$backend:99" "a device of $backend that is not there"
done
TARN_HOST_LIMITS=videocore run devices --device host --json
json 'limits of a board' "[x['limits']['group_size'] for x in d['devices'] if x['selected']] == [256]"
for board in mali videocore jetson; do
    run selftest --device "virtual:$board" --json
    expect 0 '' "selftest of virtual:$board"
    json "all of virtual:$board" "d['checks'] > 20 and d['failed'] == 0 and d['skipped'] == 0"
    TARN_HOST_LIMITS=$board run selftest --device host --json
    expect 0 '' "selftest of a host with the limits of $board"
    json "all of a host as $board" "d['checks'] > 20 and d['failed'] == 0 and d['skipped'] == 0"
done
TARN_HOST_LIMITS=toaster run devices --device host
expect 1 'TARN_HOST_LIMITS' 'limits of no board'
run devices --device opencl:99
expect 77 'opencl:99' 'a device that is not there'
TARN_DEVICE=nothing run devices
expect 77 'nothing' 'the environment names a device'
TARN_DEVICE=nothing run devices --device host
expect 0 '' 'the option wins over the environment'

# Output that can't be written.
if [ -w /dev/full ]; then
    "$tarn" --help >/dev/full 2>.err
    code=$? out='' err=$(cat .err)
    expect 1 'standard output' 'a full disk behind stdout'
    "$tarn" devices --json >/dev/full 2>.err
    code=$? out='' err=$(cat .err)
    expect 1 'standard output' 'a full disk behind JSON'
fi
"$tarn" --help >&- 2>.err
code=$? out='' err=$(cat .err)
expect 1 'standard output' 'stdout is closed'
"$tarn" trace gen loop --requests 2000000 --to keys -o - 2>.err | head -1 >.out
code=$? out=$(cat .out) err=$(cat .err)
expect 0 '' 'the reader of a pipe leaves'
(trap '' PIPE; exec "$tarn" trace gen loop --requests 50000000 --to keys -o - 2>.err; echo $? >.code) |
    head -1 >.out
code=0 out=$(cat .out) err=$(cat .err)
expect 0 '' 'even if the parent ignores the signal'
run devices
check 'no escape codes without a terminal' [ -z "$(tr -dc '\033' <.out)" ]

finish
