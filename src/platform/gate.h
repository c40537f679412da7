/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * May training run now? A pure function of readings of the board, with hysteresis, so that one that
 * hovers at a limit doesn't make it flap: what forbids acts at once, what allows again must have held
 * for a while. One thread at a time for each gate.
 */
#ifndef TARN_PLATFORM_GATE_H
#define TARN_PLATFORM_GATE_H

#include <stdbool.h>
#include <stdint.h>

#include "sensors.h"

typedef enum tarn_on_battery {
    TARN_ON_BATTERY_NEVER,
    TARN_ON_BATTERY_LOW, /**< a small share of the time, while the battery is more than half full */
    TARN_ON_BATTERY_ALWAYS, /**< as if plugged in */
} tarn_on_battery;

/** All zeros is the default: the board's own limit, never on battery. */
struct tarn_train_limits {
    /**
     * Training stops at this temperature and goes on 5 degrees below; degrees Celsius. 0: by what
     * the board says of itself, from 3 degrees of headroom on (struct tarn_reading), and no limit
     * where it says nothing.
     */
    double max_temperature_c;
    tarn_on_battery on_battery;
};

enum {
    TARN_GATE_HEADROOM_C = 3, /**< with no more it stops, where no limit is given */
    TARN_GATE_COOLER_C = 5,   /**< so far below the limit it goes on */
    TARN_GATE_HALF_FULL = 50, /**< percent; TARN_ON_BATTERY_LOW needs more, and 5 more to go on */
    TARN_GATE_HOLD_S = 10,    /**< what allows again must have held for so long */
    TARN_GATE_BLIND_S = 60,   /**< a sensor that fell silent is believed for so long */
};
#define TARN_GATE_LOW_SHARE      0.2 /**< of the time, on battery */
#define TARN_GATE_THROTTLE_SHARE 0.5 /**< while the kernel slows the board down */

/** The gate's memory; the caller's, all zeros at first, and otherwise none of its business. */
struct tarn_gate {
    bool begun, hot, drained, tight;
    uint64_t temperature_ns, memory_ns; /* when these were last known */
    double share;                       /* what is allowed now */
    uint64_t better_ns;                 /* since when more would be allowed */
    bool better;
    char reason[96];
};

struct tarn_gate_verdict {
    /** Of the time that is left for training, the share that it may take: 1 all, 0 none. */
    double share;
    /** Memory is short: caches and buffers of training go first. */
    bool give_memory_back;
    char reason[96]; /**< why it isn't 1, for a person; "" where it is */
};

/**
 * `now_ns`: any clock that doesn't run backwards (if it does, waiting starts anew). The first verdict
 * waits for nothing.
 */
void tarn_gate_update(struct tarn_gate *gate, const struct tarn_train_limits *limits,
                      const struct tarn_reading *reading, uint64_t now_ns,
                      struct tarn_gate_verdict *verdict);

/** "never", "low", "always"; false for anything else. */
bool tarn_on_battery_parse(const char *text, tarn_on_battery *on_battery);
const char *tarn_on_battery_name(tarn_on_battery on_battery);
/** Degrees Celsius, 20 to 120, "85" or "85.5"; false for anything else. */
bool tarn_max_temperature_parse(const char *text, double *celsius);

#endif
