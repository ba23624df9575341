/* Suspect bytes as a bundle, as a directory of bundles, as labels of a series: never read out of bounds. */
#include <stdint.h>

#include "store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look_at_bundle(struct str bytes)
{
    struct bundle bundle;
    struct time_vec times = {0};
    struct samples samples;
    struct bundle_reader reader = {0};
    if (!bundle_open(&bundle, bytes))
        return;
    samples_init(&samples);
    for (uint32_t i = 0; i < bundle.run_count && i < 64; i++) {
        struct bundle_run run = bundle_run_at(&bundle, i);
        VEC_CLEAR(&times);
        samples_clear(&samples);
        samples.histograms.bytes_max = 1 << 20;
        if (bundle_column(&bundle, run.column, &times) &&
            bundle_read(&bundle, &run, &times, &reader, &samples))
            ENSURE(samples.count > 0 && samples.count <= times.count);
    }
    bundle_reader_deinit(&reader);
    samples_deinit(&samples);
    VEC_FREE(&times);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str bytes = str_from((const char *)data, size);
    struct bundle_entry entries[16];
    struct label labels[64];
    struct err err = {0};
    size_t count = 16;
    look_at_bundle(bytes);
    (void)bundle_verify(bytes);
    if (bundle_dir_decode(bytes, entries, &count))
        ENSURE(count == (size - 4) / 48);
    struct reader in = reader_over(bytes);
    if (series_labels_decode(&in, labels, 64, &count, &err))
        ENSURE(count <= 64);
    return 0;
}
