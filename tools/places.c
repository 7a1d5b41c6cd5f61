/* Finding folders and models; see places.h. Paths too long for their buffer are passed over: no such file could be opened. */
#include "places.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Where the bundled model may lie, separated by ':'; the first that exists is taken. What does not begin with '/' is looked for
 * from the folder of the program itself: so both the installed program and the one in the build folder find theirs, wherever they
 * are moved together. The build may add places. */
#ifndef HEARTH_DEFAULT_MODELS
#define HEARTH_DEFAULT_MODELS ""
#endif
#define BUNDLED_MODELS "../share/hearth/models/hearth-home.Q4_K_M.gguf:../../models/hearth-home.Q4_K_M.gguf:" HEARTH_DEFAULT_MODELS
#define FALLBACK_MODEL "models/hearth-home.Q4_K_M.gguf" /* from the current folder */

/* ---- The user's folders ---------------------------------------------------------------------------------------------- */

static bool join(char out[PLACES_PATH_MAX], const char *a, const char *b, const char *c)
{
    const int n = snprintf(out, PLACES_PATH_MAX, "%s%s%s", a, b, c);
    return n > 0 && n < PLACES_PATH_MAX;
}

bool places_own(char out[PLACES_PATH_MAX], enum place place)
{
    static const struct {
        const char *variable, *below_home;
    } places[] = {
        [PLACE_DATA] = {"XDG_DATA_HOME", "/.local/share"},
        [PLACE_STATE] = {"XDG_STATE_HOME", "/.local/state"},
    };
    const char *named = getenv(places[place].variable), *home = getenv("HOME");
    if (named && named[0] == '/') /* what is not absolute does not count, says the specification */
        return join(out, named, "/hearth", "");
    return home && home[0] == '/' && join(out, home, places[place].below_home, "/hearth");
}

bool places_make(const char *path)
{
    char folder[PLACES_PATH_MAX];
    if (!join(folder, path, "", ""))
        return false;
    for (char *slash = folder; (slash = strchr(slash + 1, '/')) != NULL; *slash = '/') {
        *slash = '\0';
        if (mkdir(folder, 0700) != 0 && errno != EEXIST && access(folder, F_OK) != 0)
            return false;
    }
    return true;
}

void places_remove(const char *folder)
{
    DIR *entries = opendir(folder);
    for (const struct dirent *entry; entries && (entry = readdir(entries)) != NULL;)
        (void)unlinkat(dirfd(entries), entry->d_name, 0); /* fails for "." and "..", and for what is no file of ours */
    if (entries)
        (void)closedir(entries);
    (void)rmdir(folder);
}

static bool is_abandoned(const char *folder)
{
    struct stat found;
    const int fd = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return false;
    const bool old = fstat(fd, &found) == 0 && found.st_uid == geteuid() && found.st_mtime < time(NULL) - 60;
    const bool abandoned = old && flock(fd, LOCK_EX | LOCK_NB) == 0;
    (void)close(fd);
    return abandoned;
}

void places_remove_abandoned(const char *folder, const char *prefix)
{
    char path[PLACES_PATH_MAX];
    DIR *entries = opendir(folder);
    for (const struct dirent *entry; entries && (entry = readdir(entries)) != NULL;)
        if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0 && join(path, folder, "/", entry->d_name) && is_abandoned(path))
            places_remove(path);
    if (entries)
        (void)closedir(entries);
}

/* ---- The bundled model ----------------------------------------------------------------------------------------------- */

/* Write the program's folder with a '/' at its end; 0 where the system does not tell. */
static size_t program_folder(char *out, size_t capacity)
{
    const ssize_t n = readlink("/proc/self/exe", out, capacity);
    const char *slash = n > 0 && (size_t)n < capacity ? memrchr(out, '/', (size_t)n) : NULL;
    return slash ? (size_t)(slash - out) + 1 : 0;
}

