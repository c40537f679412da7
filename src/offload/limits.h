/* SPDX-License-Identifier: Apache-2.0 */
/** @file Sizes of the engine's launches, which calibration measures up to. */
#ifndef TARN_OFFLOAD_LIMITS_H
#define TARN_OFFLOAD_LIMITS_H

#define TARN_LOOKUP_BATCH 65536 /* keys of one launch at most */
#define TARN_SCORE_BATCH  4096  /* candidates of one round at most */
#define TARN_TRAIN_BATCH  128   /* samples of one gradient step */
#define TARN_TRAIN_STEPS  5     /* gradient steps of one launch */

/* Where nothing has been measured. */
#define TARN_LOOKUP_LEAST 1024 /* keys that pay for a launch */
#define TARN_SCORE_LEAST  512  /* candidates that do */

#endif
