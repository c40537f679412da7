/* SPDX-License-Identifier: Apache-2.0 */
#include "../check.h"

#include <dirent.h>

#include <tarn/log.h>

#include "base/memory.h"
#include "platform/sensors.h"
#include "sysfs.h"

#define SECOND UINT64_C(1000000000)

/* A clock that the test sets; `step` is how long each look at it takes. */
static struct {
    uint64_t now, step;
} fake;

static uint64_t fake_clock(void *user)
{
    (void)user;
    return fake.now += fake.step;
}

static tarn_sensors *open_at(const char *root)
{
    tarn_sensors *sensors = NULL;
    fake.now = 1000 * SECOND;
    fake.step = 0;
    CHECK(tarn_sensors_open(&(struct tarn_sensors_params){.root = root, .clock_ns = fake_clock},
                            &sensors) == TARN_OK);
    return sensors;
}

static struct tarn_reading read_after(tarn_sensors *sensors, uint64_t ns)
{
    struct tarn_reading reading;
    fake.now += ns;
    tarn_sensors_read(sensors, &reading);
    return reading;
}

/* One reading of a tree. */
static struct tarn_reading read_once(const char *root)
{
    tarn_sensors *sensors = open_at(root);
    struct tarn_reading reading = read_after(sensors, 0);
    tarn_sensors_destroy(&sensors);
    CHECK(sensors == NULL);
    return reading;
}

static bool close_to(double got, double wanted)
{
    if (fabs(got - wanted) < 1e-9 * fmax(1, fabs(wanted)))
        return true;
    printf("# %.17g is not %.17g\n", got, wanted);
    return false;
}

static unsigned known_count(const struct tarn_reading *reading)
{
    unsigned count = 0;
#define X(name, doc) count += tarn_known(reading->name);
    TARN_READING_LIST(X)
#undef X
    return count;
}

/* ---- recorded boards ---- */

static void a_mali_behind_rockchips_kernel(void)
{
    struct tarn_reading r = read_once(recorded("rk3588"));
    CHECK(close_to(r.gpu_load, 0.37)); /* not of the memory's or the NPU's devfreq */
    CHECK(r.gpu_source != NULL && strcmp(r.gpu_source, "ROCKCHIP_LOAD") == 0);
    CHECK(close_to(r.gpu_clock_hz, 500e6));
    CHECK(close_to(r.gpu_clock_max_hz, 1000e6));
    CHECK(strcmp(r.governor, "simple_ondemand") == 0);
    CHECK(close_to(r.temperature_c, 62.846));
    CHECK(close_to(r.gpu_temperature_c, 58.231));
    CHECK(close_to(r.passive_c, 85)); /* of the hottest zone */
    CHECK(close_to(r.critical_c, 115));
    CHECK(close_to(r.headroom_c, 75 - 61)); /* of the zone that is nearest to its own limit */
    CHECK(close_to(r.throttling, 0.25));    /* devfreq 2 of 8; the fan doesn't count */
    CHECK(!tarn_known(r.power_w) && r.power_scope == TARN_POWER_UNKNOWN);
    CHECK(r.supply == TARN_SUPPLY_UNKNOWN && !tarn_known(r.battery_percent));
    CHECK(close_to(r.pressure_cpu, 0.015));
    CHECK(close_to(r.pressure_io, 0.0025));
    CHECK(close_to(r.pressure_memory, 0));
    CHECK(!tarn_known(r.stalled_cpu) && !tarn_known(r.cpu_load)); /* need a second reading */
    CHECK(close_to(r.load_average, 0.52));
    CHECK(close_to(r.memory_bytes, 16096252.0 * 1024));
    CHECK(close_to(r.memory_available_bytes, 12000000.0 * 1024));
}

static void a_videocore_counts_by_queue(void)
{
    struct tarn_reading r = read_once(recorded("rpi5"));
    CHECK(!tarn_known(r.gpu_load) && r.gpu_source == NULL);
    CHECK(!tarn_known(r.gpu_clock_hz) && r.governor[0] == '\0');
    CHECK(close_to(r.temperature_c, 54.65));
    CHECK(!tarn_known(r.passive_c) && close_to(r.critical_c, 110));
    CHECK(!tarn_known(r.throttling));   /* there is only a fan */
    CHECK(!tarn_known(r.pressure_cpu)); /* its kernel has no PSI */
    CHECK(close_to(read_once(recorded("rpi4")).temperature_c, 48.199));
}

