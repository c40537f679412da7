/* SPDX-License-Identifier: Apache-2.0 */
/** @file The entry point of a fuzz target, as libFuzzer calls it. */
#ifndef TARN_TESTS_FUZZ_H
#define TARN_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
