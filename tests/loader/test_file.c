/* Opening files of every kind (rows F01 to F10 of the catalogue): the right status, nothing blocks, no descriptor is left. */
#include "common/status.h"
#include "file.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static char folder[64];

static void make_folder(void)
{
    (void)snprintf(folder, sizeof folder, "%s/hearth-file-XXXXXX", P_tmpdir);
    cr_assert(mkdtemp(folder) != NULL);
}

static const char *path_of(const char *name)
{
    static char path[6000];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void remove_folder(void)
{
    static const char *const names[] = {"file", "link", "loop", "dangling", "fifo", "socket", "secret", "new\nline\x1b\xff"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        (void)unlink(path_of(names[i]));
    (void)rmdir(folder);
}

TestSuite(file, .init = make_folder, .fini = remove_folder);

static void write_file(const char *name, const void *bytes, size_t size)
{
    FILE *file = fopen(path_of(name), "wb");
    cr_assert(file != NULL);
    cr_assert(fwrite(bytes, 1, size, file) == size);
    cr_assert(fclose(file) == 0);
}

static void expect_refused(const char *path, hearth_status status, const char *mention)
{
    struct hearth_file file;
    hearth_error err = {0};
    const int before = dup(0);
    (void)close(before);
    cr_expect(hearth_file_open(&file, path, &err) == status, "%s [%s]", err.message, err.detail);
    cr_expect(strstr(err.message, mention) != NULL, "'%s' is not in '%s'", mention, err.message);
    for (const char *c = err.message; *c; c++)
        cr_expect(*c >= 0x20 && *c < 0x7f, "unprintable message");
    const int after = dup(0);
    (void)close(after);
    cr_expect(before == after, "a descriptor is left open");
    cr_expect(file.bytes == NULL && file.size == 0);
    hearth_file_close(&file);
}

Test(file, reads_a_file)
{
    struct hearth_file file;
    char text[8] = {0};
    write_file("file", "some bytes", 10);
    cr_assert(hearth_file_open(&file, path_of("file"), NULL) == HEARTH_OK);
    cr_expect(file.size == 10 && hearth_file_fetch(&file, "file", 2, 5, NULL) == HEARTH_OK &&
              memcmp(file.bytes, "some bytes", 10) == 0);
    cr_expect((fcntl(file.fd, F_GETFD) & FD_CLOEXEC) != 0);
    cr_expect(hearth_file_read(&file, "file", text, 5, 5, NULL) == HEARTH_OK);
    cr_expect_str_eq(text, "bytes");

    hearth_error err = {0};
    cr_expect(hearth_file_read(&file, "file", text, 6, 5, &err) == HEARTH_E_IO && strstr(err.message, "file: read: "));
    cr_expect(hearth_file_read(&file, "file", text, UINT64_MAX, 5, &err) == HEARTH_E_IO);
    cr_assert(truncate(path_of("file"), 3) == 0);
    cr_expect(hearth_file_read(&file, "file", text, 0, 5, &err) == HEARTH_E_IO && strstr(err.message, "shorter"));
    hearth_file_close(&file);
    hearth_file_close(&file);
}

/* F11: what was read stays, what is not there any more is an error and no signal. */
Test(file, is_cut_off_after_it_was_opened)
{
    enum { BYTES = 3 << 20 };
    struct hearth_file file;
    hearth_error err = {0};
    uint8_t *bytes = malloc(BYTES);
    cr_assert(bytes != NULL);
    for (size_t i = 0; i < BYTES; i++)
        bytes[i] = (uint8_t)(i * 31 >> 8);
    write_file("file", bytes, BYTES);
    cr_assert(hearth_file_open(&file, path_of("file"), NULL) == HEARTH_OK);
    cr_expect(hearth_file_fetch(&file, "file", (1 << 20) - 1, (1 << 20) + 1, NULL) == HEARTH_OK);
    cr_assert(truncate(path_of("file"), 5) == 0);
    cr_expect(file.bytes[(1 << 20) - 1] == bytes[(1 << 20) - 1] && file.bytes[1 << 20] == bytes[1 << 20]);
    cr_expect(hearth_file_fetch(&file, "file", (1 << 20) - 1, (1 << 20) + 1, NULL) == HEARTH_OK, "it is there already");
    cr_expect(hearth_file_fetch(&file, "file", BYTES - 1, BYTES, &err) == HEARTH_E_IO && strstr(err.message, "shorter"));
    cr_expect(hearth_file_fetch(&file, "file", 0, 1, &err) == HEARTH_E_IO);
    cr_assert(truncate(path_of("file"), BYTES) == 0);
    cr_expect(hearth_file_fetch(&file, "file", 0, BYTES, &err) == HEARTH_OK, "%s", err.message);
    cr_expect(file.bytes[BYTES - 1] == 0);
    hearth_file_close(&file);
    free(bytes);
}

Test(file, closing_a_zeroed_struct_leaves_standard_input_open)
{
    struct hearth_file file = {0};
    const int flags = fcntl(0, F_GETFD);
    hearth_file_close(&file);
    cr_expect(fcntl(0, F_GETFD) == flags);
}

Test(file, f01_missing)
{
    expect_refused(path_of("missing"), HEARTH_E_NOT_FOUND, "No such file");
    expect_refused("", HEARTH_E_NOT_FOUND, "No such file");
}

Test(file, f02_directory)
{
    expect_refused(folder, HEARTH_E_IO, "is a directory");
}

Test(file, f03_fifo_without_a_writer, .timeout = 10)
{
    cr_assert(mkfifo(path_of("fifo"), 0600) == 0);
    expect_refused(path_of("fifo"), HEARTH_E_IO, "not a regular file");
}

Test(file, f04_devices)
{
    expect_refused("/dev/zero", HEARTH_E_IO, "not a regular file");
    expect_refused("/dev/random", HEARTH_E_IO, "not a regular file");
}

Test(file, f05_socket)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s/socket", folder);
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert(fd >= 0 && bind(fd, (const struct sockaddr *)&address, sizeof address) == 0);
    expect_refused(address.sun_path, HEARTH_E_IO, "open");
    (void)close(fd);
}

Test(file, f07_symbolic_links_to_nothing)
{
    cr_assert(symlink("nowhere", path_of("dangling")) == 0);
    expect_refused(path_of("dangling"), HEARTH_E_NOT_FOUND, "No such file");
    cr_assert(symlink("loop", path_of("loop")) == 0);
    expect_refused(path_of("loop"), HEARTH_E_IO, "symbolic links");
}

Test(file, f08_symbolic_link_to_a_file)
{
    struct hearth_file file;
    write_file("file", "x", 1);
    cr_assert(symlink("file", path_of("link")) == 0);
    cr_expect(hearth_file_open(&file, path_of("link"), NULL) == HEARTH_OK);
    hearth_file_close(&file);
}

Test(file, f09_strange_paths)
{
    char path[5001];
    memset(path, 'p', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    expect_refused(path, HEARTH_E_IO, "pppp");
    expect_refused("new\nline\x1b\xff", HEARTH_E_NOT_FOUND, "new\\x0aline\\x1b\\xff: open: ");

    struct hearth_file file;
    write_file("new\nline\x1b\xff", "x", 1);
    cr_expect(hearth_file_open(&file, path_of("new\nline\x1b\xff"), NULL) == HEARTH_OK);
    hearth_file_close(&file);
}

Test(file, f10_empty_files)
{
    write_file("file", "", 0);
    expect_refused(path_of("file"), HEARTH_E_FORMAT, "file is empty");
    expect_refused("/proc/version", HEARTH_E_FORMAT, "file is empty");
}

Test(file, no_permission)
{
    if (geteuid() == 0)
        cr_skip_test("root may read everything");
    write_file("secret", "x", 1);
    cr_assert(chmod(path_of("secret"), 0) == 0);
    expect_refused(path_of("secret"), HEARTH_E_IO, "Permission denied");
}