static void a_jetson(void)
{
    struct tarn_reading r = read_once(recorded("jetson-orin"));
    CHECK(close_to(r.gpu_load, 0.423)); /* per mille */
    CHECK(close_to(r.gpu_clock_hz, 305998000));
    CHECK(close_to(r.gpu_clock_max_hz, 624750000));
    CHECK(strcmp(r.governor, "nvhost_podgov") == 0);
    CHECK(close_to(r.power_w, 5.056 * 0.960)); /* VDD_IN, not the rails behind it */
    CHECK(r.power_scope == TARN_POWER_BOARD);
    CHECK(close_to(r.temperature_c, 50.125)); /* tj */
    CHECK(close_to(r.gpu_temperature_c, 48.218));
    CHECK(close_to(r.passive_c, 98));
    CHECK(close_to(r.throttling, 0));
}

static void an_adreno_phone(void)
{
    struct tarn_reading r = read_once(recorded("adreno-phone"));
    CHECK(close_to(r.gpu_load, 0.12));
    CHECK(close_to(r.gpu_clock_hz, 295e6) && close_to(r.gpu_clock_max_hz, 680e6));
    CHECK(strcmp(r.governor, "msm-adreno-tz") == 0);
    CHECK(close_to(r.temperature_c, 43.7)); /* neither skin nor modem nor battery */
    CHECK(close_to(r.gpu_temperature_c, 42.1));
    CHECK(close_to(r.throttling, 0.2));
    CHECK(r.supply == TARN_SUPPLY_BATTERY);
    CHECK(close_to(r.battery_percent, 63));
    CHECK(close_to(r.power_w, 0.412 * 3.912)); /* the current is negative there */
    CHECK(r.power_scope == TARN_POWER_BATTERY);
    CHECK(close_to(r.pressure_memory, 0.125));
}

static void a_laptop_on_battery(void)
{
    struct tarn_reading r = read_once(recorded("laptop-amdgpu"));
    CHECK(close_to(r.gpu_load, 0.08));
    CHECK(close_to(r.gpu_clock_hz, 200e6) && close_to(r.gpu_clock_max_hz, 2200e6));
    CHECK(close_to(r.temperature_c, 47.625)); /* k10temp, not the disk */
    CHECK(close_to(r.gpu_temperature_c, 44));
    CHECK(r.supply == TARN_SUPPLY_BATTERY);
    CHECK(close_to(r.battery_percent, 82)); /* not the mouse's 5 %, nor the empty bay */
    CHECK(close_to(r.power_w, 7.416) && r.power_scope == TARN_POWER_BATTERY);
}

static void a_container_knows_nothing(void)
{
    struct tarn_reading r = read_once(recorded("container"));
    CHECK_NUMBER(known_count(&r), 0);
    CHECK(r.supply == TARN_SUPPLY_UNKNOWN && r.governor[0] == '\0' && r.gpu_source == NULL);
    r = read_once("/nowhere/at/all");
    CHECK_NUMBER(known_count(&r), 0);
    CHECK_NUMBER(r.at_ns, fake.now);
}

/* ---- what is counted between readings ---- */

