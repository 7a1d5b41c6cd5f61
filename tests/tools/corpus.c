/* The corpus of malformed files through the program: every row of the catalogue, rows of the engine and of the file system, each by
 * `hearth check` in a fresh process with limits. The exit code, the name of the check, one printable line on standard error and
 * nothing on standard output are compared; time and memory are bounded. Files that are good must be accepted. A plain program,
 * because it starts others and measures them. */
#include "catalogue.h"
#include "common/block_format.h"
#include "gguf_builder.h"
#include "memory_source.h"
#include "shapes.h"
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RSS_MAX_KIB 65536
#define CPU_SECONDS_MAX 1.0 /* others may keep the machine busy */
#define CPU_SECONDS 5
#define READ_MAX (2u << 20) /* of a huge file that is refused */
#define ADDRESS_SPACE ((rlim_t)2 << 30)

/* What came of one start. */
struct outcome {
    int code; /* -signal where one ended it */
    double seconds, cpu_seconds;
    long rss_kib;
    char out[4096], err[4096];
};

struct want {
    int code;
    const char *detail, *mention; /* NULL: not looked at */
};

static const char *program;
static bool sanitized;
static unsigned n_rows, n_good, n_failures;
static double slowest;
static long largest;
static struct gguf_builder builder; /* too large for the stack */

static void need(bool holds, const char *what)
{
    if (holds)
        return;
    perror(what);
    exit(1);
}

/* ---- Starting -------------------------------------------------------------------------------------------------------- */

/* hearth check with this way of --verify; NULL: the model's chat template writes a message down instead. */
static void become_check(const char *verify, const char *path, bool huge, int out, int err)
{
    const int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
    const struct rlimit none = {0}, time = {CPU_SECONDS, CPU_SECONDS}, space = {ADDRESS_SPACE, ADDRESS_SPACE};
    (void)setrlimit(RLIMIT_CORE, &none);
    if (!sanitized)
        (void)setrlimit(RLIMIT_CPU, &time);
    if (!sanitized && !huge) /* a map of a huge file is no memory */
        (void)setrlimit(RLIMIT_AS, &space);
    (void)alarm(300); /* stays over exec */
    if (dup2(in, 0) == 0 && dup2(out, 1) == 1 && dup2(err, 2) == 2) {
        if (verify)
            (void)execl(program, program, "check", "--verify", verify, path, (char *)NULL);
        else
            (void)execl(program, program, "template", "-m", path, "--messages", "messages.json", (char *)NULL);
    }
    _exit(127);
}

static void read_back(int fd, char text[4096])
{
    const ssize_t n = pread(fd, text, 4095, 0);
    text[n > 0 ? n : 0] = '\0';
    (void)close(fd);
}

static struct outcome start(const char *verify, const char *path, bool huge)
{
    struct outcome o = {0};
    struct timespec begin, end;
    struct rusage usage;
    int state;
    const int out = memfd_create("out", MFD_CLOEXEC), err = memfd_create("err", MFD_CLOEXEC);
    need(out >= 0 && err >= 0, "memfd_create");
    (void)clock_gettime(CLOCK_MONOTONIC, &begin);
    const pid_t child = fork();
    need(child >= 0, "fork");
    if (child == 0)
        become_check(verify, path, huge, out, err);
    need(wait4(child, &state, 0, &usage) == child, "wait4");
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    o.code = WIFEXITED(state) ? WEXITSTATUS(state) : -WTERMSIG(state);
    o.seconds = (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) * 1e-9;
    o.cpu_seconds =
        (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
    o.rss_kib = usage.ru_maxrss;
    read_back(out, o.out);
    read_back(err, o.err);
    return o;
}

/* ---- Judging --------------------------------------------------------------------------------------------------------- */

static const char *fault(const struct outcome *o, const struct want *want)
{
    char detail[32];
    if (o->code != want->code)
        return "exit code";
    for (const char *c = o->err; *c; c++)
        if (((unsigned char)*c < 0x20 && *c != '\n') || *c == 0x7f)
            return "a control byte on standard error";
    if (want->mention && !strstr(o->err, want->mention))
        return "what the message says";
    if (!sanitized && (o->cpu_seconds > CPU_SECONDS_MAX || o->rss_kib > RSS_MAX_KIB))
        return "time or memory";
    if (want->code == 0)
        return o->out[0] ? NULL : "nothing was said of a good file";
    const char *line = strchr(o->err, '\n');
    if (!line || line[1] || line - o->err > 400)
        return "not one line on standard error";
    if (o->out[0] && want->code != 5)
        return "something on standard output";
    (void)snprintf(detail, sizeof detail, " [%s]\n", want->detail ? want->detail : "E_");
    return want->detail && !strstr(o->err, detail) ? "the name of the check" : NULL;
}

static void judge(const char *id, const struct outcome *o, const struct want *want)
{
    const char *wrong = fault(o, want);
    n_rows++;
    n_good += want->code == 0;
    slowest = o->seconds > slowest ? o->seconds : slowest;
    largest = o->rss_kib > largest ? o->rss_kib : largest;
    (void)printf("%-24s %3d %-12s %7.1f ms %6.1f MiB\n", id, o->code, want->detail ? want->detail : "", o->seconds * 1e3,
                 (double)o->rss_kib / 1024);
    if (!wrong)
        return;
    n_failures++;
    (void)printf("FAILED: %s: %s: exit code %d (need %d, [%s], '%s'): %s\n", id, wrong, o->code, want->code,
                 want->detail ? want->detail : "any", want->mention ? want->mention : "", o->err);
}

static void check_path(const char *id, const char *path, struct want want)
{
    const struct outcome o = start("off", path, false);
    judge(id, &o, &want);
}

static void write_bytes(const char *path, const void *bytes, size_t n)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    need(fd >= 0 && write(fd, bytes, n) == (ssize_t)n && close(fd) == 0, path);
}

