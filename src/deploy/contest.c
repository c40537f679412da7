/* SPDX-License-Identifier: Apache-2.0 */
#include "contest.h"

#include <math.h>

static void begin(struct tarn_contest *c)
{
    tarn_evalue_init(&c->better);
    tarn_evalue_init(&c->worse);
    c->total = c->block = (struct tarn_contest_counts){0};
    c->blocks = 0;
}

static uint32_t next_of(const struct tarn_contest *c, uint32_t kind)
{
    do
        kind = (kind + 1) % c->params.kinds;
    while (kind == c->champion && c->params.kinds > 1);
    return kind;
}

void tarn_contest_init(struct tarn_contest *c, const struct tarn_contest_params *params)
{
    *c = (struct tarn_contest){.params = *params, .champion = params->champion};
    struct tarn_contest_params *p = &c->params;
    p->alpha = p->alpha == 0 ? 0.02 : p->alpha;
    p->notice = p->notice == 0 ? 0.01 : p->notice;
    p->block = p->block == 0 ? 256 : p->block;
    p->limit = p->limit == 0 ? 128 : p->limit;
    c->challenger = next_of(c, c->champion);
    begin(c);
}

void tarn_contest_set(struct tarn_contest *c, uint32_t champion)
{
    c->champion = champion;
    if (c->challenger == champion)
        c->challenger = next_of(c, champion);
    begin(c);
}

static void add(struct tarn_contest_counts *to, const struct tarn_contest_counts *more)
{
    to->requests += more->requests;
    to->misses += more->misses;
    to->champion_misses += more->champion_misses;
}

/* One block: what it says, by what was known before it. */
static void look(struct tarn_contest *c)
{
    double before = (double)(c->total.requests - c->block.requests);
    double level =
        before > 0 ? (double)(c->total.champion_misses - c->block.champion_misses) / before : 0;
    double x =
        ((double)c->block.champion_misses - (double)c->block.misses) / (double)c->block.requests;
    tarn_evalue_add(&c->better, x, c->params.notice * level);
    tarn_evalue_add(&c->worse, -x, c->params.notice * level);
    c->block = (struct tarn_contest_counts){0};
    c->blocks++;
}

tarn_contest_verdict tarn_contest_feed(struct tarn_contest *c,
                                       const struct tarn_contest_counts *counts)
{
    double enough = -log(c->params.alpha);
    add(&c->total, counts);
    add(&c->block, counts);
    if (c->block.requests < c->params.block)
        return TARN_CONTEST_GOES_ON;
    look(c);
    bool won = tarn_evalue_log(&c->better) >= enough;
    if (!won && tarn_evalue_log(&c->worse) < enough && c->blocks < c->params.limit)
        return TARN_CONTEST_GOES_ON;
    uint32_t challenger = c->challenger;
    if (won) {
        c->champion = challenger;
        c->won++;
    }
    c->challenges++;
    c->challenger = next_of(c, challenger);
    begin(c);
    return won ? TARN_CONTEST_WON : TARN_CONTEST_NEXT;
}
