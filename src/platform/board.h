/* SPDX-License-Identifier: Apache-2.0 */
/** @file Which board this is, by its device tree or its firmware's tables. Any thread. */
#ifndef TARN_PLATFORM_BOARD_H
#define TARN_PLATFORM_BOARD_H

struct tarn_board {
    char name[128];      /**< as the firmware says it, in ASCII; "": unknown */
    const char *profile; /**< "mali", "videocore", "jetson" (boards/known.def), or ""; static */
};

/** `root`: where sys and proc are; NULL: "/". What isn't known is "". */
void tarn_board_find(const char *root, struct tarn_board *board);

#endif
