#include "avx512/simd.h" /* vec16 and its operations; ISA(name) is name##_avx512 */

#include "template/softcap.h" /* defines ISA(hearth_softcap) */
