/* cgroup: how much memory this process may use, and what the kernel counts for it and its neighbours in the same group.
 *
 * Both versions of the interface, and both at once. Files are small and made by the kernel on the spot: reading them
 * does not wait. What cannot be read is not there. */
#ifndef BASE_CGROUP_H
#define BASE_CGROUP_H

#include <stdbool.h>
#include <stdint.h>

#define CGROUP_NONE UINT64_MAX

/* `root` stands before every absolute path: "" is the machine, else the folder of a made-up one. */

/* The smallest memory limit on the way from our group to the top that we can see; CGROUP_NONE. */
uint64_t cgroup_memory_limit(const char *root);
/* That limit or the machine's memory, whichever is less; CGROUP_NONE when neither can be read. *from_group: the former. */
uint64_t cgroup_memory_usable(const char *root, bool *from_group);

struct cgroup_memory {
    bool known;
    uint64_t limit_bytes;         /* CGROUP_NONE: none. */
    uint64_t used_bytes;          /* All that counts for the limit. */
    uint64_t anonymous_bytes;     /* Of all its processes. */
    uint64_t file_bytes;          /* Page cache. */
    uint64_t inactive_file_bytes; /* What of it goes first. */
    uint64_t working_set_bytes;   /* used without inactive_file: what Kubernetes looks at. */
};
void cgroup_memory_read(const char *root, struct cgroup_memory *out);

/* This process' own resident pages. */
struct resident {
    uint64_t anonymous_bytes, file_bytes, shared_bytes;
};
bool resident_read(struct resident *out); /* False: not told; all 0. */

#endif
