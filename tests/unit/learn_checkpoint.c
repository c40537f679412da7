/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checkpoints: what comes back is what was there, training goes on with the same bits, and whatever is
 * wrong with a file is found before anything changes.
 */
#include "../check.h"

#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/memory.h"
#include "learn/checkpoint.h"

enum { COUNT = TARN_NET_PARAMETERS, BATCH = 32, STEPS = 4, PUTS = 3000 };

struct world {
    struct tarn_ring ring;
    struct tarn_reservoir reservoir;
    tarn_trainer *trainer;
    struct tarn_rng rng;
    struct tarn_checkpoint what;
    uint64_t now;
};

static bool open_world(struct world *w, uint32_t ring, uint32_t kept)
{
    float weights[COUNT];
    memset(w, 0, sizeof *w);
    tarn_rng_seed(&w->rng, 1);
    tarn_net_init(&tarn_net_reference, &w->rng, weights);
    w->now = ((uint64_t)1 << 32) - 2000; /* times pass 32 bits on the way */
    struct tarn_trainer_params params = {.shape = &tarn_net_reference,
                                         .weights = weights,
                                         .batch = BATCH,
                                         .steps = STEPS,
                                         .rate = 0.001f};
    bool ok = tarn_ring_init(&w->ring, ring) == TARN_OK &&
              (kept == 0 || tarn_reservoir_init(&w->reservoir, kept, 3) == TARN_OK) &&
              tarn_trainer_create(&params, &w->trainer, NULL) == TARN_OK;
    w->what = (struct tarn_checkpoint){&tarn_net_reference, w->trainer, &w->ring,
                                       kept > 0 ? &w->reservoir : NULL};
    w->ring.reservoir = w->what.reservoir;
    w->ring.shape = &tarn_net_reference;
    return ok;
}

static void close_world(struct world *w)
{
    tarn_trainer_destroy(&w->trainer);
    tarn_ring_free(&w->ring);
    tarn_reservoir_free(&w->reservoir);
}

static void put_some(struct world *w, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        int8_t x[TARN_FEATURES];
        for (int f = 0; f < TARN_FEATURES; f++)
            x[f] = (int8_t)tarn_rng_next(&w->rng);
        w->now++;
        tarn_ring_put(&w->ring, tarn_rng_below(&w->rng, 500) * 129u, x, w->now, 100);
        tarn_ring_resolve(&w->ring, tarn_rng_below(&w->rng, 500) * 129u, w->now,
                          tarn_rng_below(&w->rng, 4) > 0);
    }
}

static void train(struct world *w, int launches)
{
    for (int i = 0; i < launches; i++) {
        struct tarn_learn_source source = {
            &w->ring, w->what.reservoir, &tarn_net_reference, 0.3f, 0, true};
        for (uint32_t k = 0; k < BATCH * STEPS; k++) {
            struct tarn_learn_sample s;
            REQUIRE(tarn_learn_draw(&source, w->now, &w->rng, &s));
            tarn_trainer_stage(w->trainer, k, s.features, TARN_FEATURE_STEP, s.label);
        }
        REQUIRE(tarn_trainer_submit(w->trainer, STEPS) == TARN_OK);
        REQUIRE(tarn_trainer_wait(w->trainer, TARN_FOREVER) == TARN_OK);
    }
}

static char path[64], folder[32];

static tarn_status save(struct world *w, struct tarn_checkpoint_image *image)
{
    struct tarn_error error = {0};
    tarn_status status = tarn_checkpoint_begin(image, &w->what, &error);
    while (status == TARN_OK && tarn_checkpoint_copy(image, &w->what, 700, w->now) == TARN_BUSY)
        ;
    if (status == TARN_OK)
        status = tarn_checkpoint_save(image, path, &error);
    if (status != TARN_OK)
        printf("# %s\n", error.message);
    return status;
}

