/* SPDX-License-Identifier: Apache-2.0 */
/* One round, objects of several kinds: each is scored by the network of its kind. */
#include "../check.h"

#include "model/bundle.h"

enum { MOST = 200 };

static struct tarn_bundle *make(uint64_t seed, struct tarn_bundle *const *tagged)
{
    static float weights[TARN_NET_PARAMETERS];
    struct tarn_bundle *bundle = NULL;
    struct tarn_rng rng;
    struct tarn_bundle_params params = {.shape = tarn_net_reference, .weights = weights};
    tarn_rng_seed(&rng, seed);
    tarn_net_init(&tarn_net_reference, &rng, weights);
    if (tagged != NULL)
        memcpy(params.tagged, tagged, sizeof params.tagged);
    return tarn_bundle_create(&params, &bundle, NULL) == TARN_OK ? bundle : NULL;
}

static void each_network_scores_its_own(void)
{
    _Alignas(64) static float tiles[(MOST + TARN_LANES) * TARN_FEATURES];
    float wanted[3][MOST + TARN_LANES], got[MOST + TARN_LANES];
    uint8_t tags[MOST];
    struct tarn_rng rng;
    struct tarn_bundle *tagged[TARN_BUNDLE_TAGS] = {[1] = make(2, NULL), [6] = make(3, NULL)};
    struct tarn_bundle *bundle = make(1, tagged);
    REQUIRE(bundle != NULL);
    CHECK_NUMBER(bundle->tags, 1 << 1 | 1 << 6);
    CHECK(tarn_bundle_of_tag(bundle, 0) == bundle && tarn_bundle_of_tag(bundle, 1) == bundle);
    CHECK(tarn_bundle_of_tag(bundle, 2) == tagged[1] && tarn_bundle_of_tag(bundle, 7) == tagged[6]);
    tarn_rng_seed(&rng, 4);
    for (size_t i = 0; i < sizeof tiles / sizeof *tiles; i++)
        tiles[i] = (float)((int)tarn_rng_below(&rng, 200) - 100) * TARN_FEATURE_STEP;
    for (uint32_t round = 0; round < 40; round++) {
        uint32_t count = 1 + tarn_rng_below(&rng, MOST), kinds = 1 + round % 8;
        for (uint32_t i = 0; i < count; i++)
            tags[i] = (uint8_t)((round + tarn_rng_below(&rng, kinds)) % 8);
        const struct tarn_bundle *of[] = {bundle, tagged[1], tagged[6]};
        for (int k = 0; k < 3; k++)
            tarn_model_score(of[k]->model, tiles, count, wanted[k]);
        tarn_bundle_score(
            bundle, &(struct tarn_bundle_batch){.tiles = tiles, .tags = tags, .count = count}, got);
        for (uint32_t i = 0; i < count; i++)
            CHECK_NUMBER(got[i], wanted[tags[i] == 2 ? 1 : tags[i] == 7 ? 2 : 0][i]);
        tarn_bundle_score(bundle, &(struct tarn_bundle_batch){.tiles = tiles, .count = count}, got);
        CHECK(memcmp(got, wanted[0], count * sizeof *got) == 0);
    }
    tarn_bundle_release(&tagged[1]); /* the bundle holds them */
    tarn_bundle_release(&tagged[6]);
    tarn_bundle_release(&bundle);
}

static void what_is_tagged_is_part_of_what_it_is(void)
{
    struct tarn_bundle *own = make(2, NULL);
    struct tarn_bundle *first[TARN_BUNDLE_TAGS] = {[0] = own},
                       *second[TARN_BUNDLE_TAGS] = {[1] = own};
    struct tarn_bundle *plain = make(1, NULL), *a = make(1, first), *b = make(1, second),
                       *same = make(1, first);
    REQUIRE(plain != NULL && a != NULL && b != NULL && same != NULL);
    CHECK(plain->hash != a->hash && a->hash != b->hash && a->hash == same->hash);
    tarn_bundle_release(&own);
    tarn_bundle_release(&plain);
    tarn_bundle_release(&a);
    tarn_bundle_release(&b);
    tarn_bundle_release(&same);
}

CHECK_MAIN(CASE(each_network_scores_its_own), CASE(what_is_tagged_is_part_of_what_it_is))
