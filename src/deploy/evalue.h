/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * A sequential test that may be looked at after each observation: evidence against "the mean is 0 or
 * less", as an e-value. Whatever the number of looks, P(it ever reaches 1 / alpha) <= alpha if that is
 * true (Ville 1939).
 *
 * For x symmetric about 0 given the past, exp(l x - l^2 x^2 / 2) has a mean of at most 1 for every l that
 * is known before x is seen (de la Pena 1999; Howard, Ramdas, McAuliffe and Sekhon 2020): neither a
 * variance nor a bound of x has to be known, so that noise which is larger than it was, or bursts, cost
 * power and no validity. l x is cut at +-1: that keeps the symmetry, makes the term rise with x (so that
 * it holds for means below 0 too), and no single observation decides. Differences of two arms' sums over
 * one block are symmetric if the arms are alike. Dependence from one block to the next breaks the rule:
 * blocks are to be long against what lingers.
 *
 * The bets l are a mixture, as in the mSPRT (Robbins 1970; Johari, Koomen, Pekelis and Walsh 2015, 2022):
 * one aimed at the smallest mean that matters, the others for large ones, whose evidence comes soon.
 *
 * Pure; belongs to one thread at a time.
 */
#ifndef TARN_DEPLOY_EVALUE_H
#define TARN_DEPLOY_EVALUE_H

#include <stdint.h>

#define TARN_EVALUE_BETS 3

struct tarn_evalue {
    double wealth[TARN_EVALUE_BETS]; /**< natural logarithms */
    double squares;                  /**< sum of x^2, which gives the scale of the next bet */
    uint32_t count;                  /**< observations */
};

/** Observations that only tell the scale. */
#define TARN_EVALUE_WARM 4

void tarn_evalue_init(struct tarn_evalue *e);
/** An observation, finite; `aim`: the mean to be noticed, in the unit of x. */
void tarn_evalue_add(struct tarn_evalue *e, double x, double aim);
/** The natural logarithm of the evidence, 0 at the start. */
double tarn_evalue_log(const struct tarn_evalue *e);

#endif
