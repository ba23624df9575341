/* sim_calls: the system calls of a program that simulates crashes: its own write, sync, cut, rename and unlink (LMDB's too),
 * which fail or kill by seeded chance. Included once a program. */
#ifndef TESTS_SIM_CALLS_H
#define TESTS_SIM_CALLS_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/hash.h"

#define EXIT_KILLED 77

/* --- random numbers --- */

static uint64_t random_state;
static uint64_t random_u64(void)
{
    return hash64_mix(++random_state, 99);
}
static uint64_t random_below(uint64_t limit)
{
    return random_u64() % limit;
}

/* --- what was done, counted over all processes --- */

#define INJECTIONS(X)                                                                              \
    X(INJECT_EIO_WRITE, "EIO at write")                                                            \
    X(INJECT_ENOSPC_WRITE, "ENOSPC at write")                                                      \
    X(INJECT_SHORT_WRITE, "short write")                                                           \
    X(INJECT_SYNC, "sync fails")                                                                   \
    X(INJECT_CUT, "cut fails")                                                                     \
    X(INJECT_UNLINK, "unlink fails")                                                               \
    X(INJECT_RENAME, "rename fails")                                                               \
    X(INJECT_KILL_WRITE, "kill after half a write")                                                \
    X(INJECT_KILL_SYNC, "kill at sync")                                                            \
    X(INJECT_KILL_CUT, "kill at a cut")                                                            \
    X(INJECT_KILL_UNLINK, "kill at unlink")                                                        \
    X(INJECT_KILL_RENAME, "kill at rename")
#define PLACES(X)                                                                                  \
    X(PLACE_LOG, "log")                                                                            \
    X(PLACE_HEAD, "head.mdb")                                                                      \
    X(PLACE_OPEN, ".open.mdb") X(PLACE_BUILD, "day") X(PLACE_OTHER, "other")
enum injection {
#define X(id, text) id,
    INJECTIONS(X)
#undef X
        INJECTION_COUNT
};
enum sim_place {
#define X(id, text) id,
    PLACES(X)
#undef X
        PLACE_COUNT
};

static uint64_t (*injected)[PLACE_COUNT]; /* Shared with the children. */

static void injections_begin(void)
{
    injected = mmap(NULL, INJECTION_COUNT * sizeof(*injected), PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

static inline uint64_t injections_of(enum injection what)
{
    uint64_t count = 0;
    for (int i = 0; i < PLACE_COUNT; i++)
        count += injected[what][i];
    return count;
}

static inline void injections_print(void)
{
    static const char *const places[] = {
#define X(id, text) text,
        PLACES(X)
#undef X
    };
    static const char *const names[] = {
#define X(id, text) text,
        INJECTIONS(X)
#undef X
    };
    for (int i = 0; i < INJECTION_COUNT; i++) {
        fprintf(stderr, "%-24s", names[i]);
        for (int k = 0; k < PLACE_COUNT; k++)
            fprintf(stderr, "  %s %llu", places[k], (unsigned long long)injected[i][k]);
        fprintf(stderr, "\n");
    }
}

/* A simulation that does not do what it promises proves nothing. */
static inline void injections_check(void)
{
    if (getenv("TEST_COUNTS"))
        injections_print();
    for (int i = 0; i < INJECTION_COUNT; i++)
        assert_true(injections_of((enum injection)i) > 0);
}

static enum sim_place place_of(const char *path)
{
    const char *name = strrchr(path, '/');
    name = name ? name + 1 : path;
    if (strstr(path, "/log/"))
        return PLACE_LOG;
    if (strncmp(name, "head.mdb", 8) == 0)
        return PLACE_HEAD;
    if (strstr(name, ".open.mdb"))
        return PLACE_OPEN;
    return strstr(name, ".mdb") || strstr(name, "tmp") || strstr(name, "build") ? PLACE_BUILD
                                                                                : PLACE_OTHER;
}

static void count_path(enum injection what, const char *path)
{
    if (injected)
        __atomic_add_fetch(&injected[what][place_of(path)], 1, __ATOMIC_RELAXED);
}

static void count_fd(enum injection what, int fd)
{
    char link[64], path[512];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, sizeof(path) - 1);
    path[len > 0 ? len : 0] = '\0';
    count_path(what, path);
}

/* --- system calls that fail or kill --- */

static int64_t calls_left; /* Until the kill; negative: never. */
static unsigned fail_per_1000;

enum fate { FATE_GO, FATE_FAIL, FATE_KILL };

/* Rare calls are aimed at, or nothing would happen to them: the n-th one of its kind. */
enum call { CALL_WRITE, CALL_SYNC, CALL_CUT, CALL_UNLINK, CALL_RENAME, CALL_NONE };
static enum call aim = CALL_NONE;
static uint64_t aim_left;
static bool aim_kills;

static void calls_begin(uint64_t calls_max)
{
    calls_left = random_below(5) == 0 ? -1 : (int64_t)random_below(calls_max);
    aim = CALL_NONE;
    if (random_below(3) != 0)
        return;
    aim = random_below(2) ? CALL_CUT : CALL_UNLINK + (enum call)random_below(2);
    aim_left = aim == CALL_CUT ? 0 : random_below(4);
    aim_kills = random_below(2);
    calls_left = -1;
}

static enum fate fate(enum call call)
{
    if (calls_left == 0)
        return FATE_KILL;
    if (call == aim && aim_left-- == 0) {
        aim = CALL_NONE;
        return aim_kills ? FATE_KILL : FATE_FAIL;
    }
    if (aim == CALL_CUT && call == CALL_WRITE && random_below(8) == 0)
        return FATE_FAIL; /* What it has written is cut off. */
    if (calls_left > 0)
        calls_left--;
    return fail_per_1000 && random_below(1000) < fail_per_1000 ? FATE_FAIL : FATE_GO;
}

static void die(void)
{
    syscall(SYS_exit_group, EXIT_KILLED);
}

static ssize_t fail_call(void)
{
    errno = random_below(2) ? ENOSPC : EIO;
    return -1;
}

static ssize_t write_at(int fd, const void *bytes, size_t len, off_t at)
{
    enum fate now = fate(CALL_WRITE);
    if (now == FATE_FAIL && random_below(2)) {
        ssize_t failed = fail_call();
        count_fd(errno == EIO ? INJECT_EIO_WRITE : INJECT_ENOSPC_WRITE, fd);
        return failed;
    }
    if (now != FATE_GO) { /* A short write. */
        len = len > 1 ? random_below(len) + (now == FATE_FAIL) : len;
        count_fd(now == FATE_KILL ? INJECT_KILL_WRITE : INJECT_SHORT_WRITE, fd);
    }
    ssize_t wrote =
        at < 0 ? syscall(SYS_write, fd, bytes, len) : syscall(SYS_pwrite64, fd, bytes, len, at);
    if (now == FATE_KILL)
        die();
    return wrote;
}

ssize_t write(int fd, const void *bytes, size_t len)
{
    return fd <= 2 ? syscall(SYS_write, fd, bytes, len) : write_at(fd, bytes, len, -1);
}
ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at)
{
    return write_at(fd, bytes, len, at);
}
ssize_t pwrite64(int fd, const void *bytes, size_t len, off64_t at)
{
    return write_at(fd, bytes, len, at);
}

