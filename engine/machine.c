/* Memory, quota and fork facts from the system; see machine.h.
 *
 * A cgroup limit may sit on any ancestor, so each question is asked at the group of this process and at every parent up to the
 * mount. Inside a container /proc/self/cgroup often names a path of the host that does not exist here; the walk then ends at the
 * mount, which is the container's own group. That is why missing files are passed over and no mount table is read. */
#include "machine.h"
#include "common/status.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#define PATH_BYTES 4608 /* the longest path of a cgroup and what stands around it */
#define LINE_BYTES 4608
#define MOUNT "/sys/fs/cgroup"
#define KIB 1024u

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18 /* Linux 4.14 */
#endif

/* A file read line by line through a fixed buffer. Lines that do not fit are passed over. */
struct lines {
    int fd;
    size_t begin;
    size_t end;
    char bytes[LINE_BYTES];
};

static bool lines_open(struct lines *l, const char *path)
{
    l->begin = l->end = 0;
    l->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    return l->fd >= 0;
}

static void lines_close(struct lines *l)
{
    (void)close(l->fd);
}

/* Move what is left to the front and read on; 0 at the end of the file. */
static size_t lines_fill(struct lines *l)
{
    memmove(l->bytes, l->bytes + l->begin, l->end - l->begin);
    l->end -= l->begin;
    l->begin = 0;
    ssize_t n;
    do
        n = read(l->fd, l->bytes + l->end, sizeof l->bytes - 1 - l->end);
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        return 0;
    l->end += (size_t)n;
    return (size_t)n;
}

/* The next line without its newline, NUL-terminated, valid until the next call; NULL at the end. */
static char *lines_next(struct lines *l)
{
    bool skip = false;
    for (;;) {
        char *line = l->bytes + l->begin;
        char *newline = memchr(line, '\n', l->end - l->begin);
        if (newline) {
            *newline = '\0';
            l->begin = (size_t)(newline - l->bytes) + 1;
            if (!skip)
                return line;
            skip = false;
            continue;
        }
        if (l->end - l->begin == sizeof l->bytes - 1) {
            l->begin = l->end;
            skip = true;
        }
        if (lines_fill(l) > 0)
            continue;
        if (skip || l->begin == l->end)
            return NULL;
        l->bytes[l->end] = '\0'; /* fill leaves a byte free */
        line = l->bytes + l->begin;
        l->begin = l->end;
        return line;
    }
}

/* Decimal digits after blanks; *text moves behind them. False when there are none ("max", "-1"). Too large becomes UINT64_MAX. */
static bool parse_u64(const char **text, uint64_t *out)
{
    const char *p = *text;
    while (*p == ' ' || *p == '\t')
        p++;
    if (*p < '0' || *p > '9')
        return false;
    uint64_t value = 0;
    for (; *p >= '0' && *p <= '9'; p++)
        if (__builtin_mul_overflow(value, 10u, &value) || __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value)) {
            value = UINT64_MAX;
            break;
        }
    while (*p >= '0' && *p <= '9')
        p++;
    *text = p;
    *out = value;
    return true;
}

static bool join(char out[PATH_BYTES], const char *a, const char *b, const char *c)
{
    const int n = snprintf(out, PATH_BYTES, "%s%s%s", a, b, c);
    return n >= 0 && n < PATH_BYTES;
}

/* The first line of dir/name holds up to two numbers; how many there are. */
static int read_numbers(const char *dir, const char *name, uint64_t *a, uint64_t *b)
{
    char path[PATH_BYTES];
    struct lines l;
    if (!join(path, dir, "/", name) || !lines_open(&l, path))
        return 0;
    int n = 0;
    const char *line = lines_next(&l);
    if (line && parse_u64(&line, a))
        n = parse_u64(&line, b) ? 2 : 1;
    lines_close(&l);
    return n;
}

static bool read_number(const char *dir, const char *name, uint64_t *out)
{
    uint64_t second;
    return read_numbers(dir, name, out, &second) > 0;
}

