/* SPDX-License-Identifier: Apache-2.0 */
#include "../check.h"

#include "platform/gate.h"

#define SECOND UINT64_C(1000000000)

struct run {
    struct tarn_gate gate;
    struct tarn_train_limits limits;
    struct tarn_reading reading;
    struct tarn_gate_verdict verdict;
    uint64_t now;
    unsigned changes;
};

static struct run begin(void)
{
    struct run run = {.now = 50 * SECOND};
    tarn_reading_clear(&run.reading);
    run.limits.max_temperature_c = 80;
    return run;
}

/* A reading each second for so long; the share that is allowed at the end. */
static double go(struct run *run, unsigned seconds)
{
    for (unsigned i = 0; i < seconds; i++) {
        double before = run->verdict.share;
        run->now += SECOND;
        tarn_gate_update(&run->gate, &run->limits, &run->reading, run->now, &run->verdict);
        run->changes += run->verdict.share != before;
        CHECK((run->verdict.share < 1) == (run->verdict.reason[0] != '\0'));
    }
    return run->verdict.share;
}

static void what_is_unknown_forbids_nothing(void)
{
    struct run run = begin();
    CHECK_NUMBER(go(&run, 1), 1);
    run.limits.max_temperature_c = 0;
    CHECK_NUMBER(go(&run, 1), 1);
    CHECK(!run.verdict.give_memory_back);
    run.reading.temperature_c = 199; /* and no limit is known */
    CHECK_NUMBER(go(&run, 1), 1);
}

static void heat_stops_at_once_and_ends_five_below(void)
{
    struct run run = begin();
    run.reading.temperature_c = 79.9;
    CHECK_NUMBER(go(&run, 1), 1);
    run.reading.temperature_c = 80;
    CHECK_NUMBER(go(&run, 1), 0);
    CHECK(strstr(run.verdict.reason, "80 C") != NULL);
    run.reading.temperature_c = 75.1;
    CHECK_NUMBER(go(&run, 1000), 0);
    run.reading.temperature_c = 75;
    CHECK_NUMBER(go(&run, TARN_GATE_HOLD_S), 0);
    CHECK_NUMBER(go(&run, 1), 1);
    run.reading.temperature_c = 79.9; /* and it heats up again */
    CHECK_NUMBER(go(&run, 1000), 1);
    CHECK_NUMBER(run.changes, 3);
}

static void a_temperature_that_hovers_does_not_flap(void)
{
    struct run run = begin();
    go(&run, 1);
    run.changes = 0;
    for (int i = 0; i < 600; i++) { /* ten minutes of +-3 degrees around the limit */
        run.reading.temperature_c = 80 + 3 * ((i * 7) % 13 - 6) / 6.0;
        go(&run, 1);
    }
    CHECK_NUMBER(run.changes, 1);
    for (int i = 0; i < 600; i++) { /* a square wave across both limits, 4 s each */
        run.reading.temperature_c = i / 4 % 2 ? 85 : 60;
        go(&run, 1);
    }
    CHECK_NUMBER(run.changes, 1);   /* it is never cool for long enough */
    for (int i = 0; i < 600; i++) { /* 15 s each: twice a period of 30 s */
        run.reading.temperature_c = i / 15 % 2 ? 85 : 60;
        go(&run, 1);
    }
    CHECK(run.changes > 1 && run.changes <= 1 + 2 * 600 / 30);
}

static void the_boards_own_limit(void)
{
    struct run run = begin();
    run.limits.max_temperature_c = 0;
    run.reading.temperature_c = 81;
    run.reading.headroom_c = 3.1;
    CHECK_NUMBER(go(&run, 1), 1);
    run.reading.headroom_c = 3;
    CHECK_NUMBER(go(&run, 1), 0);
    CHECK(strstr(run.verdict.reason, "3 C of headroom") != NULL);
    run.reading.headroom_c = 7.9;
    CHECK_NUMBER(go(&run, 100), 0);
    run.reading.headroom_c = 8;
    CHECK_NUMBER(go(&run, TARN_GATE_HOLD_S + 1), 1);
    run.reading.headroom_c = -20;
    CHECK_NUMBER(go(&run, 1), 0);
}

static void a_sensor_that_falls_silent_is_believed_for_a_minute(void)
{
    struct run run = begin();
    run.reading.temperature_c = 90;
    CHECK_NUMBER(go(&run, 1), 0);
    run.reading.temperature_c = NAN;
    CHECK_NUMBER(go(&run, TARN_GATE_BLIND_S - 1), 0);
    CHECK(strstr(run.verdict.reason, "unknown") != NULL);
    CHECK_NUMBER(go(&run, TARN_GATE_HOLD_S), 0);
    CHECK_NUMBER(go(&run, 1), 1);
}