/* LMDB's page writes; it takes fewer bytes than asked for as an error. */
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at)
{
    ssize_t done = 0;
    for (int i = 0; i < count; i++) {
        ssize_t wrote = write_at(fd, parts[i].iov_base, parts[i].iov_len, at + done);
        if (wrote < 0)
            return done ? done : wrote;
        done += wrote;
        if ((size_t)wrote < parts[i].iov_len)
            break;
    }
    return done;
}
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at)
{
    return pwritev(fd, parts, count, at);
}

/* What a kill of the process leaves is in the page cache: a sync is only a place to die or to fail.
 */
int fdatasync(int fd)
{
    enum fate now = fate(CALL_SYNC);
    if (now == FATE_GO)
        return 0;
    count_fd(now == FATE_KILL ? INJECT_KILL_SYNC : INJECT_SYNC, fd);
    if (now == FATE_KILL)
        die();
    return (int)fail_call();
}
int fsync(int fd)
{
    return fdatasync(fd);
}

int ftruncate(int fd, off_t len)
{
    enum fate now = fate(CALL_CUT);
    if (now != FATE_GO)
        count_fd(now == FATE_KILL ? INJECT_KILL_CUT : INJECT_CUT, fd);
    if (now == FATE_FAIL)
        return (int)fail_call();
    int status = now == FATE_KILL && random_below(2) ? 0 : (int)syscall(SYS_ftruncate, fd, len);
    if (now == FATE_KILL)
        die();
    return status;
}
int ftruncate64(int fd, off64_t len)
{
    return ftruncate(fd, len);
}

#ifdef SIM_CALLS_ROOM
/* Room for LMDB's lock file counts as a cut. It tells its error by its value. */
int posix_fallocate(int fd, off_t offset, off_t len)
{
    enum fate now = fate(CALL_CUT);
    if (now != FATE_GO)
        count_fd(now == FATE_KILL ? INJECT_KILL_CUT : INJECT_CUT, fd);
    if (now == FATE_FAIL)
        return random_below(2) ? ENOSPC : EIO;
    bool done = now == FATE_KILL && random_below(2);
    int code = !done && syscall(SYS_fallocate, fd, 0, offset, len) != 0 ? errno : 0;
    if (now == FATE_KILL)
        die();
    return code;
}
int posix_fallocate64(int fd, off64_t offset, off64_t len)
{
    return posix_fallocate(fd, offset, len);
}
#endif

/* The kill comes before or after. */
int unlink(const char *path)
{
    enum fate now = fate(CALL_UNLINK);
    if (now != FATE_GO)
        count_path(now == FATE_KILL ? INJECT_KILL_UNLINK : INJECT_UNLINK, path);
    if (now == FATE_FAIL)
        return (int)fail_call();
    int status =
        now == FATE_KILL && random_below(2) ? 0 : (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    if (now == FATE_KILL)
        die();
    return status;
}

int rename(const char *from, const char *to)
{
    enum fate now = fate(CALL_RENAME);
    if (now != FATE_GO)
        count_path(now == FATE_KILL ? INJECT_KILL_RENAME : INJECT_RENAME, to);
    if (now == FATE_FAIL)
        return (int)fail_call();
    int status = now == FATE_KILL && random_below(2)
                     ? 0
                     : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    if (now == FATE_KILL)
        die();
    return status;
}

/* --- what is left --- */

/* Kills and calls that fail damage nothing: no file but one that a test has damaged is set aside. */
static inline bool nothing_looks_damaged(const char *folder, const char *but)
{
    bool good = true;
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir)) != NULL;) {
        if (!strstr(entry->d_name, ".damaged-") || strncmp(entry->d_name, but, strlen(but)) == 0)
            continue;
        fprintf(stderr, "%s/%s: nobody has damaged it\n", folder, entry->d_name);
        good = false;
    }
    if (dir)
        closedir(dir);
    return good;
}

#endif
