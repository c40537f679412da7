/* SPDX-License-Identifier: Apache-2.0 */
/* The seed of the checkpoint fuzzer: a small one. seeds-checkpoint FILE */
#include <stdio.h>

#include "learn/checkpoint.h"

int main(int argc, char **argv)
{
    static const struct tarn_shape shape = {TARN_FEATURES, 4, 4, 11};
    struct tarn_ring ring;
    struct tarn_reservoir kept;
    struct tarn_rng rng;
    float weights[4 * 28 + 4 + 4 * 4 + 4 + 11 * 4 + 11];
    const float zeros[sizeof weights / sizeof *weights] = {0};
    struct tarn_checkpoint what = {.shape = &shape, .ring = &ring, .reservoir = &kept};
    struct tarn_checkpoint_part parts[3] = {{.number = 1, .name = "carts", .rate = 2},
                                            {.number = 6, .name = "tag6", .rate = 1},
                                            {.is_class = true, .current = true, .rate = 1}};
    struct tarn_checkpoint_image image;
    struct tarn_trainer_params params = {
        .shape = &shape, .weights = weights, .batch = 16, .steps = 1, .rate = 0.001f};
    tarn_rng_seed(&rng, 1);
    tarn_net_init(&shape, &rng, weights);
    if (argc != 2 || tarn_ring_init(&ring, 1024) != TARN_OK ||
        tarn_reservoir_init(&kept, 64, 1) != TARN_OK ||
        tarn_trainer_create(&params, &what.trainer, NULL) != TARN_OK)
        return 1;
    for (uint64_t i = 0; i < 40; i++) {
        int8_t x[TARN_FEATURES] = {(int8_t)i};
        tarn_ring_put_tagged(&ring, i % 16, i % 4, x, i * 10, 64);
        tarn_ring_resolve(&ring, i / 2, i * 10, i % 3 > 0);
        tarn_reservoir_offer(&kept, &shape, &ring.samples[i / 2], 1000);
    }
    for (int i = 0; i < 3; i++) {
        parts[i].state = (struct tarn_trainer_state){weights, weights, zeros, 10};
        parts[i].live = parts[i].is_class ? weights : NULL;
    }
    what.parts = parts;
    what.part_count = 3;
    bool ok = tarn_checkpoint_begin(&image, &what, NULL) == TARN_OK &&
              tarn_checkpoint_copy(&image, &what, 40, 1000) == TARN_OK;
    if (ok)
        tarn_checkpoint_put_parts(&image, &what);
    ok = ok && tarn_checkpoint_save(&image, argv[1], NULL) == TARN_OK;
    tarn_checkpoint_free(&image);
    tarn_trainer_destroy(&what.trainer);
    tarn_reservoir_free(&kept);
    tarn_ring_free(&ring);
    printf("%s\n", argv[1]);
    return !ok;
}