/* The sum of the numbers that stand behind the names in a file of "name number" lines; *found says whether any did. */
static uint64_t sum_of_fields(const char *path, const char *const names[], size_t n_names, bool *found)
{
    uint64_t sum = 0;
    *found = false;
    struct lines l;
    if (!lines_open(&l, path))
        return 0;
    for (const char *line; (line = lines_next(&l)) != NULL;)
        for (size_t i = 0; i < n_names; i++) {
            const size_t length = strlen(names[i]);
            const char *rest = line + length;
            uint64_t value;
            /* Where the name is the line's beginning, there is a byte behind it: the line's NUL, if no other. */
            /* NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult) */
            if (strncmp(line, names[i], length) != 0 || (*rest != ' ' && *rest != '\t') || !parse_u64(&rest, &value))
                continue;
            *found = true;
            if (__builtin_add_overflow(sum, value, &sum))
                sum = UINT64_MAX;
        }
    lines_close(&l);
    return sum;
}

static bool list_has(const char *list, const char *end, const char *word)
{
    const size_t length = strlen(word);
    for (const char *p = list; p < end;) {
        const char *comma = memchr(p, ',', (size_t)(end - p));
        const char *stop = comma ? comma : end;
        if ((size_t)(stop - p) == length && memcmp(p, word, length) == 0)
            return true;
        p = stop + 1;
    }
    return false;
}

/* One question asked at one group: lowers *least where the group sets a limit. */
typedef void group_fn(const char *dir, uint64_t *least);

/* Ask at mount + group and at each parent up to the mount. A group that lies outside of our cgroup namespace is written with "/..";
 * of such a path only the mount can be seen from here. */
static void ask_upwards(const char *root, const char *mount, const char *group, group_fn *ask, uint64_t *least)
{
    char dir[PATH_BYTES];
    const bool outside = strncmp(group, "/..", 3) == 0;
    if (!join(dir, root, mount, outside ? "" : group))
        return;
    const size_t top = strlen(root) + strlen(mount);
    for (size_t end = strlen(dir);; end--) {
        if (end == top || (dir[end] == '\0' || dir[end] == '/')) {
            dir[end] = '\0';
            ask(dir, least);
        }
        if (end == top)
            return;
    }
}

/* The smallest limit over the cgroups of this process. A line of /proc/self/cgroup is "id:controllers:path"; version 2 has id 0 and
 * no controllers. A version 1 hierarchy is mounted under its list of controllers, and under each single one by symbolic link. */
static uint64_t ask_cgroups(const char *root, const char *controller, group_fn *ask_v1, group_fn *ask_v2)
{
    uint64_t least = UINT64_MAX;
    char path[PATH_BYTES];
    struct lines l;
    if (!join(path, root, "/proc/self/cgroup", "") || !lines_open(&l, path))
        return least;
    for (char *line; (line = lines_next(&l)) != NULL;) {
        char *list = strchr(line, ':');
        char *group = list ? strchr(++list, ':') : NULL;
        if (!group || group[1] != '/')
            continue;
        *group++ = '\0';
        if (*list == '\0') {
            ask_upwards(root, MOUNT, group, ask_v2, &least);
            ask_upwards(root, MOUNT "/unified", group, ask_v2, &least);
        } else if (list_has(list, list + strlen(list), controller)) {
            char mount[128];
            const int n = snprintf(mount, sizeof mount, MOUNT "/%s", list);
            if (n > 0 && (size_t)n < sizeof mount)
                ask_upwards(root, mount, group, ask_v1, &least);
            (void)snprintf(mount, sizeof mount, MOUNT "/%s", controller);
            ask_upwards(root, mount, group, ask_v1, &least);
        }
    }
    lines_close(&l);
    return least;
}

static void keep_least(uint64_t *least, uint64_t value)
{
    if (value < *least)
        *least = value;
}

static void quota_v1(const char *dir, uint64_t *least)
{
    uint64_t quota;
    uint64_t period;
    if (read_number(dir, "cpu.cfs_quota_us", &quota) && read_number(dir, "cpu.cfs_period_us", &period) && period > 0)
        keep_least(least, quota / period);
}

static void quota_v2(const char *dir, uint64_t *least)
{
    uint64_t quota;
    uint64_t period;
    if (read_numbers(dir, "cpu.max", &quota, &period) == 2 && period > 0)
        keep_least(least, quota / period);
}