static void batteries(void)
{
    struct run run = begin();
    run.reading.supply = TARN_SUPPLY_BATTERY;
    run.reading.battery_percent = 90;
    CHECK_NUMBER(go(&run, 1), 0); /* never is the default */
    run.limits.on_battery = TARN_ON_BATTERY_ALWAYS;
    CHECK_NUMBER(go(&run, TARN_GATE_HOLD_S + 1), 1);
    run.limits.on_battery = TARN_ON_BATTERY_LOW;
    CHECK_NUMBER(go(&run, 1), TARN_GATE_LOW_SHARE);
    CHECK(strstr(run.verdict.reason, "90 %") != NULL);
    run.reading.battery_percent = 50.5;
    CHECK_NUMBER(go(&run, 100), TARN_GATE_LOW_SHARE);
    run.reading.battery_percent = 50;
    CHECK_NUMBER(go(&run, 1), 0);
    run.reading.battery_percent = 55;
    CHECK_NUMBER(go(&run, 100), 0);
    run.reading.battery_percent = 56;
    CHECK_NUMBER(go(&run, 100), TARN_GATE_LOW_SHARE);
    run.reading.battery_percent = NAN;
    CHECK_NUMBER(go(&run, 1), 0);
    run.reading.supply = TARN_SUPPLY_MAINS;
    CHECK_NUMBER(go(&run, TARN_GATE_HOLD_S), 0);
    CHECK_NUMBER(go(&run, 1), 1);
    /* a loose plug */
    run.changes = 0;
    run.limits.on_battery = TARN_ON_BATTERY_NEVER;
    for (int i = 0; i < 600; i++) {
        run.reading.supply = i % 6 < 3 ? TARN_SUPPLY_BATTERY : TARN_SUPPLY_MAINS;
        go(&run, 1);
    }
    CHECK_NUMBER(run.changes, 1);
}

static void memory_is_given_back_while_it_is_short(void)
{
    struct run run = begin();
    run.reading.memory_bytes = 1000;
    run.reading.memory_available_bytes = 60;
    run.reading.pressure_memory = 0.09;
    CHECK_NUMBER(go(&run, 1), 1);
    CHECK(!run.verdict.give_memory_back);
    run.reading.pressure_memory = 0.11;
    CHECK_NUMBER(go(&run, 1), 0);
    CHECK(run.verdict.give_memory_back && strstr(run.verdict.reason, "memory") != NULL);
    run.reading.pressure_memory = 0.02;
    CHECK_NUMBER(go(&run, 100), 0); /* there isn't enough of it yet */
    run.reading.memory_available_bytes = 90;
    CHECK_NUMBER(go(&run, TARN_GATE_HOLD_S + 1), 1);
    CHECK(!run.verdict.give_memory_back);
    run.reading.memory_available_bytes = 40;
    CHECK_NUMBER(go(&run, 1), 0);
    run.reading.memory_available_bytes = run.reading.memory_bytes = NAN; /* one of two is enough */
    CHECK_NUMBER(go(&run, TARN_GATE_HOLD_S + 1), 1);
}

static void a_board_that_is_slowed_down_gets_half(void)
{
    struct run run = begin();
    run.reading.throttling = 0.1;
    CHECK_NUMBER(go(&run, 1), TARN_GATE_THROTTLE_SHARE);
    run.reading.throttling = 0;
    CHECK_NUMBER(go(&run, TARN_GATE_HOLD_S), TARN_GATE_THROTTLE_SHARE);
    CHECK_NUMBER(go(&run, 1), 1);
    run.reading.throttling = 1;
    run.reading.temperature_c = 90;
    CHECK_NUMBER(go(&run, 1), 0);
    CHECK(strstr(run.verdict.reason, "90 C") != NULL);
}

static void a_clock_that_jumps(void)
{
    struct run run = begin();
    run.reading.temperature_c = 90;
    CHECK_NUMBER(go(&run, 1), 0);
    run.reading.temperature_c = 40;
    CHECK_NUMBER(go(&run, 5), 0);
    run.now -= 40 * SECOND; /* waits anew, and not for ever */
    CHECK_NUMBER(go(&run, TARN_GATE_HOLD_S), 0);
    CHECK_NUMBER(go(&run, 1), 1);
}

static void options(void)
{
    tarn_on_battery on_battery;
    double celsius = 0;
    for (int i = 0; i < 3; i++)
        CHECK(tarn_on_battery_parse(tarn_on_battery_name((tarn_on_battery)i), &on_battery) &&
              (int)on_battery == i);
    CHECK(!tarn_on_battery_parse("", &on_battery) && !tarn_on_battery_parse("Low", &on_battery));
    CHECK(tarn_max_temperature_parse("85.5", &celsius) && celsius == 85.5);
    CHECK(!tarn_max_temperature_parse("19", &celsius) &&
          !tarn_max_temperature_parse("121", &celsius));
    CHECK(!tarn_max_temperature_parse("", &celsius) &&
          !tarn_max_temperature_parse("nan", &celsius));
    CHECK(!tarn_max_temperature_parse("85C", &celsius) && celsius == 85.5);
}

CHECK_MAIN(CASE(what_is_unknown_forbids_nothing), CASE(heat_stops_at_once_and_ends_five_below),
           CASE(a_temperature_that_hovers_does_not_flap), CASE(the_boards_own_limit),
           CASE(a_sensor_that_falls_silent_is_believed_for_a_minute), CASE(batteries),
           CASE(memory_is_given_back_while_it_is_short),
           CASE(a_board_that_is_slowed_down_gets_half), CASE(a_clock_that_jumps), CASE(options))
