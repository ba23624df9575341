/* ensure: the end of a process whose programmer was wrong: says where and doing what, then aborts.
 *
 * The text goes out by one write(2), without the heap and without stdio's locks: the state that is
 * broken may be theirs. */
#include "base/ensure.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static _Thread_local const char *current_job;

void ensure_set_job(const char *job)
{
    current_job = job;
}

void ensure_failed(const char *expression, const char *file, int line)
{
    char text[1024];
    int len = snprintf(text, sizeof(text), "narthex: %s:%d: ENSURE(%s) failed while %s\n", file,
                       line, expression, current_job ? current_job : "doing nothing named");
    size_t bytes = len < 0 ? 0 : (size_t)len < sizeof(text) ? (size_t)len : sizeof(text) - 1;
    if (write(STDERR_FILENO, text, bytes) < 0)
        abort();
    abort();
}
