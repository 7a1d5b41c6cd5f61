/* Energy counters of the packages; see energy.h. A zone of powercap is a folder CONTROL:N with the files `name`, `energy_uj` and
 * `max_energy_range_uj`; zones with a second colon are parts of a package (cores, memory) and would be counted twice, and other
 * names than package-N (psys, dram) are something else. */
#include "energy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The first line of a file, without its end; false when it cannot be read, with errno. */
static bool read_line(const char *path, char *out, size_t capacity)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    const ssize_t n = read(fd, out, capacity - 1);
    const int code = errno;
    (void)close(fd);
    errno = code;
    if (n < 0)
        return false;
    out[n] = '\0';
    out[strcspn(out, "\n")] = '\0';
    return true;
}

static bool read_number(const char *path, uint64_t *out)
{
    char text[32];
    char *end;
    if (!read_line(path, text, sizeof text) || text[0] < '0' || text[0] > '9')
        return false;
    *out = strtoull(text, &end, 10);
    return *end == '\0';
}

static bool is_package(const char *root, const char *zone)
{
    char path[300];
    char name[64];
    const char *colon = strchr(zone, ':');
    if (!colon || strchr(colon + 1, ':') || (size_t)snprintf(path, sizeof path, "%s/%s/name", root, zone) >= sizeof path)
        return false;
    return read_line(path, name, sizeof name) && strncmp(name, "package", 7) == 0;
}

static void add_package(struct hearth_energy *e, const char *root, const char *zone)
{
    char path[320];
    uint64_t now;
    if (e->n == HEARTH_ENERGY_PACKAGES_MAX)
        return;
    (void)snprintf(e->packages[e->n].path, sizeof e->packages[e->n].path, "%s/%s/energy_uj", root, zone);
    if (!read_number(e->packages[e->n].path, &now)) {
        if (errno == EACCES || errno == EPERM)
            e->source = "permission";
        return;
    }
    (void)snprintf(path, sizeof path, "%s/%s/max_energy_range_uj", root, zone);
    if (!read_number(path, &e->packages[e->n].range))
        e->packages[e->n].range = 0;
    e->n++;
}

void hearth_energy_open(struct hearth_energy *out, const char *root)
{
    *out = (struct hearth_energy){.source = "absent"};
    if (!root || !root[0])
        root = "/sys/class/powercap";
    DIR *folder = opendir(root);
    if (!folder)
        return;
    for (const struct dirent *zone = readdir(folder); zone; zone = readdir(folder))
        if (is_package(root, zone->d_name))
            add_package(out, root, zone->d_name);
    (void)closedir(folder);
    if (strcmp(out->source, "permission") == 0)
        out->n = 0; /* some packages without the others would be no sum */
    else if (out->n > 0)
        out->source = "powercap";
}

struct hearth_energy_reading hearth_energy_read(const struct hearth_energy *e)
{
    struct hearth_energy_reading r = {.valid = e->n > 0};
    for (uint32_t i = 0; i < e->n; i++)
        r.valid = read_number(e->packages[i].path, &r.microjoules[i]) && r.valid;
    return r;
}

double hearth_energy_between(const struct hearth_energy *e, const struct hearth_energy_reading *before,
                             const struct hearth_energy_reading *after)
{
    double joules = 0;
    if (!before->valid || !after->valid)
        return (double)NAN;
    for (uint32_t i = 0; i < e->n; i++) {
        const uint64_t from = before->microjoules[i];
        const uint64_t to = after->microjoules[i];
        if (to < from && e->packages[i].range < from)
            return (double)NAN; /* it went back, and nobody told where it starts again */
        joules += 1e-6 * (double)(to >= from ? to - from : e->packages[i].range - from + to);
    }
    return joules;
}
