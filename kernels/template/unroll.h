/* UNROLL before a loop with a small constant count unrolls it fully, so that arrays indexed by its counter become registers. */
#ifndef HEARTH_TEMPLATE_UNROLL_H
#define HEARTH_TEMPLATE_UNROLL_H

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 24")
#endif

#endif
