/* redis: the exporter for Redis, a stand-in for redis_exporter: narthex redis-exporter [flags].
 *
 * Serves /metrics (of one Redis) and /scrape?target= (of any) until SIGTERM or SIGINT, on a loop of its own. */
#ifndef REDIS_H
#define REDIS_H

/* argv[0] is the command's word. Returns the exit code: 0 after a signal, 1 when it cannot run, 2 for wrong usage. */
int redis_exporter_main(int argc, char **argv);

#endif