static void rates_need_two_readings(void)
{
    char *root = create_tree();
    REQUIRE(root != NULL);
    put(root, "proc/stat", "cpu  100 0 0 900 0 0 0 0 0 0\n");
    put(root, "proc/pressure/memory", "some avg10=0.00 avg60=0.00 avg300=0.00 total=1000\n");
    put(root, "sys/bus/platform/devices/fec00000.v3d/gpu_stats",
        "queue\ttimestamp\tjobs\truntime\nbin\t1000000000\t5\t100\nrender\t1000000000\t5\t200\n");
    tarn_sensors *sensors = open_at(root);
    struct tarn_reading r = read_after(sensors, 0);
    CHECK(!tarn_known(r.cpu_load) && !tarn_known(r.stalled_memory) && !tarn_known(r.gpu_load));
    put(root, "proc/stat", "cpu  130 10 20 940 100 0 0 0 0 0\n");
    put(root, "proc/pressure/memory", "some avg10=0.00 avg60=0.00 avg300=0.00 total=251000\n");
    put(root, "sys/bus/platform/devices/fec00000.v3d/gpu_stats",
        "queue\ttimestamp\tjobs\truntime\nbin\t2000000000\t9\t200000100\nrender\t2000000000\t9\t"
        "600000200\n");
    r = read_after(sensors, SECOND);
    CHECK(close_to(r.cpu_load, 60.0 / 200)); /* waiting for a disk is no work */
    CHECK(close_to(r.stalled_memory, 0.25));
    CHECK(!tarn_known(r.stalled_cpu));
    CHECK(close_to(r.gpu_load, 0.6)); /* the busiest queue */
    CHECK(r.gpu_source != NULL && strcmp(r.gpu_source, "V3D_STATS") == 0);
    /* within the window the last figures hold; a clock that jumps back is no reason to fail */
    r = read_after(sensors, SECOND / 100);
    CHECK(close_to(r.cpu_load, 60.0 / 200) && close_to(r.gpu_load, 0.6));
    fake.now -= 100 * SECOND;
    r = read_after(sensors, 0);
    CHECK(!tarn_known(r.cpu_load) && !tarn_known(r.stalled_memory));
    /* counters that run backwards, too */
    put(root, "proc/stat", "cpu  1 0 0 9 0 0 0 0 0 0\n");
    put(root, "proc/pressure/memory", "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n");
    r = read_after(sensors, SECOND);
    CHECK(!tarn_known(r.cpu_load) && !tarn_known(r.stalled_memory) && !tarn_known(r.gpu_load));
    tarn_sensors_destroy(&sensors);
    destroy_tree(root);
}

static void supplies(void)
{
    static const struct {
        const char *mains, *first, *second;
        tarn_supply wanted;
        double percent;
    } rows[] = {
        {"1", "Charging", "", TARN_SUPPLY_MAINS, 40},
        {"1", "Not charging", "", TARN_SUPPLY_MAINS, 40},
        {"0", "Not charging", "", TARN_SUPPLY_BATTERY, 40},
        {"0", "Discharging", "Full", TARN_SUPPLY_BATTERY, 60},
        {"1", "Discharging", "", TARN_SUPPLY_BATTERY, 40}, /* the charger is too weak */
        {"0", "Full", "", TARN_SUPPLY_BATTERY, 40},        /* just pulled out */
        {"0", "Charging", "", TARN_SUPPLY_MAINS, 40},      /* by a charger that isn't listed */
        {"", "Full", "", TARN_SUPPLY_MAINS, 40},
        {"", "Discharging", "", TARN_SUPPLY_BATTERY, 40},
        {"", "Unknown", "", TARN_SUPPLY_UNKNOWN, 40},
        {"1", "", "", TARN_SUPPLY_MAINS, NAN},
        {"0", "", "", TARN_SUPPLY_MAINS, NAN}, /* no battery: it runs */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *root = create_tree();
        REQUIRE(root != NULL);
        if (rows[i].mains[0] != '\0') {
            put(root, "sys/class/power_supply/ac/type", "Mains\n");
            put(root, "sys/class/power_supply/ac/online", rows[i].mains);
        }
        if (rows[i].first[0] != '\0') {
            put(root, "sys/class/power_supply/b0/type", "Battery\n");
            put(root, "sys/class/power_supply/b0/status", rows[i].first);
            put(root, "sys/class/power_supply/b0/capacity", "40\n");
        }
        if (rows[i].second[0] != '\0') {
            put(root, "sys/class/power_supply/b1/type", "Battery\n");
            put(root, "sys/class/power_supply/b1/status", rows[i].second);
            put(root, "sys/class/power_supply/b1/capacity", "80\n");
        }
        struct tarn_reading r = read_once(root);
        CHECK_NUMBER(r.supply, rows[i].wanted);
        CHECK(isnan(rows[i].percent) ? !tarn_known(r.battery_percent)
                                     : close_to(r.battery_percent, rows[i].percent));
        destroy_tree(root);
    }
}

/* ---- bad weather ---- */

static struct {
    unsigned count;
    char last[300];
} logged;

static void note(void *user, tarn_log_level level, const char *message)
{
    (void)user, (void)level;
    logged.count++;
    snprintf(logged.last, sizeof logged.last, "%s", message);
}

