/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

/* A file that takes longer than this is left alone for REST times as long, at most REST_MOST_NS: some
   firmware answers only after a talk over I2C, and sensors are to cost next to nothing. */
#define SLOW_NS      UINT64_C(20000000)
#define REST         200
#define REST_MOST_NS UINT64_C(60000000000)

static uint64_t real_clock(void *user)
{
    (void)user;
    return tarn_clock_ns();
}

bool tarn_probe_root_open(struct tarn_probe_root *root, const char *path)
{
    if (path == NULL || path[0] == '\0')
        path = "/";
    if (root->clock_ns == NULL)
        root->clock_ns = real_clock;
    snprintf(root->path, sizeof root->path, "%s", path);
    /* a name that was cut short is another folder's */
    root->fd = strcmp(root->path, path) == 0 ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    return root->fd >= 0;
}

void tarn_probe_root_close(struct tarn_probe_root *root)
{
    if (root->fd >= 0)
        close(root->fd);
    root->fd = -1;
}

/* Once for each kind of file and of fault, or a bad sensor would fill the log. */
static void complain(struct tarn_probe_root *root, const struct tarn_probe *probe,
                     enum tarn_probe_fault fault, const char *why)
{
    uint64_t bit = UINT64_C(1) << (probe->kind & 63);
    if (root->complained[fault] & bit)
        return;
    root->complained[fault] |= bit;
    /* that a process may not read some of them, or that a sensor sleeps, is everyday life */
    tarn_log_level level = fault == TARN_PROBE_UNREADABLE || fault == TARN_PROBE_EMPTY
                               ? TARN_LOG_INFO
                               : TARN_LOG_WARNING;
    tarn_log(level, "sensors: /%s: %s", probe->path, why);
}

bool tarn_probe_open(struct tarn_probe_root *root, struct tarn_probe *probe, unsigned kind,
                     const char *path)
{
    struct stat info;
    *probe = (struct tarn_probe){.fd = -1, .kind = kind};
    if (root->fd < 0 || strlen(path) >= sizeof probe->path)
        return false;
    strcpy(probe->path, path);
    /* not blocking: a tree that someone else made may hold pipes */
    probe->fd = openat(root->fd, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (probe->fd < 0) {
        if (errno != ENOENT && errno != ENOTDIR)
            complain(root, probe, TARN_PROBE_UNREADABLE, strerror(errno));
        return false;
    }
    if (fstat(probe->fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        complain(root, probe, TARN_PROBE_UNREADABLE, "not a regular file");
        tarn_probe_close(probe);
        return false;
    }
    return true;
}

void tarn_probe_close(struct tarn_probe *probe)
{
    if (probe->fd >= 0)
        close(probe->fd);
    probe->fd = -1;
}

size_t tarn_probe_read(struct tarn_probe_root *root, struct tarn_probe *probe,
                       char text[TARN_PROBE_TEXT])
{
    ssize_t n;
    text[0] = '\0';
    if (probe->fd < 0)
        return 0;
    uint64_t start = root->clock_ns(root->user);
    if (start < probe->rest_until)
        return 0;
    do
        n = pread(probe->fd, text, TARN_PROBE_TEXT - 1, 0);
    while (n < 0 && errno == EINTR);
    int reason = errno;
    uint64_t took = root->clock_ns(root->user) - start;
    text[n > 0 ? n : 0] = '\0';
    if (took > SLOW_NS) {
        uint64_t rest = took < REST_MOST_NS / REST ? took * REST : REST_MOST_NS;
        probe->rest_until = start + took + rest;
        complain(root, probe, TARN_PROBE_SLOW, "slow, so it is seldom read");
    }
    if (n <= 0) {
        /* one that never said a word isn't missed */
        root->vanished |= probe->answered;
        probe->answered = false;
        complain(root, probe, n < 0 ? TARN_PROBE_UNREADABLE : TARN_PROBE_EMPTY,
                 n < 0 ? strerror(reason) : "empty");
        return 0;
    }
    if (n == TARN_PROBE_TEXT - 1 && !probe->is_long) {
        complain(root, probe, TARN_PROBE_HUGE, "too long");
        text[0] = '\0';
        return 0;
    }
    probe->answered = true;
    return (size_t)n;
}

void tarn_probe_garbage(struct tarn_probe_root *root, const struct tarn_probe *probe)
{
    complain(root, probe, TARN_PROBE_GARBAGE, "not understood");
}

size_t tarn_probe_slurp(struct tarn_probe_root *root, unsigned kind, const char *path,
                        char text[TARN_PROBE_TEXT])
{
    struct tarn_probe probe;
    text[0] = '\0';
    if (!tarn_probe_open(root, &probe, kind, path))
        return 0;
    size_t size = tarn_probe_read(root, &probe, text);
    tarn_probe_close(&probe);
    return size;
}

void tarn_probe_glob(struct tarn_probe_root *root, const char *pattern,
                     bool (*found)(void *user, const char *path), void *user)
{
    char full[2 * sizeof root->path + 1 + TARN_PROBE_PATH];
    size_t used = 0;
    glob_t matches;
    if (root->fd < 0)
        return;
    for (const char *p = root->path; *p != '\0'; p++) { /* the root's name is no pattern */
        if (strchr("*?[]\\", *p) != NULL)
            full[used++] = '\\';
        full[used++] = *p;
    }
    int more = snprintf(full + used, sizeof full - used, "/%s", pattern);
    if (more < 0 || (size_t)more >= sizeof full - used)
        return;
    size_t prefix = strlen(root->path) + 1;
    if (glob(full, 0, NULL, &matches) != 0)
        return; /* it frees what it had */
    for (size_t i = 0; i < matches.gl_pathc; i++)
        if (!found(user, matches.gl_pathv[i] + prefix))
            break;
    globfree(&matches);
}
