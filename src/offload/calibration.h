/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * What was measured of a device: from which size on it pays, how large a launch should be, which
 * path is quickest for which width. Kept as a small file in the cache directory, one for each device,
 * driver and version of Tarn (and instruction set of the host that it is compared with). A file that
 * is missing, foreign or corrupt is no calibration: it is measured again (calibrate.h).
 *
 * Plain data, no locking.
 */
#ifndef TARN_OFFLOAD_CALIBRATION_H
#define TARN_OFFLOAD_CALIBRATION_H

#include <tarn/gpu.h>

#include "net/wide.h"

/** A crossover that was not found: the host is better at every size. */
#define TARN_NEVER UINT32_MAX

/** What has been measured already, so that an interrupted calibration goes on where it stopped. */
enum tarn_calibration_part {
    TARN_CALIBRATED_DISPATCH = 1,
    TARN_CALIBRATED_LOOKUP = 2,
    TARN_CALIBRATED_SCORE = 4,
    TARN_CALIBRATED_TRAIN = 8,
    TARN_CALIBRATED_ENGINE = 15,  /**< all that the engine asks for: under two seconds */
    TARN_CALIBRATED_WIDE = 16,    /**< the paths of wide networks, without CLBlast */
    TARN_CALIBRATED_CLBLAST = 32, /**< CLBlast, whose first call can take half a minute */
};

/** A kernel against the host's function, over the size of a launch. */
struct tarn_crossover {
    uint32_t least;      /**< elements from which on the device is better, or TARN_NEVER */
    uint32_t slice;      /**< elements of the smallest launch that wastes little on its dispatch */
    uint32_t local_size; /**< best work-group, 0: the kernel's own (and where there is no choice) */
    float device_ns, host_ns; /**< an element, in the largest launch that was measured */
};

enum { TARN_CALIBRATION_WIDTHS = 8 }; /**< 8, 16 ... 1024 */

struct tarn_calibration {
    uint32_t parts;        /**< enum tarn_calibration_part */
    float dispatch_us;     /**< from submitting a launch that does nothing to its end, median */
    float spent_ms;        /**< what measuring took, all parts */
    float clblast_warm_ms; /**< CLBlast's first call of each width, together */
    struct tarn_crossover lookup; /**< elements: keys */
    struct tarn_crossover score;  /**< candidates */
    struct tarn_crossover train;  /**< steps of a launch */
    /**
     * Median us of a forward pass of TARN_CALIBRATION_SAMPLES and of a step: CPU time of all cores on a
     * device that is made of the CPU, else time on the clock. 0: not measured, or not there.
     */
    float wide_us[2][TARN_CALIBRATION_WIDTHS][TARN_PATHS];
};

enum { TARN_CALIBRATION_SAMPLES = 1024, TARN_CALIBRATION_BATCH = 128 };

/**
 * Reads what is known of a device; `cache_dir` NULL is XDG_CACHE_HOME/tarn, or HOME/.cache/tarn.
 * TARN_NOT_FOUND, TARN_CORRUPT ...: `calibration` is all zeros then.
 */
tarn_status tarn_calibration_load(const struct tarn_device_info *info, const char *cache_dir,
                                  struct tarn_calibration *calibration);
/** Replaces the file, atomically. A failure costs nothing but the time to measure again. */
tarn_status tarn_calibration_save(const struct tarn_device_info *info, const char *cache_dir,
                                  const struct tarn_calibration *calibration);

/**
 * The quickest measured path of a network of this width, in training or forward. Between two
 * measured widths the nearest one's; not measured: fused where one launch does it, else own products.
 */
tarn_path tarn_calibration_path(const struct tarn_calibration *calibration, uint32_t width,
                                bool train);

/** True if the device has won something at sizes that the engine uses. */
bool tarn_calibration_wins(const struct tarn_calibration *calibration);

/**
 * Opens a device as tarn_device_open() does, but where "auto" comes to the host, a CPU-type device
 * that has won its place by measurement takes it. The figures are those in params->cache_dir.
 */
tarn_status tarn_calibration_open(const struct tarn_device_params *params, tarn_device **device,
                                  struct tarn_error *error);

#endif
