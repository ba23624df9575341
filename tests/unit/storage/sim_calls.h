/* sim_calls: the system calls of a program that simulates crashes: its own write, sync, cut, rename and unlink (LMDB's too),
 * which fail or kill by seeded chance. Included once a program. */
#ifndef TESTS_SIM_CALLS_H
#define TESTS_SIM_CALLS_H

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
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

/* --- system calls that fail or kill --- */

static int64_t calls_left; /* Until the kill; negative: never. */
static unsigned fail_per_1000;

enum fate { FATE_GO, FATE_FAIL, FATE_HALF_THEN_KILL };

static enum fate fate(void)
{
    if (calls_left == 0)
        syscall(SYS_exit_group, EXIT_KILLED);
    if (calls_left > 0 && --calls_left == 0)
        return random_below(2) ? FATE_HALF_THEN_KILL : FATE_GO;
    return fail_per_1000 && random_below(1000) < fail_per_1000 ? FATE_FAIL : FATE_GO;
}

static ssize_t fail_call(void)
{
    errno = random_below(2) ? ENOSPC : EIO;
    return -1;
}

static ssize_t write_at(int fd, const void *bytes, size_t len, off_t at)
{
    enum fate now = fate();
    if (now == FATE_FAIL && random_below(2))
        return fail_call();
    if (now != FATE_GO) /* A short write. */
        len = len > 1 ? 1 + random_below(len - 1) : len;
    ssize_t wrote =
        at < 0 ? syscall(SYS_write, fd, bytes, len) : syscall(SYS_pwrite64, fd, bytes, len, at);
    if (now == FATE_HALF_THEN_KILL)
        syscall(SYS_exit_group, EXIT_KILLED);
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
    (void)fd;
    return fate() == FATE_FAIL ? (int)fail_call() : 0;
}
int fsync(int fd)
{
    return fdatasync(fd);
}

int ftruncate(int fd, off_t len)
{
    return fate() == FATE_HALF_THEN_KILL ? (int)fail_call() : (int)syscall(SYS_ftruncate, fd, len);
}

int unlink(const char *path)
{
    return fate() == FATE_FAIL ? (int)fail_call() : (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

int rename(const char *from, const char *to)
{
    return fate() == FATE_FAIL ? (int)fail_call()
                               : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

#endif
