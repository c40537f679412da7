/* SPDX-License-Identifier: Apache-2.0 */
#include "board.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "probe.h"

static const struct {
    const char *compatible, *profile;
} known[] = {
#define BOARD(compatible_, profile_) {compatible_, profile_},
#include "../../boards/known.def"
};

struct search {
    struct tarn_probe_root root;
    const char *profile;
    char text[TARN_PROBE_TEXT];
};

/* ---- the profile ---- */

static const char *profile_of(const char *entry)
{
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strncmp(entry, known[i].compatible, strlen(known[i].compatible)) == 0)
            return known[i].profile;
    return NULL;
}

/* `compatible` is a list of strings, each with its NUL. */
static bool look(void *user, const char *path)
{
    struct search *search = user;
    size_t size = tarn_probe_slurp(&search->root, 0, path, search->text);
    for (size_t at = 0; at < size && search->profile == NULL; at += strlen(search->text + at) + 1)
        search->profile = profile_of(search->text + at);
    return search->profile == NULL;
}

static const char *find_profile(struct search *search)
{
    /* the GPU's node tells more than a table of boards; where it is depends on the buses */
    static const char *const places[] = {
        "proc/device-tree/gpu*/compatible",      "proc/device-tree/soc*/gpu*/compatible",
        "proc/device-tree/bus*/gpu*/compatible", "proc/device-tree/v3dbus/v3d*/compatible",
        "proc/device-tree/axi/v3d*/compatible",  "proc/device-tree/soc/v3d*/compatible",
        "proc/device-tree/compatible",
    };
    for (size_t i = 0; i < sizeof places / sizeof places[0] && search->profile == NULL; i++)
        tarn_probe_glob(&search->root, places[i], look, search);
    return search->profile != NULL ? search->profile : "";
}

/* ---- the name ---- */

/* The first line in ASCII, without white space at its ends; false if nothing is left. */
static bool slurp_name(struct search *search, const char *path, char *name, size_t size)
{
    size_t used = 0;
    if (tarn_probe_slurp(&search->root, 0, path, search->text) == 0)
        return false;
    for (const char *p = search->text; *p != '\0' && *p != '\n' && used + 1 < size; p++) {
        char c = *p >= ' ' && *p <= '~' ? *p : '?';
        if (c != ' ' || used > 0)
            name[used++] = c;
    }
    while (used > 0 && name[used - 1] == ' ')
        used--;
    name[used] = '\0';
    return used > 0;
}

/* What makers forget to fill in. */
static bool is_filler(const char *name)
{
    static const char *const fillers[] = {"To Be Filled",        "Default string", "System Product",
                                          "System manufacturer", "Not Specified",  "O.E.M.",
                                          "Not Applicable",      "None",           "INVALID"};
    for (size_t i = 0; i < sizeof fillers / sizeof fillers[0]; i++)
        if (strncasecmp(name, fillers[i], strlen(fillers[i])) == 0)
            return true;
    return false;
}

static void find_name(struct search *search, struct tarn_board *board)
{
    char vendor[48], product[72];
    if (slurp_name(search, "proc/device-tree/model", board->name, sizeof board->name) ||
        slurp_name(search, "sys/firmware/devicetree/base/model", board->name, sizeof board->name))
        return;
    board->name[0] = '\0';
    static const char *const products[] = {"sys/class/dmi/id/product_name",
                                           "sys/class/dmi/id/board_name"};
    for (size_t i = 0; i < 2; i++) {
        if (!slurp_name(search, products[i], product, sizeof product) || is_filler(product))
            continue;
        bool named = slurp_name(search, "sys/class/dmi/id/sys_vendor", vendor, sizeof vendor) &&
                     !is_filler(vendor) && strncmp(product, vendor, strlen(vendor)) != 0;
        snprintf(board->name, sizeof board->name, "%s%s%s", named ? vendor : "", named ? " " : "",
                 product);
        return;
    }
}

void tarn_board_find(const char *root, struct tarn_board *board)
{
    struct search search = {.profile = NULL};
    tarn_probe_root_open(&search.root, root);
    find_name(&search, board);
    board->profile = find_profile(&search);
    tarn_probe_root_close(&search.root);
}
