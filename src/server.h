/* server: wiring. The only place that knows everybody: builds the parts in order, reloads, drains,
 * closes in reverse.
 *
 *     server_run: listen -> open storage (commit lane) -> ready -> ... -> SIGTERM -> stop scraping
 * -> answer or cancel requests -> write the log -> exit
 */
#ifndef SERVER_H
#define SERVER_H

#include "config.h"
#include "options.h"

#define NARTHEX_VERSION    "0.1.0"
#define PROMETHEUS_VERSION "3.14.0" /* What we behave as. */

/* Runs until it is told to stop; the process' exit code. Takes the reference to config. */
int server_run(const struct options *options, struct config *config);

#endif
