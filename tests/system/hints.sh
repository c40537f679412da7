# SPDX-License-Identifier: Apache-2.0
# `tarn devices` on a driver that lists hints. $1: the command, $2: the driver, a module for OpenCL's
# loader.
. "$(dirname "$0")/lib.sh"
echo "$2" >fake.icd
OCL_ICD_VENDORS=$work
# emulated on a 64-bit kernel, a 32-bit loader can't read folders: name the file
[ "$(getconf LONG_BIT)" = 32 ] && OCL_ICD_VENDORS=$work/fake.icd
VK_ICD_FILENAMES=none
VK_DRIVER_FILES=none
export OCL_ICD_VENDORS VK_ICD_FILENAMES VK_DRIVER_FILES
unset OCL_ICD_FILENAMES

# hints LISTED REFUSED NAMES PRIORITY TEXT
hints() {
    TARN_FAKE_LISTS=$1
    TARN_FAKE_REFUSES=$2
    export TARN_FAKE_LISTS TARN_FAKE_REFUSES
    run devices --json --quiet
    json "$5" "d['devices'][0]['id'] == 'opencl:0' and \
      d['devices'][0]['hints'] == '$3'.split() and d['devices'][0]['queue_priority'] == '$4'"
}

hints cl_khr_icd '' '' none 'no hints'
hints cl_khr_priority_hints '' khr_priority hint 'priorities'
hints 'cl_khr_priority_hints cl_khr_throttle_hints' '' 'khr_priority khr_throttle' hint \
    'priorities and throttling'
hints 'cl_khr_priority_hints cl_khr_throttle_hints' 1096 khr_throttle none \
    'of what is listed, what is taken'
hints 'cl_qcom_perf_hint cl_qcom_priority_hint' '' 'qcom_priority qcom_perf' none "Qualcomm's"
hints 'cl_arm_scheduling_controls' '' 'arm_batching arm_flush' none "Arm's"
run --quiet devices
case $out in
*'opencl:0: hints: arm_batching, arm_flush'*) report ok 'named for people too' ;;
*) report not 'named for people too' ;;
esac
run devices --json --quiet
json 'features are listed' "d['devices'][0]['limits']['features'] == ['int8']"
finish