/* The first file that exists of a list. */
static bool first_existing(char path[PLACES_PATH_MAX], const char *list)
{
    const size_t folder = program_folder(path, PLACES_PATH_MAX);
    char *const names[] = {path, path + folder};
    while (*list) {
        const size_t n = strcspn(list, ":");
        char *name = names[*list != '/'];
        const size_t room = PLACES_PATH_MAX - (size_t)(name - path);
        if (n > 0 && n < room && (folder > 0 || *list == '/')) {
            memcpy(name, list, n);
            name[n] = '\0';
            if (access(path, F_OK) == 0)
                return true;
        }
        list += n + (list[n] == ':');
    }
    return false;
}

static bool bundled_model(char path[PLACES_PATH_MAX])
{
    return first_existing(path, BUNDLED_MODELS) || join(path, FALLBACK_MODEL, "", "");
}

const char *places_default_model(void)
{
    static char path[PLACES_PATH_MAX];
    const char *named = getenv("HEARTH_MODEL");
    if (named && named[0])
        return places_find_model(named);
    (void)bundled_model(path);
    return path;
}

/* ---- Models by name -------------------------------------------------------------------------------------------------- */

/* Part `index` of a list with ':' between the parts, empty ones passed over; where there are fewer, *index becomes less by them. */
static bool list_part(char out[PLACES_PATH_MAX], const char *list, size_t *index)
{
    while (list && *list) {
        const size_t n = strcspn(list, ":");
        if (n > 0 && n < PLACES_PATH_MAX && (*index)-- == 0) {
            memcpy(out, list, n);
            out[n] = '\0';
            return true;
        }
        list += n + (list[n] == ':');
    }
    return false;
}

bool places_models(char out[PLACES_PATH_MAX], size_t index)
{
    char own[PLACES_PATH_MAX];
    if (list_part(out, getenv("HEARTH_MODELS"), &index))
        return true;
    const bool has_own = places_own(own, PLACE_DATA);
    if (has_own && index == 0)
        return join(out, own, "/models", "");
    if (index != (has_own ? 1 : 0))
        return false;
    (void)bundled_model(out);
    *strrchr(out, '/') = '\0'; /* every place of it has one */
    return true;
}

bool places_model_name(char out[PLACES_NAME_MAX], const char *file)
{
    static const char ending[] = ".gguf", part[] = "-00001-of-00001";
    size_t n = strlen(file);
    if (n <= sizeof ending - 1 || n >= PLACES_NAME_MAX || file[0] == '.' || strcmp(file + n - (sizeof ending - 1), ending) != 0)
        return false;
    n -= sizeof ending - 1;
    memcpy(out, file, n);
    out[n] = '\0';
    if (n <= sizeof part - 1)
        return true;
    char *tail = out + n - (sizeof part - 1);
    for (size_t i = 0; i < sizeof part - 1; i++)
        if (part[i] == '0' || part[i] == '1' ? tail[i] < '0' || tail[i] > '9' : tail[i] != part[i])
            return true; /* a whole file */
    const bool first = strncmp(tail, part, sizeof "-00001" - 1) == 0;
    *tail = '\0';
    return first;
}

static bool find_in(char path[PLACES_PATH_MAX], const char *folder, const char *name)
{
    char called[PLACES_NAME_MAX];
    bool found = false;
    DIR *entries = opendir(folder);
    for (const struct dirent *entry; entries && !found && (entry = readdir(entries)) != NULL;)
        found = places_model_name(called, entry->d_name) && (strcmp(called, name) == 0 || strcmp(entry->d_name, name) == 0) &&
                join(path, folder, "/", entry->d_name);
    if (entries)
        (void)closedir(entries);
    return found;
}

const char *places_find_model(const char *name)
{
    static char path[PLACES_PATH_MAX];
    char folder[PLACES_PATH_MAX];
    if (!name[0] || strchr(name, '/') || access(name, F_OK) == 0)
        return name;
    for (size_t i = 0; places_models(folder, i); i++)
        if (find_in(path, folder, name))
            return path;
    return name;
}
