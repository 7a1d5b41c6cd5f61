/* Sweeps over the metadata of a small model: cut at every byte, and each byte set to 00 and FF, its top bit turned over, and one
 * more. Whatever the loader says, it says it within a second, and nothing crashes. A plain program: the inputs run in a child, so
 * that the one that ends it can be named. */
#include "catalogue.h"
#include "hparams.h"
#include "vocab.h"
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SECONDS_MAX 1.0

enum { CUT, ZERO, ONES, TOP_BIT, PLUS_ONE, N_CHANGES };
static const char *const changes[N_CHANGES] = {"cut", "set to 00", "set to ff", "top bit turned over", "plus one"};

/* Shared with the child. */
struct progress {
    _Atomic size_t at, change, n_inputs, n_accepted;
    _Atomic int64_t slowest_ns;
};

/* Of our own time: others may keep the machine busy. */
static int64_t now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* From an allocation of exactly its size, so that a sanitizer sees every byte beyond. */
static bool load(const uint8_t *bytes, size_t size)
{
    static struct hearth_hparams hparams;
    struct hearth_gguf gguf;
    struct hearth_vocab vocab;
    hearth_error err = {0};
    uint8_t *exact = malloc(size > 0 ? size : 1);
    if (!exact)
        abort();
    memcpy(exact, bytes, size);
    hearth_status status = hearth_gguf_parse(&gguf, exact, size, size, "sweep.gguf", &err);
    if (status == HEARTH_OK)
        status = hearth_hparams_read(&hparams, &gguf, &err);
    if (status == HEARTH_OK)
        status = hearth_vocab_read(&vocab, &gguf, hparams.n_vocab, NULL, NULL, &err);
    hearth_gguf_free(&gguf);
    free(exact);
    if (status != HEARTH_OK && (err.code != status || !err.message[0] || !err.detail[0]))
        abort(); /* a refusal without a reason */
    return status == HEARTH_OK;
}

static uint8_t changed(uint8_t byte, size_t change)
{
    const uint8_t results[N_CHANGES] = {[ZERO] = 0, [ONES] = 0xff, [TOP_BIT] = byte ^ 0x80u, [PLUS_ONE] = (uint8_t)(byte + 1)};
    return results[change];
}

static void sweep(struct progress *p, uint8_t *bytes, size_t size, size_t end)
{
    for (size_t at = 0; at < end; at++)
        for (size_t change = CUT; change < N_CHANGES; change++) {
            const uint8_t byte = bytes[at];
            p->at = at;
            p->change = change;
            if (change != CUT)
                bytes[at] = changed(byte, change);
            const int64_t begin = now_ns();
            p->n_accepted += load(bytes, change == CUT ? at : size);
            const int64_t ns = now_ns() - begin;
            bytes[at] = byte;
            p->n_inputs++;
            if (ns > p->slowest_ns)
                p->slowest_ns = ns;
        }
}

int main(void)
{
    size_t size;
    size_t directory_end;
    size_t data_start;
    int state;
    uint8_t *bytes = catalogue_base(&size, &directory_end, &data_start);
    struct progress *p = mmap(NULL, sizeof *p, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return 1;
    const pid_t child = fork();
    if (child == 0) {
        sweep(p, bytes, size, directory_end);
        free(bytes);
        exit(0);
    }
    free(bytes);
    if (child < 0 || waitpid(child, &state, 0) != child)
        return 1;
    const bool whole = WIFEXITED(state) && WEXITSTATUS(state) == 0 && p->n_inputs == directory_end * N_CHANGES;
    const double slowest = (double)p->slowest_ns * 1e-9;
    (void)printf("%zu inputs from %zu bytes of metadata, %zu accepted; slowest %.1f ms\n", p->n_inputs, directory_end,
                 p->n_accepted, slowest * 1e3);
    if (!whole)
        (void)printf("FAILED: byte %zu, %s: the child ended (status %#x)\n", p->at, changes[p->change], (unsigned)state);
    return whole && slowest < SECONDS_MAX ? 0 : 1;
}
