/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Networks of tags: objects that their caller tells apart (tarn_item.tag) are learnt apart. There is one
 * trainer, and what it goes on from is exchanged between two jobs: every other job is a tag's, in turn by
 * how many samples came. A tag begins with the live general network, once it has TARN_TAG_LEAST samples; what
 * it learns is minted through a gate on held-out samples of that tag, and a version holds the general
 * network and all of them together. The general one goes on learning from all objects: it scores those
 * of tags that have no network, and it is what a tag whose network falls behind it goes back to.
 *
 * Nothing is allocated before there are tags. Under the background's lock.
 */
#ifndef TARN_ENGINE_TAGS_H
#define TARN_ENGINE_TAGS_H

#include "deploy/gate.h"
#include "learn/checkpoint.h"
#include "learn/ring.h"
#include "model/bundle.h"
#include "net/trainer.h"

#define TARN_TAG_LEAST 1024 /* samples in the ring before a tag is learnt apart */
#define TARN_TAG_NAME  TARN_SET_NAME

struct tarn_engine;

/** What training goes on from. */
struct tarn_learnt {
    float *weights, *m, *v; /**< one allocation, the weights'; NULL: nothing yet */
    uint64_t steps;
};

/** A copy of what the trainer goes on from; made on first use. False without memory. No job is under way. */
bool tarn_learnt_keep(struct tarn_engine *engine, struct tarn_learnt *learnt);
/** Goes on from there. */
bool tarn_learnt_put_back(struct tarn_engine *engine, const struct tarn_learnt *learnt);
/** The same copy of anything else: made on first use; false without memory. */
bool tarn_learnt_set(const struct tarn_engine *engine, struct tarn_learnt *learnt,
                     const struct tarn_trainer_state *state);
/** Whether a trainer could go on from there. */
bool tarn_learnt_is_sound(const struct tarn_engine *engine, const struct tarn_learnt *learnt);
void tarn_learnt_free(struct tarn_learnt *learnt);

struct tarn_tag {
    char name[TARN_TAG_NAME];
    struct tarn_learnt learnt;
    uint64_t put;             /**< samples of it that ever came, as of the last turn */
    double credit;            /**< jobs that it has to come */
    bool unminted;            /**< it has learnt since its last candidate */
    uint32_t in_a_row, tries; /**< kept out one after the other; candidates */
    uint32_t set_tries;       /**< looks at its set */
    uint64_t done_with; /**< hash of the set that has been live, or wasn't better time and again */
    uint64_t jobs, minted, kept_out, dropped;
    float loss; /**< of its last job; NaN before */
    float rate; /**< of the learning rate, a factor: its set's */
};

struct tarn_tags {
    struct tarn_tag tag[TARN_BUNDLE_TAGS];
    struct tarn_learnt general; /**< while a tag's job is under way */
    uint32_t job;               /**< whose job is under way: a tag, or 0 */
    bool restart;               /**< what that job gives is of no use */
    bool turn;                  /**< the last job was the general network's */
    bool used;                  /**< some tag is learnt apart */
    uint64_t minted_at;         /**< requests, when tags were last asked about */
    tarn_model_gate *gate;
    struct tarn_gate_report report;
};

void tarn_tags_init(struct tarn_engine *engine);
void tarn_tags_free(struct tarn_engine *engine);
/** Who has the next job: a tag whose state the trainer has from here on, or 0. No job is under way. */
uint32_t tarn_tags_next(struct tarn_engine *engine);
/** The job that was to begin doesn't: the trainer has the general network again. */
void tarn_tags_give_up(struct tarn_engine *engine);
/** A job has ended. True if it was a tag's: the trainer has the general network again. */
bool tarn_tags_take(struct tarn_engine *engine);
/** Samples of one step of the tag's job. False if there are too few. Under the cache's lock. */
bool tarn_tags_draw(struct tarn_engine *engine, uint32_t tag, uint64_t now, uint32_t count,
                    int8_t (*features)[TARN_FEATURES], uint32_t *labels);
/** What the next version may do with tags: networks that the gate has let in, all at once. */
struct tarn_tag_changes {
    struct tarn_bundle *tagged[TARN_BUNDLE_TAGS]; /**< a version's; counted */
    const struct tarn_model_set
        *set[TARN_BUNDLE_TAGS]; /**< that it begins with; NULL: it goes on */
    uint32_t tags;              /**< bit i: tag i + 1 has another network, or none any more */
    char names[96];             /**< theirs */
};
/**
 * Asks the gate about all tags that have learnt something since the last time. No job is under way. To be settled by
 * tarn_tags_settle() whatever becomes of it.
 */
void tarn_tags_gather(struct tarn_engine *engine, struct tarn_tag_changes *changes);
/** They go live beside the general network that is live. True if they have. */
bool tarn_tags_swap(struct tarn_engine *engine, const struct tarn_tag_changes *changes);
/** They have gone live, or not. Lets go of them. */
void tarn_tags_settle(struct tarn_engine *engine, struct tarn_tag_changes *changes, bool live);
/**
 * Tags are asked about whenever the general network is, so that what all of them have learnt in an interval is one version; here, if
 * that hasn't had a candidate for so long. No job is under way.
 */
void tarn_tags_mint(struct tarn_engine *engine);
/** Another version than training made is live: tags go on from its networks, with their own moments. */
void tarn_tags_restart(struct tarn_engine *engine);
/** What tags have learnt, for a checkpoint: writes up to TARN_BUNDLE_TAGS parts, returns how many. */
uint32_t tarn_tags_parts(const struct tarn_engine *engine, struct tarn_checkpoint_part *parts);
/** At the start: a tag goes on from what a checkpoint has kept. Without memory it begins anew. */
void tarn_tags_restore(struct tarn_engine *engine, const struct tarn_checkpoint_part *part);
/** Bytes. */
uint64_t tarn_tags_memory(const struct tarn_engine *engine);

#endif