static unsigned open_files(void)
{
    unsigned count = 0;
    DIR *folder = opendir("/proc/self/fd");
    while (folder != NULL && readdir(folder) != NULL)
        count++;
    if (folder != NULL)
        closedir(folder);
    return count;
}

static void what_vanishes_is_unknown_and_found_again(void)
{
    char *root = create_tree();
    REQUIRE(root != NULL);
    put(root, "sys/class/devfreq/1.gpu/cur_freq", "300000000\n");
    put(root, "sys/class/thermal/thermal_zone0/type", "gpu-thermal\n");
    put(root, "sys/class/thermal/thermal_zone0/temp", "50000\n");
    tarn_log_set(note, NULL, TARN_LOG_DEBUG);
    logged.count = 0;
    unsigned before = open_files();
    tarn_sensors *sensors = open_at(root);
    CHECK(close_to(read_after(sensors, SECOND).gpu_clock_hz, 300e6));
    CHECK_NUMBER(logged.count, 0);
    /* emptied, as a device that is switched off */
    put(root, "sys/class/devfreq/1.gpu/cur_freq", "");
    struct tarn_reading r = read_after(sensors, SECOND);
    CHECK(!tarn_known(r.gpu_clock_hz) && close_to(r.temperature_c, 50));
    for (int i = 0; i < 100; i++)
        r = read_after(sensors, SECOND);
    CHECK(!tarn_known(r.gpu_clock_hz));
    CHECK_NUMBER(logged.count, 1);
    CHECK(strstr(logged.last, "1.gpu/cur_freq") != NULL);
    /* another takes its place */
    remove(in_tree(root, "sys/class/devfreq/1.gpu/cur_freq"));
    put(root, "sys/class/devfreq/2.gpu/cur_freq", "400000000\n");
    remove(in_tree(root, "sys/class/thermal/thermal_zone0/temp"));
    r = read_after(sensors, 31 * SECOND);
    CHECK(close_to(r.gpu_clock_hz, 400e6));
    CHECK(!tarn_known(r.temperature_c));
    /* everything goes, while files are open */
    destroy_tree(root);
    r = read_after(sensors, 31 * SECOND);
    CHECK_NUMBER(known_count(&r), 0);
    CHECK_NUMBER(logged.count, 1);
    tarn_sensors_destroy(&sensors);
    CHECK_NUMBER(open_files(), before);
    tarn_log_set(NULL, NULL, TARN_LOG_NONE);
}

static void a_file_that_is_lost_is_looked_for_at_once(void)
{
    char *root = create_tree();
    REQUIRE(root != NULL);
    put(root, "sys/class/devfreq/1.gpu/cur_freq", "300000000\n");
    put(root, "sys/class/devfreq/2.gpu/cur_freq", "400000000\n");
    tarn_sensors *sensors = open_at(root);
    CHECK(close_to(read_after(sensors, SECOND).gpu_clock_hz, 300e6));
    put(root, "sys/class/devfreq/1.gpu/cur_freq", "");
    CHECK(!tarn_known(read_after(sensors, SECOND).gpu_clock_hz));
    CHECK(close_to(read_after(sensors, SECOND).gpu_clock_hz, 400e6));
    tarn_sensors_destroy(&sensors);
    destroy_tree(root);
}