static void what_comes_back_is_what_was_there(void)
{
    struct world a, b;
    struct tarn_checkpoint_image image;
    REQUIRE(open_world(&a, 1024, 512) && open_world(&b, 1024, 512));
    put_some(&a, PUTS);
    train(&a, 5);
    CHECK(save(&a, &image) == TARN_OK && image.size == tarn_checkpoint_size(&a.what));
    tarn_checkpoint_free(&image);
    struct tarn_error error = {0};
    b.now = 77;
    tarn_status status = tarn_checkpoint_load(path, &b.what, b.now, &error);
    if (status != TARN_OK)
        printf("# %s\n", error.message);
    REQUIRE(status == TARN_OK);
    /* open samples were closed; all else is the same, at the same age */
    uint32_t open = 0;
    for (uint64_t i = a.ring.head - 1024, k = 0; k < 1024; i++, k++) {
        const struct tarn_sample *s = &a.ring.samples[i & 1023], *t = &b.ring.samples[k];
        CHECK(memcmp(s->features, t->features, TARN_FEATURES) == 0 && s->hash == t->hash);
        CHECK(tarn_sample_elapsed(s, a.now) == tarn_sample_elapsed(t, b.now));
        CHECK(tarn_sample_elapsed(t, b.now + 500) == tarn_sample_elapsed(t, b.now));
        CHECK(!t->open && t->wanted == (!s->open && s->wanted));
        CHECK((uint32_t)a.now - s->since == (uint32_t)b.now - t->since);
        open += s->open;
    }
    CHECK(open > 50 && b.ring.head == 1024);
    CHECK(memcmp(a.reservoir.filled, b.reservoir.filled, sizeof a.reservoir.filled) == 0);
    CHECK(memcmp(a.reservoir.offered, b.reservoir.offered, sizeof a.reservoir.offered) == 0);
    CHECK(memcmp(&a.reservoir.rng, &b.reservoir.rng, sizeof a.rng) == 0);
    CHECK(tarn_reservoir_count(&b.reservoir) > 200);
    for (uint32_t s = 0; s < TARN_RESERVOIR_STRATA; s++)
        for (uint32_t i = 0; i < a.reservoir.filled[s]; i++)
            CHECK(memcmp(&a.reservoir.samples[s * a.reservoir.room + i],
                         &b.reservoir.samples[s * b.reservoir.room + i], 31) == 0);
    /* training goes on with the same bits, the ring's order and all */
    tarn_ring_resolve(&b.ring, 129, b.now, true); /* nothing is open there */
    b.rng = a.rng;
    CHECK(tarn_trainer_steps(b.trainer) == 5 * STEPS);
    for (uint64_t k = 0; k < 1024; k++) { /* as after the restart there too */
        struct tarn_sample *s = &a.ring.samples[k];
        if (s->open) {
            s->until = (uint32_t)a.now;
            s->open = s->wanted = false;
        }
    }
    a.ring.head &= 1023;
    REQUIRE(a.ring.head == (PUTS & 1023));
    struct tarn_sample turned[1024];
    for (uint64_t k = 0; k < 1024; k++)
        turned[k] = a.ring.samples[(a.ring.head + k) & 1023];
    memcpy(a.ring.samples, turned, sizeof turned);
    a.ring.head = 1024;
    train(&a, 5);
    train(&b, 5);
    CHECK(memcmp(tarn_trainer_weights(a.trainer), tarn_trainer_weights(b.trainer),
                 COUNT * sizeof(float)) == 0);
    put_some(&b, 3000);
    close_world(&a);
    close_world(&b);
}

static void other_sizes_take_what_fits(void)
{
    static const uint32_t sizes[][2] = {{1024, 0}, {4096, 64}, {1024, 4096}};
    struct world a, b;
    struct tarn_checkpoint_image image;
    REQUIRE(open_world(&a, 2048, 512));
    put_some(&a, PUTS);
    CHECK(save(&a, &image) == TARN_OK);
    tarn_checkpoint_free(&image);
    for (int i = 0; i < 3; i++) {
        REQUIRE(open_world(&b, sizes[i][0], sizes[i][1]));
        CHECK(tarn_checkpoint_load(path, &b.what, b.now, NULL) == TARN_OK);
        CHECK_NUMBER(b.ring.head, sizes[i][0] < 2048 ? 1024 : 2048);
        const struct tarn_sample *newest = &b.ring.samples[(b.ring.head - 1) & (b.ring.size - 1)];
        CHECK(newest->hash == a.ring.samples[(a.ring.head - 1) & 2047].hash);
        put_some(&b, 5000);
        close_world(&b);
    }
    /* an empty one, and one without a reservoir into one with */
    REQUIRE(open_world(&b, 1024, 0));
    CHECK(save(&b, &image) == TARN_OK);
    tarn_checkpoint_free(&image);
    uint32_t before = tarn_reservoir_count(&a.reservoir);
    CHECK(tarn_checkpoint_load(path, &a.what, a.now, NULL) == TARN_OK);
    CHECK(tarn_reservoir_count(&a.reservoir) == before);
    CHECK(memcmp(tarn_trainer_weights(a.trainer), tarn_trainer_weights(b.trainer), 400) == 0);
    close_world(&a);
    close_world(&b);
}

