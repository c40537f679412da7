/* SPDX-License-Identifier: Apache-2.0 */
/* The program cache where everything goes wrong: each is a miss, none an error or a crash. */
#include "../check.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "gpu/program_cache.h"

static char root[64];

static struct tarn_program_key key_of(const char *source)
{
    return (struct tarn_program_key){
        .backend = "test",
        .device = "a device",
        .driver = "driver 1.2",
        .source = source,
        .source_size = strlen(source),
        .options = "-O",
    };
}

static tarn_program_cache *cache_in(const char *below, uint64_t limit)
{
    char dir[128];
    tarn_program_cache *cache = NULL;
    snprintf(dir, sizeof dir, "%s/%s", root, below);
    CHECK(tarn_program_cache_create(&(struct tarn_program_cache_params){.dir = dir, .limit = limit},
                                    &cache) == TARN_OK);
    return cache;
}

static bool holds(tarn_program_cache *cache, const struct tarn_program_key *key, const char *wanted)
{
    void *data;
    size_t size;
    if (!tarn_program_cache_get(cache, key, &data, &size))
        return false;
    bool same = size == strlen(wanted) && memcmp(data, wanted, size) == 0;
    CHECK(same);
    free(data);
    return same;
}

/* The path of the n-th file in the cache's folder whose name begins so; false if there is none. */
static bool nth_file(const char *below, const char *begin, int n, char path[600])
{
    char dir_path[128];
    bool found = false;
    snprintf(dir_path, sizeof dir_path, "%s/%s", root, below);
    DIR *dir = opendir(dir_path);
    for (struct dirent *at; dir != NULL && !found && (at = readdir(dir)) != NULL;)
        if (strcmp(at->d_name, ".") != 0 && strcmp(at->d_name, "..") != 0 &&
            strncmp(at->d_name, begin, strlen(begin)) == 0 && n-- == 0) {
            snprintf(path, 600, "%s/%s", dir_path, at->d_name);
            found = true;
        }
    if (dir != NULL)
        closedir(dir);
    return found;
}

static int file_count(const char *below)
{
    char path[600];
    int count = 0;
    while (nth_file(below, "", count, path))
        count++;
    return count;
}

static void what_was_put_is_found_by_the_whole_key(void)
{
    tarn_program_cache *cache = cache_in("whole/key", 0);
    struct tarn_program_key key = key_of("source");
    CHECK(!holds(cache, &key, "binary"));
    tarn_program_cache_put(cache, &key, "binary", 6);
    CHECK(holds(cache, &key, "binary"));
    tarn_program_cache_put(cache, &key, "binary2", 7);
    CHECK(holds(cache, &key, "binary2"));
    CHECK_NUMBER(file_count("whole/key"), 1);

    struct tarn_program_key other = key;
    other.backend = "text";
    CHECK(!holds(cache, &other, ""));
    other = key;
    other.device = "a devicf";
    CHECK(!holds(cache, &other, ""));
    other = key;
    other.driver = "driver 1.3";
    CHECK(!holds(cache, &other, ""));
    other = key;
    other.options = NULL;
    CHECK(!holds(cache, &other, ""));
    other = key;
    other.source_size--;
    CHECK(!holds(cache, &other, ""));
    /* the same letters, split elsewhere */
    other = key;
    other.backend = "testa";
    other.device = " device";
    CHECK(!holds(cache, &other, ""));
    tarn_program_cache_destroy(&cache);

    cache = cache_in("whole/key", 0); /* a later start */
    CHECK(holds(cache, &key, "binary2"));
    tarn_program_cache_drop(cache, &key);
    CHECK(!holds(cache, &key, ""));
    tarn_program_cache_destroy(&cache);
    tarn_program_cache_destroy(&cache);
}

