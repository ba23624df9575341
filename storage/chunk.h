/* chunk: a run of one series' samples, appended to by the loop thread while any thread reads it.
 *
 *     open --chunk_add()...--> frozen (its slot was cut) --slot sealed--> retired through the epoch
 *
 * Bytes (format version 0, also the payload of log records and bundles): one entry a sample,
 *
 *     control  t vvvvvvv     t = 1: a zigzag varint follows, the change of the time delta (delta of
 * delta, ms) v = 0            the same value bits 1..36        XOR: n bytes at byte offset o,
 * little-endian; o and n from a table 40..103      an integer that differs by v - 72 from the last
 * one 104          an integer that differs by a zigzag varint 126          (log only) a chunk
 * starts: the real control byte follows 127          the run goes on in the next block [varint]
 * [value bytes]
 *
 * The first entry is coded against time 0, delta 0 and value bits 0, so each chunk stands alone.
 * Published bytes never change: a reader takes `count` with acquire and reads no further than so
 * many entries. */
#ifndef STORAGE_CHUNK_H
#define STORAGE_CHUNK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/str.h"

#define CHUNK_SAMPLES_MAX   120
#define CHUNK_ENTRY_MAX     24
#define CHUNK_CONTROL_START 126
#define CHUNK_CONTROL_NEXT  127

/* What the next entry is coded against. */
struct chunk_state {
    int64_t time_ms;
    int64_t delta_ms;
    uint64_t bits;
    uint32_t count;
};

/* Encodes one sample and moves the state on. Returns the entry's length. */
size_t chunk_encode(struct chunk_state *state, int64_t time_ms, uint64_t bits,
                    uint8_t out[CHUNK_ENTRY_MAX]);
/* Decodes one entry (control byte already read) and moves the state on; false on bytes that no
 * encoder writes. */
bool chunk_decode_entry(struct chunk_state *state, struct reader *in, uint8_t control);

/* Steps over an entry whose state is not known. */
bool chunk_skip_entry(struct reader *in, uint8_t control);

struct chunk_block; /* A piece of the bytes; pieces never move. */

struct chunk {
    _Atomic(struct chunk *)
        older;              /* The series' chunk before this one, while that is in the head. */
    _Atomic uint32_t count; /* Published entries. */
    uint32_t group;         /* Index of the group whose slot it is in. */
    uint64_t slot;          /* The slot's sequence number. */
    int64_t time_first_ms;  /* Of the first sample; fixed once count > 0 is published. */
    _Atomic int64_t time_last_ms; /* Of the newest published sample. */
    /* Writer only: */
    struct chunk_state state;
    struct chunk_block *last; /* The first stands right behind this struct. */
    uint32_t last_used;
    uint32_t bytes; /* Heap bytes in all. */
};

struct chunk *chunk_new(uint32_t group, uint64_t slot);
void chunk_free(struct chunk *chunk);
/* Copies an entry made by chunk_encode(&chunk->state, ...) and publishes it. */
void chunk_add(struct chunk *chunk, const uint8_t *entry, size_t len);

/* The first `count` samples (at most CHUNK_SAMPLES_MAX) into the arrays. Any thread that keeps the
 * chunk alive. */
void chunk_read(const struct chunk *chunk, uint32_t count, int64_t *time_ms, double *value);

/* The flat form in bundles: entries one after the other. Suspect bytes: false when they do not hold
 * `count` samples. */
bool chunk_read_flat(struct str bytes, uint32_t count, int64_t *time_ms, double *value);

#endif