/* ---- The catalogue --------------------------------------------------------------------------------------------------- */

/* Rows that the loader takes, and in which the engine finds more. */
static const struct {
    const char *id;
    struct want want;
} beyond[] = {
    {"P25 kv", {3, "E_SHAPE", "blk.0.attn_k.weight"}}, /* as many heads as of queries: another shape */
    {"V22", {3, "E_SHAPE", "output.weight"}},
    {"rows", {3, "E_MISSING", "ffn_gate_inp"}},
};

static void check_row(const struct catalogue_row *row, void *user)
{
    (void)user;
    struct want want = {hearth_status_exit_code(row->status), row->detail, row->mention};
    for (size_t i = 0; i < sizeof beyond / sizeof beyond[0]; i++)
        if (strcmp(beyond[i].id, row->id) == 0)
            want = beyond[i].want;
    write_bytes("row.gguf", row->bytes, row->size);
    check_path(row->id, "row.gguf", want);
}

/* ---- Tensors, templates, numbers ------------------------------------------------------------------------------------- */

static void begin(const struct gguf_shape *shape)
{
    gguf_builder_free(&builder);
    gguf_builder_add_llama(&builder, shape);
}

static void check_builder(const char *id, struct want want)
{
    gguf_builder_write_file(&builder, "row.gguf");
    check_path(id, "row.gguf", want);
}

static void check_missing_tensors(void)
{
    begin(NULL);
    const size_t n = builder.n_tensors;
    for (size_t i = 0; i < n; i++) {
        char name[80], id[96];
        begin(NULL);
        (void)snprintf(name, sizeof name, "%s", builder.tensors[i].name);
        if (strcmp(name, "output.weight") == 0) /* optional */
            continue;
        gguf_builder_drop_tensor(&builder, name);
        (void)snprintf(id, sizeof id, "P26 %.20s", name);
        check_builder(id, (struct want){3, "E_MISSING", name});
    }
    begin(NULL);
    gguf_builder_set_u32(&builder, "llama.block_count", 3);
    check_builder("P03", (struct want){3, "E_MISSING", "blk.2."});
}

