/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * How the board is doing: its GPU's load and clock, heat, power, battery, and how hard the system is
 * pressed. All from files of the kernel (sensors.def says which, with their sources); what can't be
 * had is unknown, never an error: a file may be missing, unreadable, empty, garbage, huge or slow, or
 * vanish between two readings.
 *
 * A handle belongs to one thread at a time. Reading costs a system call for each file that was found
 * (docs/sensors.md has figures); some files are looked for again every half minute, and when one vanishes.
 */
#ifndef TARN_PLATFORM_SENSORS_H
#define TARN_PLATFORM_SENSORS_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#include <tarn/status.h>

/**
 * The numbers of a reading; NAN: unknown. Shares are in [0, 1].
 * X(name, "unit and meaning")
 */
#define TARN_READING_LIST(X)                                                                       \
    X(gpu_load, "share of time that the GPU works, as its driver says")                            \
    X(gpu_clock_hz, "the GPU's clock, Hz; 0 while it sleeps")                                      \
    X(gpu_clock_max_hz, "the highest clock that it has, Hz")                                       \
    X(temperature_c, "the hottest of GPU and CPU, degrees Celsius")                                \
    X(gpu_temperature_c, "the GPU, degrees Celsius")                                               \
    X(passive_c, "from here on the kernel slows the hottest one down, degrees Celsius")            \
    X(critical_c, "and here it switches the board off")                                            \
    X(headroom_c, "degrees until the first of them reaches its passive_c; see docs/sensors.md")    \
    X(throttling, "share of the way to the slowest that cooling has taken; 0: none")               \
    X(power_w, "what it draws, W; power_scope says of what")                                       \
    X(battery_percent, "charge of the system's batteries, 0 to 100")                               \
    X(pressure_cpu, "share of the last 10 s in which some task waited for a CPU")                  \
    X(pressure_memory, "the same for memory")                                                      \
    X(pressure_io, "the same for storage")                                                         \
    X(stalled_cpu, "share of the time between two readings in which some task waited for a CPU")   \
    X(stalled_memory, "the same for memory")                                                       \
    X(stalled_io, "the same for storage")                                                          \
    X(cpu_load, "share of all CPUs' time between two readings that was work")                      \
    X(load_average, "tasks that run or want to, mean of a minute")                                 \
    X(memory_bytes, "the system's memory")                                                         \
    X(memory_available_bytes, "what of it can be had without swapping")

typedef enum tarn_power_scope {
    TARN_POWER_UNKNOWN,
    TARN_POWER_BOARD,   /**< the whole board, by a power monitor */
    TARN_POWER_BATTERY, /**< the whole board, by what leaves the battery */
    TARN_POWER_GPU,     /**< the GPU, or the package that it is in */
} tarn_power_scope;

typedef enum tarn_supply {
    TARN_SUPPLY_UNKNOWN,
    TARN_SUPPLY_MAINS,   /**< plugged in, or there is no battery */
    TARN_SUPPLY_BATTERY, /**< a battery of the system (not of a mouse) is being emptied */
} tarn_supply;

struct tarn_reading {
    uint64_t at_ns; /**< by the handle's clock */
#define TARN_READING_FIELD(name, doc) double name;
    TARN_READING_LIST(TARN_READING_FIELD)
#undef TARN_READING_FIELD
    tarn_power_scope power_scope;
    tarn_supply supply;
    char governor[24];      /**< of the GPU's clock; "": unknown */
    const char *gpu_source; /**< the row of sensors.def that gave the load; static; NULL: unknown */
};

static inline bool tarn_known(double value)
{
    return !isnan(value);
}

typedef struct tarn_sensors tarn_sensors;

struct tarn_sensors_params {
    const char *root; /**< where sys and proc are; NULL: "/". Copied. */
    /** NULL: the monotonic clock. For tests. */
    uint64_t (*clock_ns)(void *user);
    void *user;
};

/**
 * Looks for sensors. NO_MEMORY is the only failure. `params` may be NULL. The caller destroys the
 * handle.
 */
tarn_status tarn_sensors_open(const struct tarn_sensors_params *params, tarn_sensors **sensors);
/** Accepts NULL. */
void tarn_sensors_destroy(tarn_sensors **sensors);

/**
 * Fills all of `reading`. What is counted between two readings (stalled_*, cpu_load, and the load of a
 * VideoCore) is unknown the first time and is counted anew once 50 ms have gone by. Allocates nothing
 * but what the C library needs to look for files again.
 */
void tarn_sensors_read(tarn_sensors *sensors, struct tarn_reading *reading);

/** All of it unknown. */
void tarn_reading_clear(struct tarn_reading *reading);

#endif