static void any_damage_is_a_miss(void)
{
    tarn_program_cache *cache = cache_in("damage", 0);
    struct tarn_program_key key = key_of("source");
    char path[600];
    tarn_program_cache_put(cache, &key, "0123456789", 10);
    REQUIRE(nth_file("damage", "", 0, path));
    struct stat info;
    REQUIRE(stat(path, &info) == 0);
    for (off_t at = 0; at < info.st_size; at++) {
        int fd = open(path, O_RDWR);
        char byte = 0;
        CHECK(pread(fd, &byte, 1, at) == 1);
        byte ^= 0x10;
        CHECK(pwrite(fd, &byte, 1, at) == 1);
        CHECK(!holds(cache, &key, "0123456789"));
        byte ^= 0x10;
        CHECK(pwrite(fd, &byte, 1, at) == 1);
        close(fd);
    }
    CHECK(holds(cache, &key, "0123456789"));
    for (off_t size = info.st_size - 1; size >= 0; size -= 7) {
        CHECK(truncate(path, size) == 0);
        CHECK(!holds(cache, &key, ""));
    }
    tarn_program_cache_put(cache, &key, "again", 5); /* and is written anew */
    CHECK(holds(cache, &key, "again"));
    FILE *file = fopen(path, "ae");
    CHECK(file != NULL && fputs("tail", file) >= 0);
    if (file != NULL)
        fclose(file);
    CHECK(!holds(cache, &key, ""));
    tarn_program_cache_destroy(&cache);
}

static void foreign_files_are_not_read(void)
{
    tarn_program_cache *cache = cache_in("foreign", 0);
    struct tarn_program_key key = key_of("source"), second = key_of("second");
    char path[600], other[600];
    tarn_program_cache_put(cache, &key, "binary", 6);
    REQUIRE(nth_file("foreign", "", 0, path));
    CHECK(chmod(path, 0666) == 0); /* anybody could have written it */
    CHECK(!holds(cache, &key, ""));
    CHECK(chmod(path, 0600) == 0);
    CHECK(holds(cache, &key, "binary"));
    if (geteuid() == 0) {
        CHECK(chown(path, 12345, 12345) == 0);
        CHECK(!holds(cache, &key, ""));
        CHECK(chown(path, 0, 0) == 0);
    }
    /* another key's entry under this one's name, a link, a folder, a pipe */
    snprintf(other, sizeof other, "%s/moved", root);
    CHECK(rename(path, other) == 0);
    tarn_program_cache_put(cache, &second, "second", 6);
    char second_path[600];
    REQUIRE(nth_file("foreign", "", 0, second_path));
    CHECK(rename(second_path, path) == 0);
    CHECK(!holds(cache, &key, ""));
    CHECK(unlink(path) == 0 && symlink(other, path) == 0);
    CHECK(!holds(cache, &key, ""));
    CHECK(unlink(path) == 0 && mkdir(path, 0700) == 0);
    CHECK(!holds(cache, &key, ""));
    tarn_program_cache_put(cache, &key, "binary", 6);
    CHECK(!holds(cache, &key, ""));
    CHECK(rmdir(path) == 0 && mkfifo(path, 0600) == 0);
    CHECK(!holds(cache, &key, ""));
    tarn_program_cache_put(cache, &key, "binary", 6);
    CHECK(holds(cache, &key, "binary"));
    tarn_program_cache_destroy(&cache);
}

static void without_a_place_nothing_happens(void)
{
    struct tarn_program_key key = key_of("source");
    char file[128], dir[200];
    snprintf(file, sizeof file, "%s/file", root);
    close(open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    snprintf(dir, sizeof dir, "%s/below", file); /* no folder can be there */
    char *too_long = malloc(6000);
    REQUIRE(too_long != NULL);
    memset(too_long, 'x', 5999);
    too_long[5999] = '\0';
    const char *const places[] = {dir, "/proc/tarn", "/dev/null", "/dev/full/x", too_long};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        tarn_program_cache *cache = NULL;
        CHECK(tarn_program_cache_create(&(struct tarn_program_cache_params){.dir = places[i]},
                                        &cache) == TARN_OK);
        tarn_program_cache_put(cache, &key, "binary", 6);
        CHECK(!holds(cache, &key, ""));
        tarn_program_cache_drop(cache, &key);
        tarn_program_cache_destroy(&cache);
    }
    free(too_long);
    void *data;
    size_t size;
    CHECK(!tarn_program_cache_get(NULL, &key, &data, &size));
    tarn_program_cache_put(NULL, &key, "x", 1);
    tarn_program_cache_drop(NULL, &key);
}

