#include "avx512/simd.h" /* vec16 and its operations; ISA(name) is name##_avx512 */

#include "template/rope_neox.h" /* defines ISA(hearth_rope_neox) */
