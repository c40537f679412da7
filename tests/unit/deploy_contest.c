/* SPDX-License-Identifier: Apache-2.0 */
/* The best of several ways ends as the champion, and equals seldom change places. */
#include "../check.h"

#include "base/rng.h"
#include "deploy/contest.h"

#define KINDS 4

/*
 * Requests of which 30 % miss at the champion; `noise` of them are answered otherwise by chance, and the rest by
 * how much more the challenger misses.
 */
static struct tarn_contest_counts serve(struct tarn_rng *rng, double champion, double challenger,
                                        double noise)
{
    struct tarn_contest_counts c = {.requests = 64};
    for (int i = 0; i < 64; i++) {
        double u = tarn_rng_double(rng);
        bool a = u < 0.3 * champion, b = u < 0.3 * challenger;
        if (tarn_rng_double(rng) < noise)
            b = tarn_rng_double(rng) < 0.3 * challenger;
        c.misses += b;
        c.champion_misses += a;
    }
    return c;
}

/* Runs until so many challenges are over; `level[k]`: how much way k misses, 1 being 30 %. */
static void compete(struct tarn_contest *c, const double *level, uint64_t challenges, uint64_t seed)
{
    struct tarn_rng rng;
    tarn_rng_seed(&rng, seed);
    while (c->challenges < challenges) {
        struct tarn_contest_counts counts =
            serve(&rng, level[c->champion], level[c->challenger], 0.01);
        uint32_t champion = c->champion, challenger = c->challenger;
        switch (tarn_contest_feed(c, &counts)) {
        case TARN_CONTEST_GOES_ON:
            CHECK(c->champion == champion && c->challenger == challenger);
            break;
        case TARN_CONTEST_NEXT:
            CHECK(c->champion == champion && c->challenger != challenger);
            break;
        case TARN_CONTEST_WON:
            CHECK(c->champion == challenger);
            break;
        }
        CHECK(c->champion != c->challenger);
    }
}

static void the_best_wins(void)
{
    static const double level[KINDS] = {1, 1.02, 0.97, 1.05};
    int right = 0;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct tarn_contest c;
        tarn_contest_init(&c, &(struct tarn_contest_params){.kinds = KINDS});
        CHECK(c.champion == 0 && c.challenger == 1);
        compete(&c, level, 6, seed);
        right += c.champion == 2;
    }
    printf("# the best of four, 3 %% better, is the champion in %d of 50\n", right);
    CHECK(right >= 48);
}

static void equals_seldom_change_places(void)
{
    static const double level[KINDS] = {1, 1, 1, 1};
    uint64_t challenges = 0, won = 0;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct tarn_contest c;
        tarn_contest_init(&c, &(struct tarn_contest_params){.kinds = KINDS});
        compete(&c, level, 6, seed);
        challenges += c.challenges;
        won += c.won;
    }
    printf("# %d of %d equal challengers won\n", (int)won, (int)challenges);
    CHECK((double)won <= 0.03 * (double)challenges); /* bound 2 % */
}

static void what_can_be_told_apart(void)
{
    for (int percent = 1; percent <= 4; percent *= 2) {
        const double level[2] = {1, 1 - percent / 100.0};
        int won = 0;
        uint64_t blocks = 0;
        for (uint64_t seed = 1; seed <= 50; seed++) {
            struct tarn_contest c;
            struct tarn_rng rng;
            tarn_rng_seed(&rng, seed);
            tarn_contest_init(&c, &(struct tarn_contest_params){.kinds = 2});
            while (c.challenges == 0) {
                struct tarn_contest_counts counts = serve(&rng, level[0], level[1], 0.01);
                blocks = c.blocks > 0 ? blocks + (c.block.requests == 0) : blocks;
                tarn_contest_feed(&c, &counts);
            }
            won += c.champion == 1;
        }
        printf("# %d %% fewer misses: noticed in %d of 50, after %d requests on the mean\n",
               percent, won, (int)(blocks * 256 / 50));
        CHECK(percent == 1 || won >= (percent == 2 ? 40 : 49));
    }
}

static void the_champion_may_be_given(void)
{
    struct tarn_contest c;
    tarn_contest_init(&c, &(struct tarn_contest_params){.kinds = 3, .champion = 2});
    CHECK(c.champion == 2 && c.challenger == 0);
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 1);
    struct tarn_contest_counts counts = serve(&rng, 1, 1, 0);
    tarn_contest_feed(&c, &counts);
    CHECK_NUMBER(c.total.requests, 64);
    tarn_contest_set(&c, 0);
    CHECK(c.champion == 0 && c.challenger == 1 && c.total.requests == 0);
}

CHECK_MAIN(CASE(the_best_wins), CASE(equals_seldom_change_places), CASE(what_can_be_told_apart),
           CASE(the_champion_may_be_given))
