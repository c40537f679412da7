/* SPDX-License-Identifier: Apache-2.0 */
#include "hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t tarn_hash(const void *data, size_t size)
{
    return XXH3_64bits(data, size);
}
