/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Checkpoints of training: weights, Adam's moments, the ring and the reservoir, and what is learnt apart of them
 * (networks of tags, what classes of workloads have reached), in one file that is
 * replaced atomically (docs/checkpoint-format.md). After a crash training goes on from the last one.
 *
 *     tarn_checkpoint_begin(&image, &what, &error);               // under the ring's lock
 *     while (tarn_checkpoint_copy(&image, &what, 4096, now) == TARN_BUSY)
 *         ;                                                    // and this, a piece a hold
 *     tarn_checkpoint_put_parts(&image, &what);                    // without it, as what follows
 *     tarn_checkpoint_save(&image, path, &error);
 *     tarn_checkpoint_free(&image);
 */
#ifndef TARN_LEARN_CHECKPOINT_H
#define TARN_LEARN_CHECKPOINT_H

#include "learn/reservoir.h"
#include "model/bundle.h"
#include "net/trainer.h"

enum {
    TARN_CHECKPOINT_NAME = 32,
    TARN_CHECKPOINT_CLASSES = 16,
    TARN_CHECKPOINT_PARTS = TARN_BUNDLE_TAGS + TARN_CHECKPOINT_CLASSES
};

/** What a tag has learnt, or what learning has reached in a class of workloads. */
struct tarn_checkpoint_part {
    bool is_class;
    bool current;    /**< the class that learning goes by */
    uint32_t number; /**< of the tag, from 1 on, or of the class, from 0 on */
    char name
        [TARN_CHECKPOINT_NAME]; /**< the tag's, or that of the set whose settings the class had */
    float rate;                 /**< of the learning rate, a factor: a tag's */
    uint64_t set; /**< hash of the model of the set that it has had or made no use of; 0: none */
    struct tarn_nested nested; /**< of `live` */
    struct tarn_trainer_state state;
    const float *live; /**< weights that were live at the class's end; NULL: a tag has none here */
};

/** What is kept, or is to be filled. Not owned. */
struct tarn_checkpoint {
    const struct tarn_shape *shape;
    tarn_trainer *trainer; /**< no job under way */
    struct tarn_ring *ring;
    struct tarn_reservoir *reservoir; /**< NULL: none */
    /** To be kept: tags first, then classes, each by rising numbers, all of them finite. */
    const struct tarn_checkpoint_part *parts;
    uint32_t part_count;
    /** Is given each part of a file, last of all; what that points to is gone afterwards. NULL: they are left out. */
    void (*take)(void *context, const struct tarn_checkpoint_part *part);
    void *context;
};

/** A file in the making. */
struct tarn_checkpoint_image {
    uint8_t *data;
    size_t size;
    uint64_t first;           /* of the ring's samples */
    uint32_t samples, copied; /* how many there are in it, and so far */
    uint32_t ring_size;
    size_t parts, table; /* offsets */
    uint32_t part_count, parts_put;
};

/** Bytes of the file as it would be now. */
size_t tarn_checkpoint_size(const struct tarn_checkpoint *what);
/**
 * Begins an image: takes all but the ring's samples, about 40 µs and a copy of the reservoir. TARN_NO_MEMORY, TARN_BUSY if a job is under way, TARN_CORRUPT if a weight or
 * moment isn't finite: then there is no image, and an old file is the better one.
 */
tarn_status tarn_checkpoint_begin(struct tarn_checkpoint_image *image,
                                  const struct tarn_checkpoint *what, struct tarn_error *error);
/**
 * Copies up to `count` more samples, as they are `now`, the time of the checkpoint from then on. TARN_BUSY while some are missing, TARN_OK at the end. Samples that
 * were pushed out meanwhile are replaced by those that did it. TARN_NOT_FOUND if the ring was emptied:
 * begin anew.
 */
tarn_status tarn_checkpoint_copy(struct tarn_checkpoint_image *image,
                                 const struct tarn_checkpoint *what, uint32_t count, uint64_t now);
/** Copies the parts that there were when the image was begun. No lock but what guards them. */
void tarn_checkpoint_put_parts(struct tarn_checkpoint_image *image,
                               const struct tarn_checkpoint *what);
/** Adds the checksums and replaces the file at `path`. On any error the old one is untouched. */
tarn_status tarn_checkpoint_save(struct tarn_checkpoint_image *image, const char *path,
                                 struct tarn_error *error);
void tarn_checkpoint_free(struct tarn_checkpoint_image *image);

/**
 * Fills the trainer, the ring (which is empty) and the reservoir from the bytes of a file; `where`
 * names it in errors. All is checked before anything is changed: TARN_CORRUPT for damage,
 * TARN_UNSUPPORTED for another version or shape, each with what and where.
 *
 * Samples keep their ages, counted back from `now`. Open ones are closed: requests between the
 * checkpoint and now are unknown, so that they are censored at its time. Where the ring or the
 * reservoir is smaller than the file's, the newest of the ring go in and a random part of the other;
 * where the file has no reservoir, that is left as it is.
 */
tarn_status tarn_checkpoint_parse(const void *data, size_t size, const char *where,
                                  const struct tarn_checkpoint *into, uint64_t now,
                                  struct tarn_error *error);
/** The same from a file. TARN_NOT_FOUND if there is none. */
tarn_status tarn_checkpoint_load(const char *path, const struct tarn_checkpoint *into, uint64_t now,
                                 struct tarn_error *error);

#endif