uint32_t hearth_machine_cpu_quota(const char *root)
{
    const uint64_t cpus = ask_cgroups(root, "cpu", quota_v1, quota_v2);
    if (cpus == UINT64_MAX)
        return 0;
    if (cpus == 0)
        return 1;
    return cpus < UINT32_MAX ? (uint32_t)cpus : UINT32_MAX;
}

/* What the group may still take: file pages count as used, but the kernel drops them before it kills. Only the two lists of file
 * pages are taken as droppable; shared memory, which counts as "cache" too, is not on them. */
static void memory_left(const char *dir, const char *limit_name, const char *usage_name, const char *const cache_names[2],
                        uint64_t *least)
{
    uint64_t limit;
    uint64_t usage;
    if (!read_number(dir, limit_name, &limit))
        return;
    if (!read_number(dir, usage_name, &usage))
        usage = 0;
    char path[PATH_BYTES];
    bool found;
    const uint64_t cache = join(path, dir, "/memory.stat", "") ? sum_of_fields(path, cache_names, 2, &found) : 0;
    const uint64_t held = usage > cache ? usage - cache : 0;
    keep_least(least, limit > held ? limit - held : 0);
}

static void memory_v1(const char *dir, uint64_t *least)
{
    static const char *const cache[2] = {"total_inactive_file", "total_active_file"};
    memory_left(dir, "memory.limit_in_bytes", "memory.usage_in_bytes", cache, least);
}

static void memory_v2(const char *dir, uint64_t *least)
{
    static const char *const cache[2] = {"inactive_file", "active_file"};
    memory_left(dir, "memory.max", "memory.current", cache, least);
}

static uint64_t kib_to_bytes(uint64_t kib)
{
    return kib > UINT64_MAX / KIB ? UINT64_MAX : kib * KIB;
}

/* Without /proc the free memory of sysinfo serves: less than what is available, never more. */
static uint64_t machine_memory(const char *root)
{
    static const char *const name[1] = {"MemAvailable:"};
    char path[PATH_BYTES];
    bool found = false;
    const uint64_t kib = join(path, root, "/proc/meminfo", "") ? sum_of_fields(path, name, 1, &found) : 0;
    if (found)
        return kib_to_bytes(kib);
    struct sysinfo info;
    return sysinfo(&info) == 0 ? (uint64_t)info.freeram * info.mem_unit : 0;
}

uint64_t hearth_machine_available_memory(const char *root)
{
    uint64_t least = machine_memory(root);
    keep_least(&least, ask_cgroups(root, "memory", memory_v1, memory_v2));
    return least;
}

uint64_t hearth_machine_default_cap(uint64_t available)
{
    const uint64_t least = (uint64_t)256 << 20;
    const uint64_t margin = available / 16 > least ? available / 16 : least;
    return available - (margin < available / 2 ? margin : available / 2);
}

uint64_t hearth_machine_data_limit(uint64_t own)
{
    static const char *const name[1] = {"VmData:"};
    struct rlimit limit;
    bool found;
    if (getrlimit(RLIMIT_DATA, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return UINT64_MAX;
    const uint64_t taken = kib_to_bytes(sum_of_fields("/proc/self/status", name, 1, &found));
    const uint64_t others = taken > own ? taken - own : 0;
    return limit.rlim_cur > others ? limit.rlim_cur - others : 0;
}

uint64_t hearth_machine_private_bytes(void)
{
    static const char *const names[2] = {"Anonymous:", "Private_Hugetlb:"};
    bool found;
    return kib_to_bytes(sum_of_fields("/proc/self/smaps_rollup", names, 2, &found));
}

/* In a child the page reads zero and `made` is false. Where the system cannot wipe pages, the process id tells instead. */
struct fork_mark {
    bool made;
    pid_t pid; /* 0: not needed */
};

void hearth_machine_fork_mark(void *page)
{
    struct fork_mark *mark = page;
    const bool wiped = madvise(page, HEARTH_FORK_MARK_BYTES, MADV_WIPEONFORK) == 0;
    *mark = (struct fork_mark){.made = true, .pid = wiped ? 0 : getpid()};
}

bool hearth_machine_forked(const void *page)
{
    const struct fork_mark *mark = page;
    return !mark->made || (mark->pid != 0 && mark->pid != getpid());
}
