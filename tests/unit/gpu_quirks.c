/* SPDX-License-Identifier: Apache-2.0 */
#include "../check.h"

#include <tarn/gpu.h>

#include "gpu/quirks.h"

static struct tarn_device_identity pocl(const char *version, uint32_t vendor)
{
    tarn_driver driver = tarn_driver_by_icd("POCL");
    return (struct tarn_device_identity){
        .api = TARN_API_OPENCL,
        .driver = driver,
        .vendor = vendor,
        .version = tarn_driver_version(driver, version),
    };
}

static uint32_t flags_of(struct tarn_device_identity identity)
{
    return tarn_quirks_flags(tarn_quirks_find(&identity));
}

static void drivers_are_known_by_their_ids(void)
{
    CHECK(tarn_driver_by_icd("POCL") == TARN_DRIVER_POCL);
    CHECK(tarn_driver_by_icd("QCOM") == TARN_DRIVER_QUALCOMM);
    CHECK(tarn_driver_by_icd("POC") == TARN_DRIVER_UNKNOWN);
    CHECK(tarn_driver_by_icd("") == TARN_DRIVER_UNKNOWN);
    CHECK(tarn_driver_by_vulkan(19) == TARN_DRIVER_V3DV);
    CHECK(tarn_driver_by_vulkan(9) == TARN_DRIVER_ARM);
    CHECK(tarn_driver_by_vulkan(0) == TARN_DRIVER_UNKNOWN);
    CHECK(tarn_driver_by_vulkan(12345) == TARN_DRIVER_UNKNOWN);
}

static void versions_are_read_from_any_text(void)
{
    CHECK(tarn_driver_version(TARN_DRIVER_POCL, "3.1+debian") == tarn_driver_number(3, 1, 0));
    CHECK(tarn_driver_version(TARN_DRIVER_POCL, "0.14-pre.7") == tarn_driver_number(0, 14, 0));
    CHECK(tarn_driver_version(TARN_DRIVER_INTEL, "23.48.27912.11") ==
          tarn_driver_number(23, 48, 27912));
    CHECK(tarn_driver_version(TARN_DRIVER_AMD, "3602.0 (HSA1.1,LC)") ==
          tarn_driver_number(3602, 0, 0));
    CHECK(tarn_driver_version(TARN_DRIVER_QUALCOMM,
                              "OpenCL 3.0 QUALCOMM build: commit #c1fe339905 Date: 01/23/25 "
                              "Compiler E031.38.11.14") == tarn_driver_number(31, 38, 11));
    CHECK(tarn_driver_version(TARN_DRIVER_QUALCOMM, "OpenCL 3.0 QUALCOMM") == 0);
    CHECK(tarn_driver_version(TARN_DRIVER_VIVANTE, "OpenCL 1.2 V6.2.4.p1.150331") ==
          tarn_driver_number(6, 2, 4));
    CHECK(tarn_driver_version(TARN_DRIVER_UNKNOWN, "") == 0);
    CHECK(tarn_driver_version(TARN_DRIVER_UNKNOWN, "99999999999999999999.1") > 0);
    CHECK(tarn_driver_number(3, 1, 0) > tarn_driver_number(3, 0, 0xfffff));
}

static void ranges_of_versions_have_both_ends(void)
{
    CHECK(flags_of(pocl("0.14", 0x8086)) & TARN_QUIRK_NO_BINARIES);
    CHECK(flags_of(pocl("0.15.9", 0x8086)) & TARN_QUIRK_NO_BINARIES);
    CHECK(!(flags_of(pocl("1.0", 0x8086)) & TARN_QUIRK_NO_BINARIES));
    CHECK_NUMBER(flags_of(pocl("3.1+debian", 0x8086)), 0);
    CHECK_NUMBER(flags_of(pocl("unknown", 0x8086)), 0); /* no version: no range fits */

    struct tarn_device_identity amd = {TARN_API_OPENCL, TARN_DRIVER_AMD, 0x1002, 0, 0, false};
    amd.version = tarn_driver_number(3602, 0, 0);
    CHECK(flags_of(amd) == TARN_QUIRK_RECHECK);
    amd.version = tarn_driver_number(3601, 9, 9);
    CHECK_NUMBER(flags_of(amd), 0);
    amd.version = tarn_driver_number(3603, 0, 0);
    CHECK_NUMBER(flags_of(amd), 0);

    struct tarn_device_identity adreno = {
        TARN_API_OPENCL, TARN_DRIVER_QUALCOMM, 0x5143, 0, 0, true};
    adreno.version = tarn_driver_version(TARN_DRIVER_QUALCOMM, "Compiler E031.44.9");
    CHECK(flags_of(adreno) == TARN_QUIRK_RECHECK);
    adreno.version = tarn_driver_version(TARN_DRIVER_QUALCOMM, "Compiler E031.45.00");
    CHECK_NUMBER(flags_of(adreno), 0);
}

static void vendor_and_interface_both_count(void)
{
    CHECK(flags_of(pocl("6.0", 0x10de)) == TARN_QUIRK_NO_SHARED_MEMORY);
    CHECK(flags_of(pocl("3.0", 0x10de)) == (TARN_QUIRK_NO_SHARED_MEMORY | TARN_QUIRK_PREFER_HOST));
    CHECK_NUMBER(flags_of(pocl("6.0", 0x13b5)), 0);
    struct tarn_device_identity v3d = {
        TARN_API_VULKAN, TARN_DRIVER_V3DV, 0x14e4, 0x55701c33, tarn_driver_number(23, 2, 1), true};
    uint32_t quirks = tarn_quirks_find(&v3d);
    CHECK(tarn_quirks_flags(quirks) == TARN_QUIRK_PREFER_HOST);
    CHECK_NUMBER(tarn_quirks_watchdog_ms(quirks), 500);
    v3d.api = TARN_API_OPENCL;
    CHECK_NUMBER(tarn_quirks_find(&v3d), 0);
    v3d.api = TARN_API_VULKAN;
    v3d.vendor = 0x10de;
    CHECK_NUMBER(tarn_quirks_find(&v3d), 0);
    CHECK_NUMBER(tarn_quirks_watchdog_ms(0), 0);
    struct tarn_device_identity lavapipe = {
        TARN_API_VULKAN, tarn_driver_by_vulkan(13), 0x10005, 0, tarn_driver_number(0, 0, 1), false};
    CHECK(flags_of(lavapipe) == TARN_QUIRK_SHORT_LOOPS);
    lavapipe.driver = tarn_driver_by_vulkan(18); /* Mesa's too, but a GPU's */
    CHECK_NUMBER(flags_of(lavapipe), 0);
}

static void each_quirk_names_its_source(void)
{
    struct tarn_device_info info = {.quirks = UINT32_MAX};
    size_t count = 0;
    for (const char *text; (text = tarn_device_quirk(&info, count)) != NULL; count++)
        CHECK(strstr(text, "(https://") != NULL && text[strlen(text) - 1] == ')');
    CHECK(count >= 10);
    info.quirks = 1;
    CHECK(tarn_device_quirk(&info, 0) != NULL && tarn_device_quirk(&info, 1) == NULL);
    info.quirks = 0;
    CHECK(tarn_device_quirk(&info, 0) == NULL && tarn_device_quirk(NULL, 0) == NULL);
}

CHECK_MAIN(CASE(drivers_are_known_by_their_ids), CASE(versions_are_read_from_any_text),
           CASE(ranges_of_versions_have_both_ends), CASE(vendor_and_interface_both_count),
           CASE(each_quirk_names_its_source))