static void check_shapes(void)
{
    static const struct {
        const char *id, *name;
        uint32_t format, n_dims;
        uint64_t ne[3];
        struct want want;
    } rows[] = {
        {"P27", "output_norm.weight", HEARTH_F32, 1, {65}, {3, "E_SHAPE", "output_norm.weight"}},
        {"P28", "blk.1.attn_k.weight", HEARTH_F32, 2, {32, 64}, {3, "E_SHAPE", "blk.1.attn_k.weight"}},
        {"P16 ffn_up", "blk.0.ffn_up.weight", HEARTH_F32, 2, {64, 97}, {3, "E_SHAPE", "blk.0.ffn_up.weight"}},
        {"P29", "blk.0.attn_norm.weight", HEARTH_Q8_0, 1, {64}, {3, "E_TTYPE", "blk.0.attn_norm.weight"}},
        {"T06", "stray.weight", HEARTH_F32, 1, {7}, {0, NULL, "not used"}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        begin(NULL);
        gguf_builder_set_tensor(&builder, rows[i].name, rows[i].format, rows[i].n_dims, rows[i].ne);
        check_builder(rows[i].id, rows[i].want);
    }
}

static void check_template(const char *id, const char *text, struct want want)
{
    begin(NULL);
    gguf_builder_set_string(&builder, "tokenizer.chat_template", text);
    check_builder(id, want);
}

/* What only shows when a template runs. */
static void check_rendering(void)
{
    static const struct {
        const char *id, *text;
        struct want want;
    } rows[] = {
        {"C05", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", {4, "E_LIMIT", "inside each other"}},
        {"C06 list", "{{ range(1000000000)|list }}", {4, "E_LIMIT", NULL}},
        {"C06 loop", "{% for i in range(1000000000) %}{% endfor %}", {4, "E_LIMIT", NULL}},
        {"C07", "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}", {4, "E_LIMIT", NULL}},
        {"C08", "{{ 'a' * 10**9 }}", {4, "E_LIMIT", NULL}},
        {"C render", "{% for m in messages %}{{ m.content }}{% endfor %}", {0, NULL, NULL}},
    };
    static const char messages[] = "[{\"role\":\"user\",\"content\":\"hi\"}]";
    write_bytes("messages.json", (const uint8_t *)messages, sizeof messages - 1);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        begin(NULL);
        gguf_builder_set_string(&builder, "tokenizer.chat_template", rows[i].text);
        gguf_builder_write_file(&builder, "row.gguf");
        const struct outcome o = start(NULL, "row.gguf", false);
        judge(rows[i].id, &o, &rows[i].want);
    }
}

static void check_templates(void)
{
    const size_t n = (size_t)2 << 20;
    char *text = malloc(n + 1);
    need(text != NULL, "malloc");
    memset(text, 'a', n);
    text[n] = '\0';
    check_template("C02", text, (struct want){4, "E_LIMIT", "chat template"});
    memset(text, '(', 100000);
    memcpy(text, "{{ ", 3);
    text[100000] = '\0';
    check_template("C04", text, (struct want){4, "E_LIMIT", "chat template"});
    free(text);
    check_template("C open", "{% if 1 %}", (struct want){3, "E_TEMPLATE", "chat template"});
    check_template("C11", "{{ 'a' }}\n\xff\xfe", (struct want){3, "E_TEMPLATE", "line 2: bytes that are no UTF-8"});
    check_template("C10 include", "{% include 'a' %}", (struct want){3, "E_TEMPLATE", "include"});
    check_template("C10 import", "{% import 'a' as b %}", (struct want){3, "E_TEMPLATE", "import"});
    check_template("C10 extends", "{% extends 'a' %}", (struct want){3, "E_TEMPLATE", "extends"});
    check_template("C good", "{% for m in messages %}{{ m.content }}{% endfor %}", (struct want){0, NULL, NULL});
}

/* A vocabulary of bytes and one merge. */
static void begin_bpe(void)
{
    begin(NULL);
    gguf_builder_add_bpe_vocabulary(&builder);
    gguf_builder_find_tensor(&builder, "token_embd.weight")->ne[1] = 258;
    gguf_builder_find_tensor(&builder, "output.weight")->ne[1] = 258;
}

/* The tensors' data in the other order, each where its offset says. */
static void check_descending_offsets(void)
{
    size_t size;
    struct hearth_gguf gguf;
    begin(NULL);
    uint8_t *file = gguf_builder_finish(&builder, &size);
    uint8_t *moved = malloc(size);
    need(moved && hearth_gguf_parse(&gguf, file, size, size, "row.gguf", NULL) == HEARTH_OK, "the base is not valid");
    memcpy(moved, file, size);
    const uint64_t data = gguf.tensors[0].file_offset;
    uint64_t end = 0;
    for (uint64_t i = gguf.n_tensors; i-- > 0;) {
        const struct hearth_gguf_tensor *t = &gguf.tensors[i];
        uint8_t *offset = moved + (t->name.bytes - file) + t->name.size + 4 + 8 * t->n_dims + 4;
        memcpy(offset, &end, sizeof end);
        memcpy(moved + data + end, file + t->file_offset, t->bytes);
        end += (t->bytes + 31) / 32 * 32;
    }
    hearth_gguf_free(&gguf);
    write_bytes("row.gguf", moved, size);
    free(file);
    free(moved);
    const struct outcome o = start("full", "row.gguf", false);
    judge("T34", &o, &(struct want){0, NULL, NULL});
}

static void check_more(void)
{
    begin_bpe();
    gguf_builder_find(&builder, "tokenizer.ggml.merges")->count = (uint64_t)1 << 31;
    check_builder("V29", (struct want){3, "E_ARR", NULL});
    begin_bpe();
    gguf_builder_set_string(&builder, "tokenizer.ggml.pre", "zzz");
    check_builder("V31", (struct want){4, NULL, "zzz"});
    begin(&(struct gguf_shape){.n_expert = 4, .n_expert_used = 2});
    gguf_builder_find_tensor(&builder, "blk.0.ffn_up_exps.weight")->ne[2] = 3;
    check_builder("P32", (struct want){3, "E_SHAPE", "blk.0.ffn_up_exps.weight"});
    begin(&(struct gguf_shape){.n_expert = 4, .n_expert_used = 2});
    check_builder("P32 good", (struct want){0, NULL, NULL});
    begin(NULL);
    gguf_builder_add_spm_vocabulary(&builder, 1);
    gguf_builder_drop(&builder, "tokenizer.ggml.bos_token_id");
    gguf_builder_drop(&builder, "tokenizer.ggml.eos_token_id");
    gguf_builder_find_tensor(&builder, "token_embd.weight")->ne[1] = 1;
    gguf_builder_find_tensor(&builder, "output.weight")->ne[1] = 1;
    check_builder("V34", (struct want){0, NULL, NULL});
    check_descending_offsets();
}

/* A half float (or two bytes of another number) of the fourth block that is not finite: found only by who reads it. */
static void check_number(const char *id, enum hearth_format format, uint16_t bits, size_t at)
{
    size_t size;
    uint64_t n;
    char name[64];
    begin(&(struct gguf_shape){.n_layer = 1, .n_embd = 256, .n_ff = 256, .format = format});
    uint8_t *file = gguf_builder_finish(&builder, &size);
    uint8_t *data = memory_source_tensor(file, size, "blk.0.ffn_up.weight", &n);
    need(data != NULL, "no tensor");
    memcpy(data + (size_t)3 * hearth_format_info((uint32_t)format)->block_bytes + at, &bits, 2);
    write_bytes("row.gguf", file, size);
    free(file);
    const struct outcome full = start("full", "row.gguf", false), off = start("off", "row.gguf", false);
    judge(id, &full, &(struct want){3, "E_NUM", "'blk.0.ffn_up.weight': block 3 is not finite or absurdly large"});
    (void)snprintf(name, sizeof name, "%s not read", id);
    judge(name, &off, &(struct want){0, NULL, NULL});
}

static void check_numbers(void)
{
    check_number("N01 Q4_K", HEARTH_Q4_K, 0x7e00, 2);
    check_number("N02 Q8_0", HEARTH_Q8_0, 0x7c00, 0);
    check_number("N02 Q6_K", HEARTH_Q6_K, 0xfc00, 208);
    check_number("N04 BF16", HEARTH_BF16, 0x7fc0, 0);
    check_number("N04 F32", HEARTH_F32, 0x7fc0, 2);
    check_number("N05 Q4_0", HEARTH_Q4_0, 0x7bff, 0);
    check_number("N05 Q5_K minimum", HEARTH_Q5_K, 0xfbff, 2);
    check_number("N05 BF16", HEARTH_BF16, 0x7180, 0);
    check_number("N05 F32", HEARTH_F32, 0xf180, 2);
    begin(NULL);
    gguf_builder_write_file(&builder, "row.gguf");
    const struct outcome o = start("full", "row.gguf", false);
    judge("N all finite", &o, &(struct want){0, NULL, NULL});
}

/* ---- Split models and the file system ---------------------------------------------------------------------------------- */

static const char *part_path(uint16_t number)
{
    static char path[64];
    (void)snprintf(path, sizeof path, "model-%05u-of-00003.gguf", number + 1u);
    return path;
}

static void write_parts(void)
{
    for (uint16_t i = 0; i < 3; i++) {
        begin(NULL);
        gguf_builder_make_part(&builder, i, 3);
        gguf_builder_write_file(&builder, part_path(i));
    }
}

static void check_parts(void)
{
    static const struct {
        const char *id, *key;
        enum hearth_gguf_type type;
        uint32_t value;
        struct want want;
    } rows[] = {
        {"S03", "split.no", HEARTH_GGUF_U16, 2, {3, "E_SPLIT", "(part 2 of 3)"}},
        {"S04", "split.count", HEARTH_GGUF_U16, 2, {3, "E_SPLIT", "(part 2 of 3)"}},
        {"S05 0", "split.count", HEARTH_GGUF_U16, 0, {3, "E_SPLIT", "(part 2 of 3)"}},
        {"S05 65535", "split.count", HEARTH_GGUF_U16, 65535, {3, "E_SPLIT", "(part 2 of 3)"}},
        {"S06", "split.tensors.count", HEARTH_GGUF_I32, 5, {3, "E_SPLIT", "(part 2 of 3)"}},
        {"S10", "split.no", HEARTH_GGUF_U32, 1, {3, "E_KVTYPE", "split.no"}},
    };
    struct stat info;
    write_parts();
    check_path("S good", part_path(0), (struct want){0, NULL, NULL});
    check_path("S02", part_path(1), (struct want){3, "E_SPLIT", "start with part 1: model-00001-of-00003.gguf"});
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        begin(NULL);
        gguf_builder_make_part(&builder, 1, 3);
        gguf_builder_set(&builder, rows[i].key, rows[i].type, &rows[i].value); /* the low bytes come first */
        gguf_builder_write_file(&builder, part_path(1));
        check_path(rows[i].id, part_path(0), rows[i].want);
    }
    begin(&(struct gguf_shape){.n_layer = 1, .n_embd = 64, .n_ff = 96, .format = HEARTH_F32}); /* has one layer less */
    gguf_builder_make_part(&builder, 1, 3);
    gguf_builder_write_file(&builder, part_path(1));
    check_path("S08", part_path(0), (struct want){3, NULL, NULL});
    begin(NULL);
    builder.alignment = 4096;
    gguf_builder_make_part(&builder, 1, 3);
    gguf_builder_write_file(&builder, part_path(1));
    check_path("S11", part_path(0), (struct want){0, NULL, NULL});
    write_parts();
    need(stat(part_path(1), &info) == 0 && truncate(part_path(1), info.st_size - 1) == 0, "truncate");
    check_path("S09", part_path(0), (struct want){3, "E_EXTENT", "(part 2 of 3)"});
}