/* The files of all boards, each with the same content. */
static const char *const everything[] = {
    "sys/class/devfreq/1.gpu/load",
    "sys/class/devfreq/1.gpu/device/load",
    "sys/class/devfreq/1.gpu/cur_freq",
    "sys/class/devfreq/1.gpu/max_freq",
    "sys/class/devfreq/1.gpu/available_frequencies",
    "sys/class/devfreq/1.gpu/governor",
    "sys/class/kgsl/kgsl-3d0/gpu_busy_percentage",
    "sys/class/kgsl/kgsl-3d0/gpubusy",
    "sys/class/kgsl/kgsl-3d0/temp",
    "sys/bus/platform/devices/1.v3d/gpu_stats",
    "sys/class/drm/card0/device/pp_dpm_sclk",
    "sys/class/drm/card0/gt_act_freq_mhz",
    "sys/class/thermal/thermal_zone1/type",
    "sys/class/thermal/cooling_device0/type",
    "sys/class/hwmon/hwmon0/name",
    "sys/class/power_supply/b/type",
    "proc/pressure/cpu",
    "proc/pressure/memory",
    "proc/pressure/io",
    "proc/stat",
    "proc/loadavg",
    "proc/meminfo",
};
/* These are found by their type, so that must be a true one. */
static const char *const typed[][2] = {
    {"sys/class/thermal/thermal_zone0/type", "cpu-thermal"},
    {"sys/class/thermal/cooling_device1/type", "cpufreq-cpu0"},
    {"sys/class/hwmon/hwmon1/name", "ina3221"},
    {"sys/class/hwmon/hwmon1/in1_label", "VDD_IN"},
    {"sys/class/hwmon/hwmon2/name", "k10temp"},
    {"sys/class/power_supply/bat/type", "Battery"},
    {"sys/class/power_supply/ac/type", "Mains"},
};
static const char *const behind[] = {
    "sys/class/thermal/thermal_zone0/temp",
    "sys/class/thermal/thermal_zone0/trip_point_0_type",
    "sys/class/thermal/cooling_device1/max_state",
    "sys/class/thermal/cooling_device1/cur_state",
    "sys/class/hwmon/hwmon1/in1_input",
    "sys/class/hwmon/hwmon1/curr1_input",
    "sys/class/hwmon/hwmon2/temp1_input",
    "sys/class/power_supply/bat/status",
    "sys/class/power_supply/bat/capacity",
    "sys/class/power_supply/bat/power_now",
    "sys/class/power_supply/ac/online",
};
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static void put_everywhere(const char *root, const void *data, size_t size)
{
    for (size_t i = 0; i < COUNT(everything); i++)
        put_bytes(root, everything[i], data, size);
    for (size_t i = 0; i < COUNT(typed); i++)
        put(root, typed[i][0], typed[i][1]);
    for (size_t i = 0; i < COUNT(behind); i++)
        put_bytes(root, behind[i], data, size);
}

static void garbage_is_unknown_and_logged_once(void)
{
    static const char binary[64] = "\x00\xff\xfe\x01garbage\n\n\x80";
    static const struct {
        const char *text;
        size_t size;
    } rows[] = {
        {"", 0},      {"\n", 1},    {"nothing that makes sense\n", 25},
        {"-\n", 2},   {"--1\n", 4}, {"99999999999999999999999999999999\n", 33},
        {binary, 64}, {"@\n", 2},   {":\n:\n", 4},
    };
    tarn_log_set(note, NULL, TARN_LOG_DEBUG);
    for (size_t i = 0; i < COUNT(rows); i++) {
        char *root = create_tree();
        REQUIRE(root != NULL);
        put_everywhere(root, rows[i].text, rows[i].size);
        logged.count = 0;
        tarn_sensors *sensors = open_at(root);
        struct tarn_reading r = read_after(sensors, SECOND);
        CHECK_NUMBER(known_count(&r), 0);
        CHECK(r.supply == TARN_SUPPLY_UNKNOWN);
        unsigned said = logged.count;
        for (int k = 0; k < 100; k++)
            r = read_after(sensors, SECOND);
        CHECK_NUMBER(known_count(&r), 0);
        CHECK(said > 0);
        CHECK_NUMBER(logged.count, said);
        tarn_sensors_destroy(&sensors);
        destroy_tree(root);
    }
    tarn_log_set(NULL, NULL, TARN_LOG_NONE);
}

