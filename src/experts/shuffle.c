/* SPDX-License-Identifier: Apache-2.0 */
#include "shuffle.h"

#include <string.h>

enum { SETS = TARN_SHUFFLE_SETS, WAYS = TARN_SHUFFLE_WAYS };

#define PRIOR 16.0f /* requests without a hit that are added where there is little to go by */

/* Puts a key in front of its set; where it was found, WAYS if it wasn't there. */
static int renew(uint32_t way[WAYS], uint32_t tag)
{
    int at = 0;
    while (at < WAYS && way[at] != tag)
        at++;
    int last = at < WAYS ? at : WAYS - 1;
    memmove(way + 1, way, (size_t)last * sizeof *way);
    way[0] = tag;
    return at;
}

static void look_up(struct tarn_shuffle *s, int which, uint32_t tag, uint32_t set)
{
    int at = renew(s->way[which][set], tag);
    s->now.asked[which] += 1;
    if (at < WAYS)
        s->now.hits[which][at == 0 ? 0 : 32 - __builtin_clz((unsigned)at)] += 1;
}

void tarn_shuffle_access(struct tarn_shuffle *s, uint32_t tag, uint32_t set)
{
    look_up(s, 0, tag, set);
    /* xorshift32 (Marsaglia 2003): a request waits for as long as chance wants */
    uint32_t random = s->random != 0 ? s->random : 0x9e3779b9u;
    random ^= random << 13;
    random ^= random >> 17;
    random ^= random << 5;
    s->random = random;
    uint32_t at = s->count < s->room ? s->count : random % s->room;
    if (s->count == s->room)
        look_up(s, 1, s->held[at], s->held_set[at]);
    else
        s->count++;
    s->held[at] = tag;
    s->held_set[at] = (uint8_t)set;
}

void tarn_shuffle_worth(const struct tarn_shuffle_sums *sums, float worth[TARN_SHUFFLE_DEPTHS])
{
    float hits[2] = {0};
    for (int d = 0; d < TARN_SHUFFLE_DEPTHS; d++) {
        for (int which = 0; which < 2; which++)
            hits[which] += sums->hits[which][d];
        worth[d] = sums->asked[1] <= 0
                       ? 0
                       : hits[0] / (sums->asked[0] + PRIOR) - hits[1] / (sums->asked[1] + PRIOR);
    }
}
