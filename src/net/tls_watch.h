/* tls_watch: what a client's handshakes and connections have read that its library does not tell: alerts after the
 * handshake, and answers that are no TLS. */
#ifndef NET_TLS_WATCH_H
#define NET_TLS_WATCH_H

#include <stdbool.h>
#include <stdint.h>

/* Of whatever was read since it was cleared. */
#define TLS_WATCH_ALERTS 64

struct tls_watch {
    /* The last fatal one of a server, by who asked it: jobs have certificates of their own. It may be read after the
     * transfer has failed, or with the next one. */
    struct {
        uint64_t owner;
        int alert; /* 0: none. */
    } alerts[TLS_WATCH_ALERTS];
    bool not_tls;     /* The first record is none ... */
    bool speaks_http; /* ... but HTTP's status line. */
    /* Of a server's certificate that is too old or too new, in seconds of the epoch; both 0: none was. */
    int64_t valid_from, valid_to;
};

/* `ssl_ctx` is an SSL_CTX, whose connections end before the watch. */
void tls_watch_join(struct tls_watch *watch, uint64_t owner, void *ssl_ctx);
void tls_watch_clear(struct tls_watch *watch); /* All but the alerts. */
void tls_watch_set_alert(struct tls_watch *watch, uint64_t owner, int alert);
int tls_watch_alert(const struct tls_watch *watch, uint64_t owner); /* 0: none. */
/* In the words of Go's crypto/tls: certificate required. NULL: it has none for that. */
const char *tls_alert_text(int alert);

#endif
