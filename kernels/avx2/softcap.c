#include "avx2/simd.h" /* vec16 and its operations; ISA(name) is name##_avx2 */

#include "template/softcap.h" /* defines ISA(hearth_softcap) */
