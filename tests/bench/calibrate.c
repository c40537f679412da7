/* SPDX-License-Identifier: Apache-2.0 */
/* How long the engine's first start measures, part by part, on each device that isn't the host. */
#include <stdio.h>

#include "base/clock.h"
#include "offload/calibrate.h"

static void part_done(void *context, const struct tarn_calibration *c)
{
    uint64_t *last = context, now = tarn_clock_ns();
    printf("  parts %2u: %7.1f ms\n", c->parts, (double)(now - *last) * 1e-6);
    *last = now;
}

int main(void)
{
    struct tarn_device_info *infos;
    size_t count;
    if (tarn_devices_list(&infos, &count) != TARN_OK)
        return 1;
    for (size_t i = 0; i < count; i++) {
        struct tarn_calibration c = {0};
        struct tarn_error error = {0};
        tarn_device *device;
        if (infos[i].type == TARN_DEVICE_HOST ||
            tarn_device_open(&(struct tarn_device_params){.id = infos[i].id}, &device, &error) !=
                TARN_OK)
            continue;
        uint64_t begin = tarn_clock_ns(), cpu = tarn_clock_process_cpu_ns(), last = begin;
        printf("%s\n", infos[i].id);
        /* nowhere to keep it: each run measures */
        tarn_status status =
            tarn_calibrate(device,
                           &(struct tarn_calibrate_params){.parts = TARN_CALIBRATED_ENGINE,
                                                           .cache_dir = "/proc/nowhere",
                                                           .progress = part_done,
                                                           .context = &last},
                           &c, &error);
        printf("  all: %.1f ms, CPU %.1f ms%s%s\n", (double)(tarn_clock_ns() - begin) * 1e-6,
               (double)(tarn_clock_process_cpu_ns() - cpu) * 1e-6, status == TARN_OK ? "" : ": ",
               error.message);
        tarn_device_close(&device);
    }
    tarn_devices_free(&infos);
    return 0;
}
