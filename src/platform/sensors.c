/* SPDX-License-Identifier: Apache-2.0 */
#include "sensors.h"

#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "sensors_private.h"

/* Batteries are plugged in and modules loaded: look again now and then, and soon after a file stopped
   answering, but not at each reading when it comes and goes. */
#define SCAN_NS   UINT64_C(30000000000)
#define RESCAN_NS UINT64_C(1000000000)
/* The kernel counts a CPU's time in ticks of up to 10 ms. */
#define WINDOW_NS UINT64_C(50000000)

void tarn_reading_clear(struct tarn_reading *reading)
{
    *reading = (struct tarn_reading){0};
#define X(name, doc) reading->name = NAN;
    TARN_READING_LIST(X)
#undef X
}

/* fmax() of what is known. */
static double highest(double a, double b)
{
    return isnan(a) || b > a ? b : a;
}

/* What a file says, if it is understood and plausible; NAN otherwise. */
double tarn_sensors_number(tarn_sensors *s, struct tarn_probe *probe, tarn_format format,
                           double least, double most)
{
    double value;
    if (tarn_probe_read(&s->root, probe, s->text) == 0)
        return NAN;
    if (!tarn_parse_value(format, s->text, &value) || value < least || value > most) {
        tarn_probe_garbage(&s->root, probe);
        return NAN;
    }
    return value;
}

static double quantity(tarn_sensors *s, tarn_quantity which, double least, double most)
{
    return tarn_sensors_number(s, &s->chosen[which].probe,
                               tarn_sensor_info(s->chosen[which].row)->format, least, most);
}

/* ---- the GPU ---- */

static void read_gpu(tarn_sensors *s, struct tarn_reading *r, struct tarn_queues *queues)
{
    struct tarn_probe *load = &s->chosen[TARN_QUANTITY_GPU_LOAD].probe;
    const struct tarn_sensor_info *info = tarn_sensor_info(s->chosen[TARN_QUANTITY_GPU_LOAD].row);
    if (load->fd >= 0 && info->format == TARN_FORMAT_QUEUES) {
        if (tarn_probe_read(&s->root, load, s->text) > 0 && !tarn_parse_queues(s->text, queues))
            tarn_probe_garbage(&s->root, load);
        r->gpu_source = info->name;
    } else {
        r->gpu_load = quantity(s, TARN_QUANTITY_GPU_LOAD, 0, 1);
        r->gpu_source = tarn_known(r->gpu_load) ? info->name : NULL;
    }
    r->gpu_clock_hz = quantity(s, TARN_QUANTITY_GPU_CLOCK, 0, 1e11);
    r->gpu_clock_max_hz = quantity(s, TARN_QUANTITY_GPU_CLOCK_MAX, 1, 1e11);
    struct tarn_probe *governor = &s->chosen[TARN_QUANTITY_GOVERNOR].probe;
    if (tarn_probe_read(&s->root, governor, s->text) > 0 &&
        !tarn_parse_word(s->text, r->governor, sizeof r->governor))
        tarn_probe_garbage(&s->root, governor);
}

/* ---- heat and power ---- */

/* A sensor that is switched off says -274 or so. */
#define COLDEST    -60
#define HOTTEST    200
#define FIRMWARE_C 80

/* fmin() of what is known. */
static double lowest(double a, double b)
{
    return isnan(a) || b < a ? b : a;
}

/* Where a zone is slowed down. One that names only where the board is switched off is slowed down by
   firmware, as a Raspberry Pi at 80 degrees. */
static double slowed_at(const struct tarn_zone *zone)
{
    return tarn_known(zone->passive_c)
               ? zone->passive_c
               : (tarn_known(zone->critical_c) ? lowest(zone->critical_c - 10, FIRMWARE_C) : NAN);
}

static void read_heat(tarn_sensors *s, struct tarn_reading *r)
{
    r->gpu_temperature_c = quantity(s, TARN_QUANTITY_GPU_TEMPERATURE, COLDEST, HOTTEST);
    r->temperature_c = r->gpu_temperature_c;
    for (unsigned i = 0; i < s->zone_count; i++) {
        struct tarn_zone *zone = &s->zones[i];
        double c = tarn_sensors_number(s, &zone->temperature, TARN_FORMAT_MILLI, COLDEST, HOTTEST);
        if (isnan(c))
            continue;
        if (zone->gpu)
            r->gpu_temperature_c = highest(r->gpu_temperature_c, c);
        r->headroom_c = lowest(r->headroom_c, slowed_at(zone) - c);
        if (isnan(r->temperature_c) || c > r->temperature_c ||
            (c == r->temperature_c && isnan(r->passive_c))) {
            r->temperature_c = c;
            r->passive_c = zone->passive_c;
            r->critical_c = zone->critical_c;
        }
    }
    for (unsigned i = 0; i < s->cooling_count; i++) {
        struct tarn_cooling *cooling = &s->cooling[i];
        /* intel_powerclamp says -1 where it does nothing */
        double state =
            tarn_sensors_number(s, &cooling->state, TARN_FORMAT_MILLI, -1, cooling->most) * 1e3;
        if (tarn_known(state))
            r->throttling = highest(r->throttling, state <= 0 ? 0 : fmin(state / cooling->most, 1));
    }
}

