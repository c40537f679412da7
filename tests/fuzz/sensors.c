/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes, read as each of the kernel's files: no crash, what isn't understood leaves the result
 * untouched, and what is understood is plausible.
 */
#include "fuzz.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "platform/gate.h"
#include "platform/parse.h"

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void values(const char *text)
{
    for (int format = TARN_FORMAT_PERCENT; format <= TARN_FORMAT_QUEUES; format++) {
        double value = -12345;
        bool ok = tarn_parse_value((tarn_format)format, text, &value);
        require(ok || value == -12345);
        if (!ok)
            continue;
        require(value >= -1e6 && value <= 1e11);
        if (format <= TARN_FORMAT_BUSY)
            require(value >= 0 && value <= 1);
    }
}

static void words(const char *text)
{
    char word[24];
    double celsius = 50;
    tarn_on_battery on_battery = TARN_ON_BATTERY_NEVER;
    if (tarn_parse_word(text, word, sizeof word))
        require(word[0] != '\0' && strlen(word) < sizeof word && strstr(text, word) != NULL);
    tarn_on_battery_parse(text, &on_battery);
    tarn_max_temperature_parse(text, &celsius);
    require((unsigned)on_battery < 3 && celsius >= 20 && celsius <= 120);
}

static void tables(const char *text)
{
    struct tarn_queues queues = {.count = 99};
    uint64_t busy = 0, total = 0;
    double share = 0, all = 0, rest = 0, load = 0;
    if (tarn_parse_queues(text, &queues))
        require(queues.count > 0 && queues.count <= 16);
    if (tarn_parse_pressure(text, &share, &total))
        require(share >= 0 && share <= 1);
    if (tarn_parse_cpu(text, &busy, &total))
        require(busy <= total);
    if (tarn_parse_memory(text, &all, &rest))
        require(rest >= 0 && rest <= all);
    if (tarn_parse_load(text, &load))
        require(load >= 0 && load <= 1e6);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    if (text == NULL)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    values(text);
    words(text);
    tables(text);
    free(text);
    return 0;
}
