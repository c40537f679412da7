/* SPDX-License-Identifier: Apache-2.0 */
#include "envelope.h"

#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"

tarn_status tarn_envelope_check(const struct tarn_envelope *envelope, const char *where,
                                const uint8_t *data, size_t size, struct tarn_error *error)
{
    if (size < envelope->header + TARN_ENVELOPE_HASH ||
        memcmp(data, envelope->magic, sizeof envelope->magic) != 0)
        return tarn_fail(error, TARN_CORRUPT, "%s: %s", where, envelope->none);
    if (tarn_get_u32(data + 8) != envelope->version)
        return tarn_fail(error, TARN_UNSUPPORTED, "%s: %s %" PRIu32 ", this build reads %" PRIu32,
                         where, envelope->one, tarn_get_u32(data + 8), envelope->version);
    if (tarn_get_u32(data + 12) != size)
        return tarn_fail(error, TARN_CORRUPT,
                         "%s: %zu bytes, but its header says %" PRIu32 ": truncated or padded",
                         where, size, tarn_get_u32(data + 12));
    size_t end = size - TARN_ENVELOPE_HASH;
    if (tarn_get_u64(data + end) != tarn_hash(data, end))
        return tarn_fail(error, TARN_CORRUPT, "%s: the checksum at byte %zu doesn't match", where,
                         end);
    return TARN_OK;
}
