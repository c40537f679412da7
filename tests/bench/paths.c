/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does calibration find where one path of wide networks takes over from another? For each width: what
 * it chose and what a longer measurement says, and by how much the choice costs more (calibration.h
 * says what is counted). Fails if a choice
 * is neither the quickest there nor at a neighbouring width (within 5 %, which is noise).
 *
 *     bench_paths [opencl|vulkan|ID] [clblast]
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "offload/calibrate.h"

enum { ROUNDS = 5, WIDTHS = TARN_CALIBRATION_WIDTHS };

/* The medians of several calibrations, apart from the one that is judged. */
static tarn_status measure(tarn_device *device, uint32_t parts, struct tarn_calibration *middle)
{
    enum { FLOATS = sizeof middle->wide_us / sizeof(float) };
    static float times[FLOATS][ROUNDS];
    struct tarn_error error = {0};
    for (int round = 0; round < ROUNDS; round++) {
        struct tarn_calibration c = {0};
        tarn_status status = tarn_calibrate(
            device, &(struct tarn_calibrate_params){.parts = parts, .cache_dir = "/proc/nowhere"},
            &c, &error);
        if (status != TARN_OK) {
            fprintf(stderr, "%s\n", error.message);
            return status;
        }
        for (int i = 0; i < FLOATS; i++) { /* sorted as it grows */
            int at = round;
            for (; at > 0 && times[i][at - 1] > (&c.wide_us[0][0][0])[i]; at--)
                times[i][at] = times[i][at - 1];
            times[i][at] = (&c.wide_us[0][0][0])[i];
        }
    }
    for (int i = 0; i < FLOATS; i++)
        (&middle->wide_us[0][0][0])[i] = times[i][ROUNDS / 2];
    return TARN_OK;
}

static bool is_quickest(const struct tarn_calibration *measured, int train, int w, tarn_path path)
{
    const float *us = measured->wide_us[train][w];
    tarn_path best = tarn_calibration_path(measured, 8u << w, train);
    return us[path] > 0 && us[path] <= 1.05f * us[best];
}

/* Prints the table; the choices that are more than a step off. */
static int compare(const struct tarn_calibration *chosen, const struct tarn_calibration *measured)
{
    static const char *const kinds[] = {"score", "train"};
    int wrong = 0;
    printf("kind   width  chosen   quickest  dearer by  us: host, fused, gemm, clblast\n");
    for (int train = 0; train < 2; train++)
        for (int w = 0; w < WIDTHS; w++) {
            const float *us = measured->wide_us[train][w];
            tarn_path path = tarn_calibration_path(chosen, 8u << w, train);
            tarn_path best = tarn_calibration_path(measured, 8u << w, train);
            bool good = false;
            for (int n = w > 0 ? w - 1 : 0; n <= w + 1 && n < WIDTHS; n++)
                good |= is_quickest(measured, train, n, path);
            wrong += !good;
            printf("%-6s %5u  %-8s %-8s %9.0f %%  %.1f %.1f %.1f %.1f%s\n", kinds[train], 8u << w,
                   tarn_path_name(path), tarn_path_name(best),
                   (double)(us[path] / us[best] - 1) * 100, (double)us[0], (double)us[1],
                   (double)us[2], (double)us[3], good ? "" : "  more than a step off");
        }
    return wrong;
}

int main(int argc, char **argv)
{
    struct tarn_error error = {0};
    struct tarn_calibration chosen = {0}, measured = {0};
    tarn_device *device;
    uint32_t parts = TARN_CALIBRATED_WIDE;
    if (argc > 2 && strcmp(argv[2], "clblast") == 0)
        parts |= TARN_CALIBRATED_CLBLAST;
    if (tarn_device_open(&(struct tarn_device_params){.id = argc > 1 ? argv[1] : "opencl"}, &device,
                         &error) != TARN_OK) {
        printf("%s\n", error.message);
        return 77;
    }
    uint64_t begin = tarn_clock_ns();
    tarn_status status = tarn_calibrate(
        device, &(struct tarn_calibrate_params){.parts = parts, .cache_dir = "/proc/nowhere"},
        &chosen, &error);
    printf("%s: calibrated in %.0f ms\n", tarn_device_get_info(device)->id,
           (double)(tarn_clock_ns() - begin) * 1e-6);
    if (status == TARN_OK)
        status = measure(device, parts, &measured);
    int wrong = status == TARN_OK ? compare(&chosen, &measured) : 1;
    tarn_device_close(&device);
    return wrong > 0;
}
