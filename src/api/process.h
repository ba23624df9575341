/* process: what the kernel says of this process. */
#ifndef API_PROCESS_H
#define API_PROCESS_H

#include <stdint.h>

struct process_figures {
    uint64_t received_bytes, sent_bytes; /* IP packets of the network namespace, as Prometheus tells them. */
    double cpu_seconds, start_seconds; /* start: Unix time. */
    uint64_t virtual_bytes, resident_bytes, anonymous_bytes, file_bytes, shared_bytes, threads;
    uint64_t open_files, open_files_max,
        virtual_bytes_max; /* A maximum that does not exist is UINT64_MAX. */
};

/* What cannot be read stays 0. */
void process_get_figures(struct process_figures *out);

#endif