static void requests_may_come_between_the_pieces(void)
{
    struct world a, b;
    struct tarn_checkpoint_image image;
    REQUIRE(open_world(&a, 1024, 512) && open_world(&b, 1024, 0));
    put_some(&a, PUTS);
    CHECK(tarn_checkpoint_begin(&image, &a.what, NULL) == TARN_OK);
    CHECK(tarn_checkpoint_save(&image, path, NULL) == TARN_INVALID); /* not complete */
    while (tarn_checkpoint_copy(&image, &a.what, 100, a.now) == TARN_BUSY)
        put_some(&a, 150);
    CHECK(tarn_checkpoint_save(&image, path, NULL) == TARN_OK);
    struct tarn_error error = {0};
    CHECK(tarn_checkpoint_load(path, &b.what, b.now, &error) == TARN_OK);
    for (uint32_t i = 0; i < 1024; i++)
        CHECK(tarn_sample_elapsed(&b.ring.samples[i], b.now) < 50);
    tarn_checkpoint_free(&image);
    CHECK(tarn_checkpoint_begin(&image, &a.what, NULL) == TARN_OK);
    CHECK(tarn_checkpoint_copy(&image, &a.what, 100, a.now) == TARN_BUSY);
    tarn_ring_drain(&a.ring, a.now);
    CHECK(tarn_checkpoint_copy(&image, &a.what, 100, a.now) == TARN_NOT_FOUND);
    tarn_checkpoint_free(&image);
    close_world(&a);
    close_world(&b);
}

/* Two tags and two classes, with numbers of their own each. */
static float parts_of[4][4][COUNT];

static void make_parts(struct tarn_checkpoint_part *parts)
{
    static const uint32_t number[] = {2, 7, 0, 5};
    for (int i = 0; i < 4; i++) {
        for (size_t k = 0; k < 4 * (size_t)COUNT; k++)
            parts_of[i][k / COUNT][k % COUNT] = (float)(i * 100000) + (float)k;
        parts[i] = (struct tarn_checkpoint_part){
            .is_class = i > 1,
            .current = i == 3,
            .number = number[i],
            .rate = i == 1 ? 0.5f : 1,
            .set = i == 3 ? 0x123456789abcdef0 : 0,
            .nested = {.width = {(uint8_t)(i > 1)}, .exits = i == 3},
            .state = {parts_of[i][0], parts_of[i][1], parts_of[i][2], (uint64_t)i + 40},
            .live = i > 1 ? parts_of[i][3] : NULL,
        };
        snprintf(parts[i].name, sizeof parts[i].name, "part-%d", i);
    }
}

static uint32_t taken;

static void take(void *context, const struct tarn_checkpoint_part *part)
{
    const struct tarn_checkpoint_part *were = context, *was = &were[taken];
    size_t bytes = COUNT * sizeof(float);
    CHECK(taken < 4 && part->is_class == was->is_class && part->current == was->current);
    CHECK(part->number == was->number && part->rate == was->rate);
    CHECK(part->set == was->set && memcmp(&part->nested, &was->nested, sizeof part->nested) == 0);
    CHECK(strcmp(part->name, was->name) == 0 && part->state.steps == was->state.steps);
    CHECK(memcmp(part->state.weights, was->state.weights, bytes) == 0 &&
          memcmp(part->state.m, was->state.m, bytes) == 0 &&
          memcmp(part->state.v, was->state.v, bytes) == 0);
    CHECK((part->live != NULL) == part->is_class &&
          (part->live == NULL || memcmp(part->live, was->live, bytes) == 0));
    taken++;
}