static void check_file_system(void)
{
    static char name[5001];
    const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "socket"};
    begin(NULL);
    gguf_builder_write_file(&builder, "good.gguf");
    check_path("F01", "absent", (struct want){6, "E_NOT_FOUND", NULL});
    check_path("F02", ".", (struct want){6, "E_IO", "directory"});
    need(mkfifo("fifo", 0600) == 0, "mkfifo");
    check_path("F03", "fifo", (struct want){6, "E_IO", "not a regular file"});
    check_path("F04 zero", "/dev/zero", (struct want){6, "E_IO", "not a regular file"});
    check_path("F04 random", "/dev/random", (struct want){6, "E_IO", "not a regular file"});
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    need(fd >= 0 && bind(fd, (const struct sockaddr *)&address, sizeof address) == 0, "socket");
    check_path("F05", "socket", (struct want){6, "E_IO", NULL});
    (void)close(fd);
    need(symlink("nowhere", "dangling") == 0 && symlink("loop", "loop") == 0 && symlink("good.gguf", "link") == 0, "symlink");
    check_path("F07 dangling", "dangling", (struct want){6, "E_NOT_FOUND", NULL});
    check_path("F07 loop", "loop", (struct want){6, "E_IO", NULL});
    check_path("F08", "link", (struct want){0, NULL, NULL});
    memset(name, 'n', sizeof name - 1);
    check_path("F09 5000", name, (struct want){6, "E_IO", NULL});
    check_path("F09 bytes", "a\n\x1b[2J\xff", (struct want){6, "E_NOT_FOUND", "\\x1b"});
    check_path("F10", "/proc/version", (struct want){3, "E_TRUNC", "empty"});
    static const uint8_t zeroes[60000];
    write_bytes("row.gguf", zeroes, sizeof zeroes);
    check_path("F17", "row.gguf", (struct want){3, "E_MAGIC", "zeroes"});
}

