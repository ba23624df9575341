/* Runs a fuzz target over every file of its corpus, then over seeded mutations of each: a fuzzer's
 * memory, without the fuzzer. Any compiler builds it, so ctest replays it everywhere. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INPUT_BYTES_MAX    (1 << 20)
#define MUTATIONS_PER_FILE 200

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static uint64_t random_state = 0x9e3779b97f4a7c15u;

static uint32_t random_below(uint32_t bound)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state % bound);
}

/* A fresh exact-size heap copy each time, so that sanitizers see a read past the end. */
static void run_copy(const uint8_t *data, size_t len)
{
    uint8_t *copy = malloc(len ? len : 1);
    if (!copy)
        abort();
    if (len)
        memcpy(copy, data, len);
    LLVMFuzzerTestOneInput(copy, len);
    free(copy);
}

static void run_mutations(const uint8_t *data, size_t len)
{
    uint8_t *mutant = malloc(len + 16);
    if (!mutant)
        abort();
    for (int round = 0; round < MUTATIONS_PER_FILE; round++) {
        size_t mutant_len = len;
        memcpy(mutant, data, len);
        for (uint32_t edits = 1 + random_below(4); edits > 0 && mutant_len > 0; edits--) {
            uint32_t at = random_below((uint32_t)mutant_len);
            switch (random_below(4)) {
            case 0:
                mutant[at] = (uint8_t)random_below(256);
                break;
            case 1:
                mutant[at] ^= (uint8_t)(1u << random_below(8));
                break;
            case 2:
                mutant_len = at;
                break;
            default:
                memmove(mutant + at, mutant + at + 1, mutant_len - at - 1);
                mutant_len--;
                break;
            }
        }
        run_copy(mutant, mutant_len);
    }
    free(mutant);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s CORPUS_DIRECTORY\n", argv[0]);
        return 2;
    }
    DIR *dir = opendir(argv[1]);
    if (!dir) {
        perror(argv[1]);
        return 1;
    }
    static uint8_t data[INPUT_BYTES_MAX];
    int file_count = 0;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char path[4096];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "%s/%s", argv[1], entry->d_name);
        FILE *file = fopen(path, "rb");
        if (!file) {
            perror(path);
            return 1;
        }
        size_t len = fread(data, 1, sizeof(data), file);
        fclose(file);
        run_copy(data, len);
        run_mutations(data, len);
        file_count++;
    }
    closedir(dir);
    printf("%d files replayed\n", file_count);
    return file_count > 0 ? 0 : 1;
}
