/* SPDX-License-Identifier: Apache-2.0 */
#include "suite.h"

#include <stdio.h>
#include <stdlib.h>

#ifndef __has_feature
#define __has_feature(x) 0
#endif

int main(void)
{
#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
    /* drivers are not built for it, and their own threads would be blamed on us */
    puts("1..0 # SKIP no drivers under the thread sanitizer");
    return 77;
#else
    const char *id = getenv("TARN_TEST_DEVICE");
    return gpu_suite(id != NULL ? id : "vulkan:0");
#endif
}