static tarn_status save_parts(struct world *w, struct tarn_checkpoint_image *image)
{
    tarn_status status = tarn_checkpoint_begin(image, &w->what, NULL);
    while (status == TARN_OK && tarn_checkpoint_copy(image, &w->what, 700, w->now) == TARN_BUSY)
        ;
    if (status == TARN_OK) /* not complete */
        CHECK(tarn_checkpoint_save(image, path, NULL) == TARN_INVALID);
    tarn_checkpoint_put_parts(image, &w->what);
    return status == TARN_OK ? tarn_checkpoint_save(image, path, NULL) : status;
}

static void mend(struct tarn_checkpoint_image *image);

static void parts_and_tags_come_back(void)
{
    struct world a, b;
    struct tarn_checkpoint_part parts[4];
    struct tarn_checkpoint_image image;
    struct tarn_error error = {0};
    REQUIRE(open_world(&a, 1024, 16) && open_world(&b, 1024, 16));
    make_parts(parts);
    a.what.parts = parts;
    a.what.part_count = 4;
    put_some(&a, 500);
    for (uint8_t tag = 1; tag < TARN_RING_TAGS; tag++) {
        int8_t x[TARN_FEATURES] = {(int8_t)tag};
        tarn_ring_put_tagged(&a.ring, tag, tag, x, ++a.now, 100);
    }
    REQUIRE(save_parts(&a, &image) == TARN_OK && image.size == tarn_checkpoint_size(&a.what));
    b.what.take = take;
    b.what.context = parts;
    CHECK(tarn_checkpoint_load(path, &b.what, b.now, &error) == TARN_OK);
    CHECK_NUMBER(taken, 4);
    CHECK_NUMBER(b.ring.held[0], 500);
    for (uint64_t i = 0; i < a.ring.head; i++)
        CHECK(b.ring.samples[i].tag == a.ring.samples[i].tag &&
              b.ring.samples[i].wanted == (a.ring.samples[i].wanted && !a.ring.samples[i].open));
    for (uint32_t tag = 1; tag < TARN_RING_TAGS; tag++)
        CHECK(b.ring.held[tag] == 1 && b.ring.put[tag] == 1);
    b.what.take = NULL; /* who wants none of them gets the rest */
    CHECK(tarn_checkpoint_parse(image.data, image.size, "x", &b.what, 5, &error) == TARN_OK);
    /* what can't be, with right checksums */
    size_t first = image.parts, size = 128 + 12 * COUNT, last = first + 3 * size + 4 * COUNT;
    const struct {
        size_t at;
        uint32_t value;
    } wrongs[] = {
        {64, 3},                  /* tags that aren't there, */
        {64, 8},                  /* and more than there can be */
        {68, 17},                 /* likewise classes */
        {first, 1},               /* a class among the tags */
        {first + 4, 0},           /* tag 0 */
        {first + 4, 8},           /* tags end at 7 */
        {first + size + 4, 2},    /* one that was there */
        {first + 8, 1},           /* a tag that is the current class */
        {first + 12, 0x7fc00000}, /* no rate */
        {first + 12, 0},
        {first + 12, 0x42820000},      /* 65 */
        {first + 64, 0x000000ff},      /* a width that the network doesn't have */
        {first + 24 + 28, 0x41414141}, /* a name without an end */
        {first + 128, 0x7f800000},     /* no weight */
        {first + 128 + 4 * COUNT, 0x7fc00000},
        {first + 128 + 8 * COUNT, 0xbf800000}, /* a second moment below 0 */
        {last + 4, 16},                        /* no class */
        {last + 8, 2},                         /* a flag that nobody sets */
        {last + 128 + 12 * COUNT, 0xff800000},
        {size + 52 * 500 + 48, 8 << 8}, /* a sample of tag 8 */
    };
    taken = 0;
    b.what.take = take;
    for (size_t i = 0; i < sizeof wrongs / sizeof *wrongs; i++) {
        uint32_t was = tarn_get_u32(image.data + wrongs[i].at);
        tarn_put_u32(image.data + wrongs[i].at, wrongs[i].value);
        mend(&image);
        tarn_status status = tarn_checkpoint_parse(image.data, image.size, "x", &b.what, 5, &error);
        CHECK(status == TARN_CORRUPT);
        if (status != TARN_CORRUPT)
            printf("# wrong %zu\n", i);
        tarn_put_u32(image.data + wrongs[i].at, was);
    }
    CHECK_NUMBER(taken, 0);
    tarn_checkpoint_free(&image);
    close_world(&a);
    close_world(&b);
}