static double channel_power(tarn_sensors *s, struct tarn_channel *channel)
{
    return tarn_sensors_number(s, &channel->volts, TARN_FORMAT_MILLI, 0, 1e3) *
           tarn_sensors_number(s, &channel->amperes, TARN_FORMAT_MILLI, 0, 1e3);
}

/* What leaves a battery; some drivers count that as negative. */
static double battery_power(tarn_sensors *s, struct tarn_power_supply *supply)
{
    if (supply->power.fd >= 0)
        return fabs(tarn_sensors_number(s, &supply->power, TARN_FORMAT_MICRO, -1e4, 1e4));
    return fabs(tarn_sensors_number(s, &supply->current, TARN_FORMAT_MICRO, -1e3, 1e3)) *
           tarn_sensors_number(s, &supply->voltage, TARN_FORMAT_MICRO, 0, 1e3);
}

struct batteries {
    unsigned count, emptied, charged, full, mains, online;
    double percent, with_percent, power_w;
};

static void read_battery(tarn_sensors *s, struct tarn_power_supply *supply, struct batteries *all)
{
    char status[24] = "";
    all->count++;
    /* "Not charging" is two words, and not emptied */
    if (tarn_probe_read(&s->root, &supply->status, s->text) > 0 &&
        !tarn_parse_word(s->text, status, sizeof status) &&
        strncmp(s->text, "Not charging", 12) != 0)
        tarn_probe_garbage(&s->root, &supply->status);
    bool emptied = strcmp(status, "Discharging") == 0;
    all->emptied += emptied;
    all->charged += strcmp(status, "Charging") == 0;
    all->full += strcmp(status, "Full") == 0;
    double percent = 100 * tarn_sensors_number(s, &supply->capacity, TARN_FORMAT_PERCENT, 0, 1);
    if (tarn_known(percent)) {
        all->percent += percent;
        all->with_percent++;
    }
    double power = emptied ? battery_power(s, supply) : NAN;
    if (tarn_known(power))
        all->power_w = tarn_known(all->power_w) ? all->power_w + power : power;
}

static void read_supplies(tarn_sensors *s, struct tarn_reading *r)
{
    struct batteries all = {.power_w = NAN};
    for (unsigned i = 0; i < s->supply_count; i++) {
        struct tarn_power_supply *supply = &s->supplies[i];
        if (supply->battery) {
            read_battery(s, supply, &all);
            continue;
        }
        double online = tarn_sensors_number(s, &supply->online, TARN_FORMAT_HZ, 0, 2);
        all.mains += tarn_known(online);
        all.online += online > 0;
    }
    /* a charger that is too weak is no mains: the battery is emptied all the same */
    if (all.emptied > 0)
        r->supply = TARN_SUPPLY_BATTERY;
    else if (all.online > 0 || all.charged > 0 || (s->supplies_known && all.count == 0))
        r->supply = TARN_SUPPLY_MAINS;
    else if (all.count > 0 && all.mains > 0)
        r->supply = TARN_SUPPLY_BATTERY; /* nothing is plugged in */
    else if (all.full > 0)
        r->supply = TARN_SUPPLY_MAINS;
    if (all.with_percent > 0)
        r->battery_percent = all.percent / all.with_percent;
    for (unsigned i = 0; i < s->channel_count; i++)
        r->power_w = highest(r->power_w, channel_power(s, &s->channels[i]));
    r->power_scope = tarn_known(r->power_w) ? TARN_POWER_BOARD : TARN_POWER_UNKNOWN;
    if (isnan(r->power_w) && tarn_known(all.power_w)) {
        r->power_w = all.power_w;
        r->power_scope = TARN_POWER_BATTERY;
    }
    double gpu = isnan(r->power_w) ? quantity(s, TARN_QUANTITY_GPU_POWER, 0, 1e4) : NAN;
    if (tarn_known(gpu)) {
        r->power_w = gpu;
        r->power_scope = TARN_POWER_GPU;
    }
}

/* ---- the system ---- */

