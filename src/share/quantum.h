/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * How many units make a slice of a given time: a slice takes a fixed part and so much a unit, both
 * fitted to the last slices (least squares, older ones fading). Quicker units count by and by. One slow
 * slice may be a thread that was not scheduled: it makes the next one shorter by as much, and if that is
 * slow too, units have become slower (another clock frequency, a hot chip), which counts at once. Pure;
 * one thread at a time.
 */
#ifndef TARN_SHARE_QUANTUM_H
#define TARN_SHARE_QUANTUM_H

#include <stdbool.h>
#include <stdint.h>

struct tarn_quantum {
    double unit_ns;  /**< of a unit; 0: not known yet */
    double fixed_ns; /**< of a slice without its units */
    double suspect;  /**< times what was expected, the slice before; 0: it was as expected */
    uint32_t most;   /**< units of the next slice at most: slices grow step by step */
    double weight, units, ns, units_units, units_ns; /**< fading sums over slices */
};

/** Units of a slice that takes at most `ns`: at least 1, which may be longer if it must. */
uint32_t tarn_quantum_units(const struct tarn_quantum *quantum, uint64_t ns);
/** How long so many units are expected to take; 0 while that isn't known. */
uint64_t tarn_quantum_expect(const struct tarn_quantum *quantum, uint32_t units);
/**
 * A slice of `units` > 0 took `ns`. False if it and the one before are far from what was expected (16
 * times and more): the device isn't what it was.
 */
bool tarn_quantum_learn(struct tarn_quantum *quantum, uint32_t units, uint64_t ns);

#endif