/* Format 1 had no parts, and what is a tag now was 0. */
static void the_format_before_is_read_too(void)
{
    struct world a, b;
    struct tarn_checkpoint_image image;
    struct tarn_error error = {0};
    REQUIRE(open_world(&a, 1024, 512) && open_world(&b, 1024, 512));
    put_some(&a, PUTS);
    train(&a, 1);
    REQUIRE(save(&a, &image) == TARN_OK);
    tarn_put_u32(image.data + 8, 1);
    tarn_put_u32(image.data + 64, 5); /* reserved then: readers ignore it */
    mend(&image);
    CHECK(tarn_checkpoint_parse(image.data, image.size, "x", &b.what, b.now, &error) == TARN_OK);
    CHECK(b.ring.head == 1024 && b.ring.held[0] == 1024);
    CHECK_NUMBER(tarn_trainer_steps(b.trainer), STEPS);
    tarn_put_u32(image.data + 8, 3);
    mend(&image);
    CHECK(tarn_checkpoint_parse(image.data, image.size, "x", &b.what, 5, &error) ==
          TARN_UNSUPPORTED);
    tarn_checkpoint_free(&image);
    close_world(&a);
    close_world(&b);
}

/* Makes the checksums right again, so that what they guard is looked at. */
static void mend(struct tarn_checkpoint_image *image)
{
    size_t body = image->size - 128 - 8, chunks = (body + 65543) / 65544, table;
    table = image->size - 8 - chunks * 8;
    tarn_put_u64(image->data + 120, tarn_hash(image->data, 120));
    for (size_t i = 0; i < chunks; i++) {
        size_t from = 128 + i * 65536, length = table - from < 65536 ? table - from : 65536;
        tarn_put_u64(image->data + table + 8 * i, tarn_hash(image->data + from, length));
    }
    tarn_put_u64(image->data + table + 8 * chunks, tarn_hash(image->data + table, 8 * chunks));
}

static void damage_is_found_before_anything_changes(void)
{
    struct world a, b;
    struct tarn_checkpoint_image image;
    struct tarn_error error;
    static float before[COUNT];
    REQUIRE(open_world(&a, 1024, 512) && open_world(&b, 1024, 512));
    put_some(&a, PUTS);
    train(&a, 1);
    CHECK(save(&a, &image) == TARN_OK);
    memcpy(before, tarn_trainer_weights(b.trainer), sizeof before);
    /* cut anywhere, or a bit wrong anywhere */
    for (size_t at = 0; at < image.size; at += at < 300 || at > image.size - 50 ? 1 : 211) {
        CHECK(tarn_checkpoint_parse(image.data, at, "x", &b.what, 5, &error) == TARN_CORRUPT);
        image.data[at] ^= 4;
        error.message[0] = '\0';
        tarn_status status = tarn_checkpoint_parse(image.data, image.size, "x", &b.what, 5, &error);
        CHECK(status == (at >= 8 && at < 12 ? TARN_UNSUPPORTED : TARN_CORRUPT));
        CHECK(error.message[0] == 'x');
        image.data[at] ^= 4;
    }
    /* and with right checksums: what can't be */
    size_t ring = 128 + 12 * COUNT, kept = ring + 1024 * 52;
    static const uint32_t bad[] = {0x7fc00000, 0xff800000, 0xbf800000, 0x7f800001};
    const struct {
        size_t at;
        uint32_t value;
    } wrongs[] = {{128, bad[0]},
                  {128 + 4 * COUNT, bad[1]},
                  {128 + 8 * COUNT, bad[2]},
                  {ring - 4, bad[3]},
                  {ring + 36, bad[0]},
                  {ring + 36, 0},
                  {ring + 48, 3},
                  {kept - 4, 7},
                  {kept, bad[0]},
                  {kept + 112, bad[2]},
                  {kept + 224, 0},
                  {kept + 272, 17},
                  {kept + 656 + 28, 200},
                  {kept + 656 + 28, 0x10203},
                  {24, 0},
                  {48, 1023},
                  {52, 15},
                  {48, 0x1000001},
                  {12, 64},
                  {60, 1}};
    for (size_t i = 0; i < sizeof wrongs / sizeof *wrongs; i++) {
        uint32_t was = tarn_get_u32(image.data + wrongs[i].at);
        tarn_put_u32(image.data + wrongs[i].at, wrongs[i].value);
        mend(&image);
        tarn_status status = tarn_checkpoint_parse(image.data, image.size, "x", &b.what, 5, &error);
        CHECK(status == (wrongs[i].at == 24 ? TARN_UNSUPPORTED : TARN_CORRUPT));
        if (status == TARN_OK)
            printf("# wrong %zu\n", i);
        tarn_put_u32(image.data + wrongs[i].at, was);
    }
    mend(&image);
    CHECK(memcmp(before, tarn_trainer_weights(b.trainer), sizeof before) == 0);
    CHECK(b.ring.head == 0 && tarn_reservoir_count(&b.reservoir) == 0);
    struct tarn_shape other = {28, 32, 32, 10};
    b.what.shape = &other;
    CHECK(tarn_checkpoint_parse(image.data, image.size, "x", &b.what, 5, &error) ==
          TARN_UNSUPPORTED);
    b.what.shape = &tarn_net_reference;
    CHECK(tarn_checkpoint_parse(image.data, image.size, "x", &b.what, 5, &error) == TARN_OK);
    tarn_checkpoint_free(&image);
    close_world(&a);
    close_world(&b);
}