static void a_huge_file_is_not_read_to_its_end(void)
{
    size_t size = 4 << 20;
    char *root = create_tree(), *data = malloc(size);
    REQUIRE(root != NULL && data != NULL);
    memset(data, '1', size);
    put_bytes(root, "sys/class/devfreq/1.gpu/cur_freq", data, size);
    memset(data, ' ', size); /* a number, if one read on and on */
    memcpy(data, "300000000", 9);
    put_bytes(root, "sys/class/devfreq/1.gpu/max_freq", data, size);
    memset(data, 'x', size);
    memcpy(data, "cpu  1 2 3 4 5 6 7 8\n", 21); /* of these the beginning is enough */
    put_bytes(root, "proc/stat", data, size);
    memcpy(data, "MemTotal: 100 kB\nMemAvailable: 50 kB\n", 37);
    put_bytes(root, "proc/meminfo", data, size);
    free(data);
    tarn_log_set(note, NULL, TARN_LOG_DEBUG);
    logged.count = 0;
    tarn_sensors *sensors = open_at(root);
    struct tarn_reading r = read_after(sensors, SECOND);
    CHECK(!tarn_known(r.gpu_clock_hz) && !tarn_known(r.gpu_clock_max_hz));
    CHECK(close_to(r.memory_available_bytes, 50 * 1024));
    put(root, "proc/stat", "cpu  2 2 3 7 5 6 7 8\n");
    CHECK(close_to(read_after(sensors, SECOND).cpu_load, 0.25));
    CHECK_NUMBER(logged.count, 2);
    tarn_sensors_destroy(&sensors);
    tarn_log_set(NULL, NULL, TARN_LOG_NONE);
    destroy_tree(root);
}

static void folders_pipes_and_loops_are_no_files(void)
{
    char *root = create_tree();
    REQUIRE(root != NULL);
    for (size_t i = 0; i < COUNT(everything); i++)
        mkdir(in_tree(root, everything[i]), 0777);
    for (size_t i = 0; i < COUNT(behind); i++) /* opening one must not wait for a writer */
        mkfifo(in_tree(root, behind[i]), 0666);
    for (size_t i = 0; i < COUNT(typed); i++)
        put(root, typed[i][0], typed[i][1]);
    CHECK(symlink("cur_freq", in_tree(root, "sys/class/devfreq/2.gpu/cur_freq")) == 0);
    CHECK(symlink(".", in_tree(root, "sys/class/devfreq/3.gpu")) == 0);
    CHECK(symlink("../devfreq", in_tree(root, "sys/class/devfreq/device")) == 0);
    CHECK(symlink("b.gpu", in_tree(root, "sys/class/devfreq/a.gpu")) == 0);
    CHECK(symlink("a.gpu", in_tree(root, "sys/class/devfreq/b.gpu")) == 0);
    struct tarn_reading r = read_once(root);
    CHECK_NUMBER(known_count(&r), 0);
    destroy_tree(root);
}

static void a_slow_file_is_seldom_read(void)
{
    char *root = create_tree();
    REQUIRE(root != NULL);
    put(root, "sys/class/thermal/thermal_zone0/type", "gpu-thermal\n");
    put(root, "sys/class/thermal/thermal_zone0/temp", "50000\n");
    tarn_log_set(note, NULL, TARN_LOG_DEBUG);
    logged.count = 0;
    tarn_sensors *sensors = open_at(root);
    CHECK(close_to(read_after(sensors, SECOND).temperature_c, 50));
    fake.step = SECOND / 10; /* each read takes 100 ms now */
    CHECK(close_to(read_after(sensors, SECOND).temperature_c, 50));
    CHECK_NUMBER(logged.count, 1);
    fake.step = 0;
    CHECK(!tarn_known(read_after(sensors, SECOND).temperature_c));
    CHECK(!tarn_known(read_after(sensors, 10 * SECOND).temperature_c));
    CHECK(close_to(read_after(sensors, 15 * SECOND).temperature_c, 50));
    CHECK_NUMBER(logged.count, 1);
    tarn_sensors_destroy(&sensors);
    tarn_log_set(NULL, NULL, TARN_LOG_NONE);
    destroy_tree(root);
}

static void more_than_there_is_room_for(void)
{
    char *root = create_tree(), path[128];
    REQUIRE(root != NULL);
    for (int i = 0; i < 100; i++) {
        snprintf(path, sizeof path, "sys/class/thermal/thermal_zone%d/type", i);
        put(root, path, i == 99 ? "gpu-thermal" : "cpu-thermal");
        snprintf(path, sizeof path, "sys/class/thermal/thermal_zone%d/temp", i);
        put(root, path, i == 99 ? "70000" : "40000");
        snprintf(path, sizeof path, "sys/class/thermal/cooling_device%d/type", i);
        put(root, path, "cpufreq");
        snprintf(path, sizeof path, "sys/class/thermal/cooling_device%d/max_state", i);
        put(root, path, "4");
        snprintf(path, sizeof path, "sys/class/thermal/cooling_device%d/cur_state", i);
        put(root, path, "1");
        snprintf(path, sizeof path, "sys/class/power_supply/b%d/type", i);
        put(root, path, "Battery");
        snprintf(path, sizeof path, "sys/class/power_supply/b%d/capacity", i);
        put(root, path, "50");
    }
    unsigned before = open_files();
    tarn_sensors *sensors = open_at(root);
    struct tarn_reading r = read_after(sensors, SECOND);
    CHECK(open_files() < before + 80);
    CHECK(close_to(r.gpu_temperature_c, 70) && close_to(r.temperature_c, 70));
    CHECK(close_to(r.throttling, 0.25) && close_to(r.battery_percent, 50));
    tarn_sensors_destroy(&sensors);
    CHECK_NUMBER(open_files(), before);
    destroy_tree(root);
}