/* ---- Huge files ------------------------------------------------------------------------------------------------------ */

/* Bytes of the file that are in memory after it was read. */
static uint64_t resident(int fd, size_t size)
{
    static unsigned char pages[1 << 16];
    uint64_t n = 0;
    const size_t step = sizeof pages * 4096;
    for (size_t at = 0; at < size; at += step) {
        const size_t bytes = size - at < step ? size - at : step;
        void *map = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, (off_t)at);
        need(map != MAP_FAILED && mincore(map, bytes, pages) == 0, "mincore");
        for (size_t i = 0; i < (bytes + 4095) / 4096; i++)
            n += pages[i] & 1u;
        (void)munmap(map, bytes);
    }
    return n * 4096;
}

/* A sparse file of about 40 GB with the header of a real shape, one byte short: refused after a look at the header. */
static void check_huge(void)
{
    hearth_error err = {0};
    uint8_t *header;
    size_t size;
    uint64_t data;
    need(hearth_shape_header(hearth_shape_find("mixtral-8x7b"), "Q6_K", &header, &size, &data, &err) == HEARTH_OK, err.message);
    write_bytes("huge.gguf", header, size);
    free(header);
    const int fd = open("huge.gguf", O_RDWR | O_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)(size + data - 1)) != 0) {
        (void)puts("note: no sparse file of 40 GB can be made here; that row is left out");
        (void)close(fd);
        return;
    }
    (void)fsync(fd);
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    const struct outcome o = start("full", "huge.gguf", true);
    judge("40 GB, short", &o, &(struct want){3, "E_EXTENT", "short by 1 byte"});
    const uint64_t read = resident(fd, size + data - 1);
    (void)printf("refused %.1f GB in %.1f ms, its header %.2f MiB, with read-ahead %.2f MiB in memory\n",
                 (double)(size + data) * 1e-9, o.seconds * 1e3, (double)size / 1048576, (double)read / 1048576);
    if (read >= READ_MAX) {
        (void)printf("FAILED 40 GB, short: more than %u bytes were read\n", READ_MAX);
        n_failures++;
    }
    /* Whole, with tensors far beyond 4 GiB, it is a model: one that does not fit, where there is not so much memory. */
    need(ftruncate(fd, (off_t)(size + data)) == 0, "ftruncate");
    const struct outcome whole = start("off", "huge.gguf", true);
    judge("T37, T38", &whole, &(struct want){whole.code == 0 ? 0 : 5, NULL, NULL});
    (void)close(fd);
}

