/* SPDX-License-Identifier: Apache-2.0 */
/** @file What a handle of sensors holds: the files that were found. sensors.c reads, scan.c looks. */
#ifndef TARN_PLATFORM_SENSORS_PRIVATE_H
#define TARN_PLATFORM_SENSORS_PRIVATE_H

#include "parse.h"
#include "probe.h"
#include "sensors.h"

typedef enum tarn_quantity {
    TARN_QUANTITY_GPU_LOAD,
    TARN_QUANTITY_GPU_CLOCK,
    TARN_QUANTITY_GPU_CLOCK_MAX,
    TARN_QUANTITY_GOVERNOR,
    TARN_QUANTITY_GPU_TEMPERATURE,
    TARN_QUANTITY_GPU_POWER,
    TARN_QUANTITIES,
} tarn_quantity;

/* The rows of the table, and what else there is to complain of; each once. */
enum tarn_sensor_row {
#define SENSOR(name, ...) TARN_SENSOR_##name,
#include "sensors.def"
    TARN_SENSOR_ROWS,
    TARN_SENSOR_ZONE = TARN_SENSOR_ROWS,
    TARN_SENSOR_TRIP,
    TARN_SENSOR_COOLING,
    TARN_SENSOR_HWMON,
    TARN_SENSOR_SUPPLY,
    TARN_SENSOR_PRESSURE,
    TARN_SENSOR_STAT,
    TARN_SENSOR_LOADAVG,
    TARN_SENSOR_MEMINFO,
    TARN_SENSOR_KINDS,
};
_Static_assert(TARN_SENSOR_KINDS <= 64, "complaints are the bits of 64");

enum {
    TARN_MOST_ZONES = 32,
    TARN_MOST_COOLING = 16,
    TARN_MOST_CHANNELS = 3,
    TARN_MOST_SUPPLIES = 8,
};

struct tarn_zone {
    struct tarn_probe temperature;
    bool gpu;
    double passive_c, critical_c; /* NAN: none */
};

struct tarn_cooling {
    struct tarn_probe state;
    double most;
};

struct tarn_channel {
    struct tarn_probe volts, amperes;
};

struct tarn_power_supply {
    bool battery;
    struct tarn_probe online;                                    /* of mains */
    struct tarn_probe status, capacity, power, current, voltage; /* of a battery */
};

/* What is counted up since the system started. */
struct tarn_counters {
    bool known;
    uint64_t at_ns, stalled_us[3], cpu_busy, cpu_total;
    bool stalled_known[3], cpu_known;
    struct tarn_queues queues;
};

struct tarn_sensors {
    struct tarn_probe_root root;
    uint64_t scanned_ns;
    struct {
        struct tarn_probe probe;
        enum tarn_sensor_row row;
    } chosen[TARN_QUANTITIES];
    struct tarn_zone zones[TARN_MOST_ZONES];
    struct tarn_cooling cooling[TARN_MOST_COOLING];
    struct tarn_channel channels[TARN_MOST_CHANNELS];
    struct tarn_power_supply supplies[TARN_MOST_SUPPLIES];
    unsigned zone_count, cooling_count, channel_count, supply_count;
    bool supplies_known; /* the class exists: no battery in it means mains */
    struct tarn_probe pressure[3], stat, loadavg, meminfo;
    struct tarn_counters before;
    struct tarn_reading rates; /* only what is counted between two readings */
    char text[TARN_PROBE_TEXT];
};

struct tarn_sensor_info {
    const char *name;
    tarn_quantity quantity;
    tarn_format format;
};
/** The table's row. */
const struct tarn_sensor_info *tarn_sensor_info(enum tarn_sensor_row row);

/** Closes all and looks for everything anew. */
void tarn_sensors_scan(tarn_sensors *sensors);
/** For a handle of zeros, which are no closed files. */
void tarn_sensors_reset(tarn_sensors *sensors);
void tarn_sensors_close_all(tarn_sensors *sensors);

/** Reads a file with one number; NAN if it gives none. */
double tarn_sensors_number(tarn_sensors *sensors, struct tarn_probe *probe, tarn_format format,
                           double least, double most);

#endif