static void what_cools_without_a_state_slows_nothing(void)
{
    char *root = create_tree();
    REQUIRE(root != NULL);
    put(root, "sys/class/thermal/cooling_device0/type", "cpu-clamp\n");
    put(root, "sys/class/thermal/cooling_device0/max_state", "50\n");
    put(root, "sys/class/thermal/cooling_device0/cur_state", "-1\n");
    CHECK(close_to(read_once(root).throttling, 0));
    put(root, "sys/class/thermal/cooling_device0/cur_state", "60\n"); /* beyond its own scale */
    CHECK(close_to(read_once(root).throttling, 1));
    destroy_tree(root);
}

static void rails_of_a_power_monitor(void)
{
    char *root = create_tree();
    REQUIRE(root != NULL);
    put(root, "sys/class/hwmon/hwmon0/name", "ina3221\n");
    put(root, "sys/class/hwmon/hwmon0/in1_label", "VDD_GPU_SOC\n");
    put(root, "sys/class/hwmon/hwmon0/in1_input", "20000\n");
    put(root, "sys/class/hwmon/hwmon0/curr1_input", "1000\n");
    CHECK(!tarn_known(read_once(root).power_w)); /* one rail of several says nothing of the board */
    put(root, "sys/class/hwmon/hwmon0/in2_label", "VDD_IN\n");
    put(root, "sys/class/hwmon/hwmon0/in2_input", "5000\n");
    CHECK(!tarn_known(read_once(root).power_w)); /* half of the pair */
    put(root, "sys/class/hwmon/hwmon0/curr2_input", "500\n");
    CHECK(close_to(read_once(root).power_w, 2.5));
    destroy_tree(root);
}

static bool refuse(size_t size)
{
    return size == 0;
}

static void without_memory_there_are_none(void)
{
    tarn_sensors *sensors = NULL;
    tarn_memory_set_hook(refuse);
    CHECK(tarn_sensors_open(NULL, &sensors) == TARN_NO_MEMORY && sensors == NULL);
    tarn_memory_set_hook(NULL);
}

static void this_machine_can_be_asked(void)
{
    tarn_sensors *sensors = NULL;
    struct tarn_reading r;
    CHECK(tarn_sensors_open(NULL, &sensors) == TARN_OK);
    for (int i = 0; i < 10; i++)
        tarn_sensors_read(sensors, &r);
    CHECK(!(r.gpu_load < 0) && !(r.gpu_load > 1) && !(r.cpu_load < 0) && !(r.cpu_load > 1));
    tarn_sensors_destroy(&sensors);
    tarn_sensors_destroy(&sensors);
}

CHECK_MAIN(CASE(a_mali_behind_rockchips_kernel), CASE(a_videocore_counts_by_queue), CASE(a_jetson),
           CASE(an_adreno_phone), CASE(a_laptop_on_battery), CASE(a_container_knows_nothing),
           CASE(rates_need_two_readings), CASE(supplies),
           CASE(what_vanishes_is_unknown_and_found_again),
           CASE(a_file_that_is_lost_is_looked_for_at_once),
           CASE(garbage_is_unknown_and_logged_once), CASE(a_huge_file_is_not_read_to_its_end),
           CASE(folders_pipes_and_loops_are_no_files), CASE(a_slow_file_is_seldom_read),
           CASE(more_than_there_is_room_for), CASE(what_cools_without_a_state_slows_nothing),
           CASE(rails_of_a_power_monitor), CASE(without_memory_there_are_none),
           CASE(this_machine_can_be_asked))
