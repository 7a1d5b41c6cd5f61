#include "avx2/simd.h" /* vec16 and its operations; ISA(name) is name##_avx2 */

#include "template/rope_neox.h" /* defines ISA(hearth_rope_neox) */