static void read_system(tarn_sensors *s, struct tarn_reading *r, struct tarn_counters *now)
{
    double *const shares[3] = {&r->pressure_cpu, &r->pressure_memory, &r->pressure_io};
    for (int i = 0; i < 3; i++) {
        if (tarn_probe_read(&s->root, &s->pressure[i], s->text) == 0)
            continue;
        now->stalled_known[i] = tarn_parse_pressure(s->text, shares[i], &now->stalled_us[i]);
        if (!now->stalled_known[i])
            tarn_probe_garbage(&s->root, &s->pressure[i]);
    }
    if (tarn_probe_read(&s->root, &s->stat, s->text) > 0) {
        now->cpu_known = tarn_parse_cpu(s->text, &now->cpu_busy, &now->cpu_total);
        if (!now->cpu_known)
            tarn_probe_garbage(&s->root, &s->stat);
    }
    if (tarn_probe_read(&s->root, &s->loadavg, s->text) > 0 &&
        !tarn_parse_load(s->text, &r->load_average))
        tarn_probe_garbage(&s->root, &s->loadavg);
    if (tarn_probe_read(&s->root, &s->meminfo, s->text) > 0 &&
        !tarn_parse_memory(s->text, &r->memory_bytes, &r->memory_available_bytes))
        tarn_probe_garbage(&s->root, &s->meminfo);
}

/* A counter that ran backwards says nothing: it was reset, or a CPU left. */
static double share_of(uint64_t before, uint64_t now, double all)
{
    if (now < before || !(all > 0))
        return NAN;
    return fmin((double)(now - before) / all, 1);
}

static double busiest(const struct tarn_queues *before, const struct tarn_queues *now)
{
    double most = NAN;
    if (now->count == 0 || before->count != now->count || now->time_ns <= before->time_ns)
        return NAN;
    /* queues work beside each other: the busiest tells more than the sum */
    for (unsigned i = 0; i < now->count; i++)
        most = highest(most, share_of(before->busy_ns[i], now->busy_ns[i],
                                      (double)(now->time_ns - before->time_ns)));
    return most;
}

static void count_rates(tarn_sensors *s, const struct tarn_counters *now)
{
    const struct tarn_counters *before = &s->before;
    struct tarn_reading *rates = &s->rates;
    double *const stalled[3] = {&rates->stalled_cpu, &rates->stalled_memory, &rates->stalled_io};
    if (before->known && now->at_ns >= before->at_ns && now->at_ns - before->at_ns < WINDOW_NS)
        return; /* what was counted last still holds */
    bool order = before->known && now->at_ns > before->at_ns;
    for (int i = 0; i < 3; i++)
        *stalled[i] = order && before->stalled_known[i] && now->stalled_known[i]
                          ? share_of(before->stalled_us[i], now->stalled_us[i],
                                     (double)(now->at_ns - before->at_ns) / 1e3)
                          : NAN;
    rates->cpu_load =
        order && before->cpu_known && now->cpu_known && now->cpu_total > before->cpu_total
            ? share_of(before->cpu_busy, now->cpu_busy,
                       (double)(now->cpu_total - before->cpu_total))
            : NAN;
    rates->gpu_load = order ? busiest(&before->queues, &now->queues) : NAN;
    s->before = *now;
}

/* ---- the handle ---- */

tarn_status tarn_sensors_open(const struct tarn_sensors_params *params, tarn_sensors **sensors)
{
    tarn_sensors *s = tarn_alloc_zeroed(1, sizeof *s);
    *sensors = s;
    if (s == NULL)
        return TARN_NO_MEMORY;
    tarn_sensors_reset(s);
    tarn_reading_clear(&s->rates);
    if (params != NULL) {
        s->root.clock_ns = params->clock_ns;
        s->root.user = params->user;
    }
    if (!tarn_probe_root_open(&s->root, params != NULL ? params->root : NULL))
        tarn_log(TARN_LOG_WARNING, "sensors: %s: no such folder; all of them are unknown",
                 s->root.path);
    s->scanned_ns = s->root.clock_ns(s->root.user);
    tarn_sensors_scan(s);
    return TARN_OK;
}

void tarn_sensors_destroy(tarn_sensors **sensors)
{
    tarn_sensors *s = *sensors;
    if (s == NULL)
        return;
    tarn_sensors_close_all(s);
    tarn_probe_root_close(&s->root);
    tarn_free(s);
    *sensors = NULL;
}

void tarn_sensors_read(tarn_sensors *s, struct tarn_reading *reading)
{
    struct tarn_counters now = {.known = true};
    now.at_ns = s->root.clock_ns(s->root.user);
    uint64_t age = now.at_ns >= s->scanned_ns ? now.at_ns - s->scanned_ns : SCAN_NS;
    if (age >= SCAN_NS || (s->root.vanished && age >= RESCAN_NS)) {
        tarn_sensors_scan(s);
        s->scanned_ns = now.at_ns;
    }
    tarn_reading_clear(reading);
    reading->at_ns = now.at_ns;
    read_gpu(s, reading, &now.queues);
    read_heat(s, reading);
    read_supplies(s, reading);
    read_system(s, reading, &now);
    count_rates(s, &now);
    reading->stalled_cpu = s->rates.stalled_cpu;
    reading->stalled_memory = s->rates.stalled_memory;
    reading->stalled_io = s->rates.stalled_io;
    reading->cpu_load = s->rates.cpu_load;
    if (now.queues.count > 0)
        reading->gpu_load = s->rates.gpu_load;
    if (isnan(reading->gpu_load))
        reading->gpu_source = NULL;
}
