/* dns_message: the answer section of a DNS message (RFC 1035, 2782, 3596).
 *
 *     header  id:2 flags:2 questions:2 answers:2 authorities:2 additionals:2
 *     question  name type:2 class:2
 *     answer    name type:2 class:2 ttl:4 len:2 data
 *     name      (len:1 bytes)* then 0, or 0b11 offset:14 to continue elsewhere in the message
 *
 * A name follows at most NAME_JUMPS_MAX offsets and has at most NAME_BYTES_MAX bytes, so a loop of
 * offsets ends and a message of 64 KiB yields a few megabytes of text at most.
 *
 * Why not c-ares' own functions: there is one per type, each with its own view of names, and the
 * labels of targets shall have names exactly as Prometheus writes them. */
#include "dns_message.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "base/buf.h"

#define NAME_BYTES_MAX 255
#define NAME_JUMPS_MAX 126
#define CLASS_IN       1
/* Each byte may become \DDD. */
#define NAME_TEXT_MAX (4 * NAME_BYTES_MAX)

struct message {
    const unsigned char *bytes;
    size_t len;
    size_t at;
    bool bad; /* Sticky: something reached past the end or was no name. */
};

static unsigned read_u8(struct message *in)
{
    if (in->bad || in->at >= in->len) {
        in->bad = true;
        return 0;
    }
    return in->bytes[in->at++];
}

static unsigned read_u16(struct message *in)
{
    unsigned high = read_u8(in);
    return high << 8 | read_u8(in);
}

static void skip(struct message *in, size_t len)
{
    if (in->bad || len > in->len - in->at)
        in->bad = true;
    else
        in->at += len;
}

/* One byte of a label, as zone files write it. */
static size_t text_add(char *text, size_t len, unsigned char c)
{
    if (c < ' ' || c > '~') {
        text[len++] = '\\';
        text[len++] = (char)('0' + c / 100);
        text[len++] = (char)('0' + c / 10 % 10);
        text[len++] = (char)('0' + c % 10);
        return len;
    }
    if (strchr(". '@;()\"\\", c))
        text[len++] = '\\';
    text[len++] = (char)c;
    return len;
}

/* Reads a name at in->at and moves behind it. `text` has room for NAME_TEXT_MAX; returns the length.
 */
static size_t read_name(struct message *in, char *text)
{
    size_t len = 0, wire = 0, after = 0;
    unsigned jumps = 0;

    while (!in->bad) {
        unsigned size = read_u8(in);
        if (size >= 0xc0) {
            size_t to = (size << 8 | read_u8(in)) & 0x3fff;
            if (jumps == 0)
                after = in->at;
            in->bad |= ++jumps > NAME_JUMPS_MAX;
            in->at = to;
            continue;
        }
        if (in->bad || size == 0)
            break;
        wire += size + 1;
        in->bad |= size > 63 || wire >= NAME_BYTES_MAX;
        for (unsigned i = 0; i < size && !in->bad; i++)
            len = text_add(text, len, (unsigned char)read_u8(in));
        text[len++] = '.';
    }
    if (jumps > 0)
        in->at = after;
    if (len == 0)
        text[len++] = '.';
    return len;
}

/* Go's net.IP.String: as inet_ntop, but IPv4 inside IPv6 only for ::ffff:a.b.c.d, which is shown as
 * the IPv4 address that it is. */
static struct str address_text(struct arena *arena, const unsigned char *bytes, size_t len)
{
    struct in6_addr v6;
    char text[INET6_ADDRSTRLEN];

    if (len == 16) {
        memcpy(&v6, bytes, 16);
        if (IN6_IS_ADDR_V4MAPPED(&v6))
            return address_text(arena, bytes + 12, 4);
        if (IN6_IS_ADDR_V4COMPAT(&v6) && (bytes[12] || bytes[13]))
            return arena_strf(arena, "::%x:%x", (unsigned)(bytes[12] << 8 | bytes[13]),
                              (unsigned)(bytes[14] << 8 | bytes[15]));
    }
    ENSURE(inet_ntop(len == 16 ? AF_INET6 : AF_INET, bytes, text, sizeof(text)) != NULL);
    return arena_str(arena, str_of(text));
}

/* The data of a record that is ours to read; it must be used up exactly. */
static void read_data(struct message *in, size_t end, struct dns_record *record,
                      struct arena *arena)
{
    char name[NAME_TEXT_MAX + 1];
    size_t address_len = record->type == DNS_AAAA ? 16 : 4;

    if (record->type == DNS_A || record->type == DNS_AAAA) {
        if (in->len - in->at >= address_len)
            record->text = address_text(arena, in->bytes + in->at, address_len);
        skip(in, address_len);
    } else {
        if (record->type == DNS_SRV)
            skip(in, 4); /* Priority and weight: all are targets. */
        if (record->type == DNS_SRV)
            record->port = (uint16_t)read_u16(in);
        if (record->type == DNS_MX)
            skip(in, 2); /* Preference. */
        size_t len = read_name(in, name);
        record->text = arena_str(arena, str_from(name, len));
    }
    in->bad |= in->at != end;
}

static bool is_ours(unsigned type)
{
    return type == DNS_A || type == DNS_NS || type == DNS_MX || type == DNS_AAAA || type == DNS_SRV;
}

bool dns_message_parse(struct str message, struct arena *arena, struct dns_answer *out,
                       struct err *err)
{
    struct message in = {.bytes = (const unsigned char *)message.ptr, .len = message.len};
    char name[NAME_TEXT_MAX + 1];

    *out = (struct dns_answer){0};
    skip(&in, 4);
    size_t question_count = read_u16(&in), answer_count = read_u16(&in);
    skip(&in, 4);
    for (size_t i = 0; i < question_count && !in.bad; i++) {
        (void)read_name(&in, name);
        skip(&in, 4);
    }
    /* The shortest record has 11 bytes: a count that the message cannot hold is bad at once. */
    in.bad |= !in.bad && answer_count > (in.len - in.at) / 11;
    struct dns_record *records =
        arena_alloc_array(arena, in.bad ? 0 : answer_count, sizeof(*records));
    for (size_t i = 0; i < answer_count && !in.bad; i++) {
        (void)read_name(&in, name);
        unsigned type = read_u16(&in), class = read_u16(&in);
        skip(&in, 4); /* Time to live: discovery has its own interval. */
        size_t len = read_u16(&in);
        in.bad |= !in.bad && len > in.len - in.at;
        if (in.bad || class != CLASS_IN || !is_ours(type)) {
            skip(&in, len);
            continue;
        }
        struct dns_record *record = &records[out->count++];
        *record = (struct dns_record){.type = (enum dns_type)type, .text = STR_EMPTY};
        read_data(&in, in.at + len, record, arena);
    }
    out->records = records;
    if (in.bad)
        return err_set(err, ERR_BAD_DATA, "malformed DNS answer of %zu bytes", message.len);
    return true;
}