/* Root may write anywhere, so this is a child that is nobody. */
static void a_folder_that_cant_be_written_is_still_read(void)
{
    tarn_program_cache *cache = cache_in("readonly", 0);
    struct tarn_program_key key = key_of("source"), other = key_of("other");
    char path[128], entry[600];
    tarn_program_cache_put(cache, &key, "binary", 6);
    REQUIRE(nth_file("readonly", "", 0, entry));
    snprintf(path, sizeof path, "%s/readonly", root);
    CHECK(chmod(entry, 0444) == 0 && chmod(path, 0555) == 0 && chmod(root, 0755) == 0);
    pid_t child = fork();
    if (child == 0) {
        if (geteuid() == 0 && setuid(65534) != 0)
            _exit(9);
        check_failures = 0;
        CHECK(holds(cache, &key, "binary"));
        tarn_program_cache_put(cache, &other, "binary", 6);
        CHECK(!holds(cache, &other, ""));
        CHECK(holds(cache, &key, "binary"));
        fflush(stdout);
        _exit(check_failures > 0);
    }
    int status = 1;
    REQUIRE(child > 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(chmod(path, 0755) == 0);
    tarn_program_cache_destroy(&cache);
}

/* A limit on the size of files stands for a full disk: the write fails halfway. */
static void a_full_disk_leaves_nothing_behind(void)
{
    tarn_program_cache *cache = cache_in("full", 0);
    struct tarn_program_key key = key_of("source");
    static char large[100000];
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        signal(SIGXFSZ, SIG_IGN);
        struct rlimit limit = {.rlim_cur = 50000, .rlim_max = 50000};
        if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
            _exit(9);
        tarn_program_cache_put(cache, &key, large, sizeof large);
        void *data;
        size_t size;
        _exit(tarn_program_cache_get(cache, &key, &data, &size));
    }
    int status = 1;
    REQUIRE(child > 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK_NUMBER(file_count("full"), 0);
    tarn_program_cache_destroy(&cache);
}

static void what_was_used_longest_ago_goes_first(void)
{
    enum { SIZE = 1000, ENTRIES = 4 };
    static const char bytes[SIZE] = "payload";
    static const char *const names[] = {"one", "two", "three", "four", "five"};
    tarn_program_cache *cache = cache_in("limit", ENTRIES * (SIZE + 100));
    void *data;
    size_t size;
    for (int i = 0; i < ENTRIES; i++) {
        struct tarn_program_key key = key_of(names[i]);
        tarn_program_cache_put(cache, &key, bytes, SIZE);
        tarn_program_cache_destroy(&cache); /* each by another start, at whatever time */
        cache = cache_in("limit", ENTRIES * (SIZE + 100));
    }
    CHECK_NUMBER(file_count("limit"), ENTRIES);
    struct tarn_program_key first = key_of("one"), last = key_of("five");
    CHECK(tarn_program_cache_get(cache, &first, &data, &size)); /* now "two" is the oldest */
    free(data);
    tarn_program_cache_put(cache, &last, bytes, SIZE);
    CHECK_NUMBER(file_count("limit"), ENTRIES);
    for (int i = 0; i < 5; i++) {
        struct tarn_program_key key = key_of(names[i]);
        bool hit = tarn_program_cache_get(cache, &key, &data, &size);
        CHECK(hit == (i != 1));
        free(data);
    }
    /* a file dated 1970 by such a clock is just an old one; one too large is never kept */
    char path[600];
    REQUIRE(nth_file("limit", "", 2, path));
    struct timespec epoch[2] = {{.tv_sec = 7}, {.tv_sec = 7}};
    CHECK(utimensat(AT_FDCWD, path, epoch, 0) == 0);
    struct tarn_program_key more = key_of("more");
    tarn_program_cache_put(cache, &more, bytes, SIZE);
    CHECK(access(path, F_OK) != 0);
    CHECK(tarn_program_cache_get(cache, &more, &data, &size));
    free(data);
    struct tarn_program_key huge = key_of("huge");
    static char much[ENTRIES * (SIZE + 100)];
    tarn_program_cache_put(cache, &huge, much, sizeof much);
    CHECK_NUMBER(file_count("limit"), ENTRIES);
    tarn_program_cache_destroy(&cache);
}

static void what_a_dead_writer_left_is_swept(void)
{
    tarn_program_cache *cache = cache_in("left", 0);
    struct tarn_program_key key = key_of("source");
    tarn_program_cache_put(cache, &key, "binary", 6);
    tarn_program_cache_destroy(&cache);
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    REQUIRE(child > 0 && waitpid(child, NULL, 0) == child);
    char dead[128], live[128];
    snprintf(dead, sizeof dead, "%s/left/.writing-%ld-0", root, (long)child);
    snprintf(live, sizeof live, "%s/left/.writing-%ld-99", root, (long)getpid());
    close(open(dead, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    close(open(live, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    cache = cache_in("left", 0);
    CHECK(holds(cache, &key, "binary"));
    CHECK(access(dead, F_OK) != 0 && access(live, F_OK) == 0);
    tarn_program_cache_destroy(&cache);
}

static void *write_and_read(void *user)
{
    tarn_program_cache *cache = user;
    long bad = 0;
    for (int i = 0; i < 300; i++) {
        struct tarn_program_key key = key_of(i % 2 == 0 ? "even" : "odd");
        char bytes[4000];
        memset(bytes, i % 2 == 0 ? 'e' : 'o', sizeof bytes);
        void *data;
        size_t size;
        if (i % 3 == 0)
            tarn_program_cache_put(cache, &key, bytes, sizeof bytes);
        if (tarn_program_cache_get(cache, &key, &data, &size)) {
            bad += size != sizeof bytes || memcmp(data, bytes, size) != 0;
            free(data);
        }
    }
    return (void *)bad;
}

static void writers_at_once_never_give_wrong_bytes(void)
{
    tarn_program_cache *caches[2] = {cache_in("many", 20000), cache_in("many", 20000)};
    pthread_t threads[4];
    fflush(stdout);
    pid_t child = fork();
    if (child == 0)
        _exit(write_and_read(caches[0]) != NULL);
    for (int i = 0; i < 4; i++)
        REQUIRE(pthread_create(&threads[i], NULL, write_and_read, caches[i % 2]) == 0);
    for (int i = 0; i < 4; i++) {
        void *bad;
        pthread_join(threads[i], &bad);
        CHECK(bad == NULL);
    }
    int status = 1;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    char path[600];
    CHECK(!nth_file("many", ".writing-", 0, path));
    tarn_program_cache_destroy(&caches[0]);
    tarn_program_cache_destroy(&caches[1]);
}

static const char *default_dir(tarn_program_cache **cache)
{
    CHECK(tarn_program_cache_create(&(struct tarn_program_cache_params){0}, cache) == TARN_OK);
    return tarn_program_cache_dir(*cache);
}

static void the_environment_says_where_and_whether(void)
{
    tarn_program_cache *cache = NULL;
    setenv("XDG_CACHE_HOME", "/somewhere", 1);
    setenv("HOME", "/home/x", 1);
    CHECK(strcmp(default_dir(&cache), "/somewhere/tarn") == 0);
    tarn_program_cache_destroy(&cache);
    setenv("XDG_CACHE_HOME", "relative", 1);
    CHECK(strcmp(default_dir(&cache), "/home/x/.cache/tarn") == 0);
    tarn_program_cache_destroy(&cache);
    unsetenv("XDG_CACHE_HOME");
    CHECK(strcmp(default_dir(&cache), "/home/x/.cache/tarn") == 0);
    tarn_program_cache_destroy(&cache);
    unsetenv("HOME");
    CHECK(default_dir(&cache) == NULL);
    struct tarn_program_key key = key_of("source");
    tarn_program_cache_put(cache, &key, "binary", 6);
    CHECK(!holds(cache, &key, ""));
    tarn_program_cache_destroy(&cache);
    setenv("TARN_PROGRAM_CACHE", "off", 1);
    cache = cache_in("off", 0);
    tarn_program_cache_put(cache, &key, "binary", 6);
    CHECK(!holds(cache, &key, "") && tarn_program_cache_dir(cache) == NULL);
    CHECK_NUMBER(file_count("off"), 0);
    tarn_program_cache_destroy(&cache);
    unsetenv("TARN_PROGRAM_CACHE");
}

int main(void)
{
    static const struct check_case cases[] = {
        CASE(what_was_put_is_found_by_the_whole_key),
        CASE(any_damage_is_a_miss),
        CASE(foreign_files_are_not_read),
        CASE(without_a_place_nothing_happens),
        CASE(a_folder_that_cant_be_written_is_still_read),
        CASE(a_full_disk_leaves_nothing_behind),
        CASE(what_was_used_longest_ago_goes_first),
        CASE(what_a_dead_writer_left_is_swept),
        CASE(writers_at_once_never_give_wrong_bytes),
        CASE(the_environment_says_where_and_whether),
    };
    const char *temporary = getenv("TMPDIR");
    snprintf(root, sizeof root, "%.40s/tarn-programs-XXXXXX",
             temporary != NULL && strlen(temporary) < 40 ? temporary : "/tmp");
    if (mkdtemp(root) == NULL)
        return 1;
    int failed = check_run(cases, sizeof cases / sizeof cases[0]);
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command) != 0 || failed;
}