int main(void)
{
    char folder[] = "/tmp/hearth-corpus-XXXXXX";
    const char *sanitize = getenv("HEARTH_SANITIZE");
    program = getenv("HEARTH");
    sanitized = sanitize && *sanitize;
    if (!program) {
        (void)puts("skipped: HEARTH does not name the program");
        return 77;
    }
    need(mkdtemp(folder) != NULL && chdir(folder) == 0, folder);
    catalogue_walk(check_row, NULL);
    check_missing_tensors();
    check_shapes();
    check_templates();
    check_more();
    check_rendering();
    check_numbers();
    check_parts();
    check_file_system();
    check_huge();
    gguf_builder_free(&builder);
    (void)printf("%u rows, %u of them good files, %u failures; slowest %.1f ms, largest %.1f MiB\n", n_rows, n_good, n_failures,
                 slowest * 1e3, (double)largest / 1024);
    const char *const left[] = {"row.gguf", "good.gguf", "fifo",      "socket",       "dangling",
                                "loop",     "link",      "huge.gguf", "messages.json"};
    for (size_t i = 0; i < sizeof left / sizeof left[0]; i++)
        (void)unlink(left[i]);
    for (uint16_t i = 0; i < 3; i++)
        (void)unlink(part_path(i));
    need(chdir("/") == 0 && rmdir(folder) == 0, folder);
    return n_failures == 0 && n_rows > 250 ? 0 : 1;
}