static bool refuse(size_t size)
{
    return size == 0;
}

static void a_full_disk_keeps_the_old_one(void)
{
    struct world a;
    struct tarn_checkpoint_image image;
    struct rlimit usual, small = {.rlim_cur = 40000};
    REQUIRE(open_world(&a, 1024, 512));
    put_some(&a, PUTS);
    CHECK(save(&a, &image) == TARN_OK);
    tarn_checkpoint_free(&image);
    train(&a, 1);
    REQUIRE(getrlimit(RLIMIT_FSIZE, &usual) == 0);
    small.rlim_max = usual.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
    tarn_status status = save(&a, &image);
    setrlimit(RLIMIT_FSIZE, &usual);
    CHECK(status == TARN_IO);
    tarn_checkpoint_free(&image);
    tarn_memory_set_hook(refuse);
    CHECK(tarn_checkpoint_begin(&image, &a.what, NULL) == TARN_NO_MEMORY && image.data == NULL);
    CHECK(tarn_checkpoint_load(path, &a.what, a.now, NULL) == TARN_NO_MEMORY);
    tarn_memory_set_hook(NULL);
    CHECK_NUMBER(tarn_trainer_steps(a.trainer), STEPS);
    CHECK(tarn_checkpoint_load(path, &a.what, a.now, NULL) == TARN_OK);
    CHECK_NUMBER(tarn_trainer_steps(a.trainer), 0); /* the old one */
    unlink(path);
    CHECK(tarn_checkpoint_load(path, &a.what, a.now, NULL) == TARN_NOT_FOUND);
    CHECK(rmdir(folder) == 0); /* no temporary file was left behind */
    close_world(&a);
}

static void sizes(void)
{
    struct world a;
    REQUIRE(open_world(&a, 32768, 8192));
    put_some(&a, 40000);
    printf("# 32768 samples in the ring and 8192 kept: a file of %zu bytes\n",
           tarn_checkpoint_size(&a.what));
    CHECK(tarn_checkpoint_size(&a.what) < 2100000);
    struct tarn_checkpoint_part parts[13] = {0}; /* all tags, all classes */
    for (int i = 7; i < 13; i++)
        parts[i].is_class = true;
    a.what.parts = parts;
    a.what.part_count = 13;
    printf("# with seven tags and six classes: %zu\n", tarn_checkpoint_size(&a.what));
    CHECK(tarn_checkpoint_size(&a.what) < 2600000);
    close_world(&a);
}

int main(void)
{
    static const struct check_case cases[] = {CASE(what_comes_back_is_what_was_there),
                                              CASE(other_sizes_take_what_fits),
                                              CASE(requests_may_come_between_the_pieces),
                                              CASE(damage_is_found_before_anything_changes),
                                              CASE(parts_and_tags_come_back),
                                              CASE(the_format_before_is_read_too),
                                              CASE(sizes),
                                              CASE(a_full_disk_keeps_the_old_one)};
    strcpy(folder, "/tmp/tarn-checkpoint-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return 1;
    snprintf(path, sizeof path, "%s/state", folder);
    return check_run(cases, sizeof cases / sizeof *cases);
}
