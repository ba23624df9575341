/* codec_times: a column of strictly increasing times.
 *
 *     zigzag interval   the integer column (codec_ints.c) of time[i] - i * interval
 *
 * The interval is the commonest distance, so a target that keeps its time leaves zeroes, one that is late now and then a
 * short list, and a gap one step. */
#include "codec_private.h"

#include "base/mem.h"

/* Boyer and Moore's vote: the commonest distance if it is more than half of all, else a likely one. */
static int64_t common_interval(const int64_t *times_ms, uint32_t count)
{
    int64_t interval = 0;
    uint32_t votes = 0;
    for (uint32_t i = 1; i < count; i++) {
        int64_t distance = (int64_t)((uint64_t)times_ms[i] - (uint64_t)times_ms[i - 1]);
        if (votes == 0)
            interval = distance;
        votes = distance == interval ? votes + 1 : votes - 1;
    }
    return interval;
}

/* The caller frees them. */
static int64_t *write_interval(const int64_t *times_ms, uint32_t count, struct buf *out)
{
    int64_t *deviations = mem_alloc_array(count, sizeof(*deviations));
    ENSURE(count >= 1 && count <= CODEC_VALUES_MAX);
    int64_t interval = common_interval(times_ms, count);
    for (uint32_t i = 0; i < count; i++) {
        ENSURE(i == 0 || times_ms[i] > times_ms[i - 1]);
        deviations[i] = (int64_t)((uint64_t)times_ms[i] - i * (uint64_t)interval);
    }
    write_zigzag(out, interval);
    return deviations;
}

void codec_times_encode(const int64_t *times_ms, uint32_t count, struct buf *out)
{
    struct codec_ints_scratch *scratch = MEM_NEW(struct codec_ints_scratch);
    int64_t *deviations = write_interval(times_ms, count, out);
    codec_ints_encode(scratch, deviations, count, out);
    mem_free(deviations);
    mem_free(scratch);
}

void codec_quick_times(struct codec_quick *quick, const int64_t *times_ms, uint32_t count,
                       struct buf *out)
{
    int64_t *deviations = write_interval(times_ms, count, out);
    codec_quick_ints(quick, deviations, count, out);
    mem_free(deviations);
}

bool codec_times_decode(struct str bytes, uint32_t count, int64_t *times_ms)
{
    struct reader in = reader_over(bytes);
    uint64_t interval = (uint64_t)read_zigzag(&in);
    if (count < 1 || count > CODEC_VALUES_MAX || !codec_ints_decode(&in, count, times_ms))
        return false;
    if (in.bad || in.at != in.end)
        return false;
    for (uint32_t i = 0; i < count; i++)
        times_ms[i] = (int64_t)((uint64_t)times_ms[i] + i * interval);
    for (uint32_t i = 1; i < count; i++) {
        if (times_ms[i] <= times_ms[i - 1])
            return false;
    }
    return true;
}
