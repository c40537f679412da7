/* SPDX-License-Identifier: Apache-2.0 */
#include "gate.h"

#include <stdio.h>
#include <string.h>

#include "parse.h"

#define SECOND UINT64_C(1000000000)

/* Memory is tight when tasks stall for it, or when little is left, and no longer when neither has been
   so for the lower pair. */
#define TIGHT_PRESSURE 0.10
#define EASED_PRESSURE 0.03
#define TIGHT_REST     0.05
#define EASED_REST     0.08

/* ---- one condition each ---- */

/* Degrees above the limit; NAN: unknown. */
static double excess_of(const struct tarn_train_limits *limits, const struct tarn_reading *r)
{
    return limits->max_temperature_c > 0 ? r->temperature_c - limits->max_temperature_c
                                         : TARN_GATE_HEADROOM_C - r->headroom_c;
}

static void judge_heat(struct tarn_gate *gate, double excess, uint64_t now_ns)
{
    if (tarn_known(excess)) {
        gate->temperature_ns = now_ns;
        if (excess >= 0)
            gate->hot = true;
        else if (excess <= -TARN_GATE_COOLER_C)
            gate->hot = false;
    } else if (now_ns - gate->temperature_ns >= TARN_GATE_BLIND_S * SECOND) {
        gate->hot = false;
    }
}

static void judge_battery(struct tarn_gate *gate, const struct tarn_reading *r)
{
    double percent = r->battery_percent;
    if (isnan(percent) || percent <= TARN_GATE_HALF_FULL)
        gate->drained = true;
    else if (!gate->begun || percent > TARN_GATE_HALF_FULL + 5)
        gate->drained = false;
}

static void judge_memory(struct tarn_gate *gate, const struct tarn_reading *r, uint64_t now_ns)
{
    double rest = r->memory_available_bytes / r->memory_bytes;
    if (isnan(rest) && isnan(r->pressure_memory)) {
        if (now_ns - gate->memory_ns >= TARN_GATE_BLIND_S * SECOND)
            gate->tight = false;
        return;
    }
    gate->memory_ns = now_ns;
    /* comparisons with an unknown are false */
    if (r->pressure_memory > TIGHT_PRESSURE || rest < TIGHT_REST)
        gate->tight = true;
    else if (!(r->pressure_memory > EASED_PRESSURE) && !(rest < EASED_REST))
        gate->tight = false;
}

/* ---- all together ---- */

/* Lowers what is allowed; the reason that allows least is the one that is told. */
static void allow(double share, double *least, char reason[96], const char *why)
{
    if (share >= *least)
        return;
    *least = share;
    snprintf(reason, 96, "%s", why);
}

static double judge(struct tarn_gate *gate, const struct tarn_train_limits *limits,
                    const struct tarn_reading *r, uint64_t now_ns, char reason[96])
{
    double share = 1;
    char text[96];
    reason[0] = '\0';
    judge_heat(gate, excess_of(limits, r), now_ns);
    judge_battery(gate, r);
    judge_memory(gate, r, now_ns);
    if (gate->tight)
        allow(0, &share, reason, "memory is short");
    if (gate->hot) {
        if (isnan(excess_of(limits, r)))
            snprintf(text, sizeof text, "it was hot, and the temperature is unknown now");
        else if (limits->max_temperature_c > 0)
            snprintf(text, sizeof text, "%.0f C, the limit is %.0f C", r->temperature_c,
                     limits->max_temperature_c);
        else
            snprintf(text, sizeof text, "%.0f C, with %.0f C of headroom", r->temperature_c,
                     r->headroom_c);
        allow(0, &share, reason, text);
    }
    if (r->supply == TARN_SUPPLY_BATTERY && limits->on_battery == TARN_ON_BATTERY_NEVER)
        allow(0, &share, reason, "on battery");
    if (r->supply == TARN_SUPPLY_BATTERY && limits->on_battery == TARN_ON_BATTERY_LOW) {
        if (tarn_known(r->battery_percent))
            snprintf(text, sizeof text, "on battery, %.0f %% left", r->battery_percent);
        else
            snprintf(text, sizeof text, "on battery, of unknown charge");
        allow(gate->drained ? 0 : TARN_GATE_LOW_SHARE, &share, reason, text);
    }
    if (r->throttling > 0)
        allow(TARN_GATE_THROTTLE_SHARE, &share, reason, "the kernel slows the board down");
    return share;
}

void tarn_gate_update(struct tarn_gate *gate, const struct tarn_train_limits *limits,
                      const struct tarn_reading *reading, uint64_t now_ns,
                      struct tarn_gate_verdict *verdict)
{
    char reason[96];
    double share = judge(gate, limits, reading, now_ns, reason);
    bool more = gate->begun && share > gate->share;
    if (!more || !gate->better || now_ns < gate->better_ns)
        gate->better_ns = now_ns;
    gate->better = more;
    if (!more || now_ns - gate->better_ns >= TARN_GATE_HOLD_S * SECOND) {
        gate->share = share;
        gate->better = false;
        memcpy(gate->reason, reason, sizeof reason);
    }
    gate->begun = true;
    verdict->share = gate->share;
    verdict->give_memory_back = gate->tight;
    memcpy(verdict->reason, gate->reason, sizeof verdict->reason);
}

/* ---- options ---- */

static const char *const names[] = {"never", "low", "always"};

bool tarn_on_battery_parse(const char *text, tarn_on_battery *on_battery)
{
    for (int i = 0; i < 3; i++)
        if (strcmp(text, names[i]) == 0) {
            *on_battery = (tarn_on_battery)i;
            return true;
        }
    return false;
}

const char *tarn_on_battery_name(tarn_on_battery on_battery)
{
    return (unsigned)on_battery < 3 ? names[on_battery] : "unknown";
}

bool tarn_max_temperature_parse(const char *text, double *celsius)
{
    double value;
    if (!tarn_parse_value(TARN_FORMAT_HZ, text, &value) || value < 20 || value > 120)
        return false;
    *celsius = value;
    return true;
}
