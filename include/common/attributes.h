/* Compiler attributes used across the house. */
#ifndef HEARTH_COMMON_ATTRIBUTES_H
#define HEARTH_COMMON_ATTRIBUTES_H

#define HEARTH_PRINTF(format_index, first) __attribute__((format(printf, format_index, first)))
#define HEARTH_ALWAYS_INLINE static inline __attribute__((always_inline))

#endif
