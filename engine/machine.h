/* What the system says about itself, read from /proc and /sys/fs/cgroup with small buffers on the stack.
 *
 * `root` goes in front of every path: "" on a real machine, a folder with a made-up tree in tests. Missing files are no error: the
 * fact they would have told is left out. Nothing here allocates. All functions are thread-safe. */
#ifndef HEARTH_ENGINE_MACHINE_H
#define HEARTH_ENGINE_MACHINE_H

#include "hearth.h"

/* Bytes that can be taken now without swapping or being killed: the smallest of MemAvailable and, for the cgroup of this process
 * and each parent of it, limit - (usage - file pages that can be dropped); cgroup versions 1 and 2. */
uint64_t hearth_machine_available_memory(const char *root);

/* Of so many bytes available, what an engine takes at most where nobody says: all but a margin of a sixteenth, at least 256 MiB, at
 * most one half, for what other programs will want, page tables and the page cache. */
uint64_t hearth_machine_default_cap(uint64_t available);

/* What the limit on private writable memory of this process (RLIMIT_DATA, as `prlimit --data` sets it) leaves: the limit, less what
 * the process has taken by now beyond `own` bytes. UINT64_MAX: there is no limit. */
uint64_t hearth_machine_data_limit(uint64_t own);

/* Private bytes of this process: `Anonymous:` and `Private_Hugetlb:` of smaps_rollup, which count different pages. 0: the system
 * does not say. Costs some microseconds per megabyte. */
uint64_t hearth_machine_private_bytes(void);

/* Whole CPUs that the cgroup quota allows (cpu.cfs_quota_us / cpu.cfs_period_us, or cpu.max), over this process' cgroup and all its
 * parents: rounded down, at least 1. 0: no quota. */
uint32_t hearth_machine_cpu_quota(const char *root);

/* Fork detection. The mark is one whole page of the caller's private anonymous memory, page aligned, used for nothing else, marked
 * while still untouched; the system hands a child a page of zeros in its place. No undoing is needed before the page is unmapped.
 */
#define HEARTH_FORK_MARK_BYTES 4096u
void hearth_machine_fork_mark(void *page);
/* Whether this process is a child, forked since the mark was made. One load. */
bool hearth_machine_forked(const void *page);

#endif
