/* Well-formed UTF-8, byte by byte, as the Unicode standard defines it: no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef HEARTH_ENGINE_UTF8_H
#define HEARTH_ENGINE_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Look at the character at p[0..n), n >= 1. Returns how many bytes, 1 … 4, are the longest possible beginning of one character;
 * *need receives the length that the first byte announces, 0 when it begins none. So: result == *need is a whole character,
 * result < *need with result == n one that the end of the text cuts, anything else `result` bytes that are no UTF-8. */
static inline size_t hearth_utf8_take(const uint8_t *p, size_t n, size_t *need)
{
    const uint8_t lead = p[0];
    *need = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
    uint8_t low = 0x80; /* range of the second byte */
    uint8_t high = 0xbf;
    if (lead == 0xe0)
        low = 0xa0;
    else if (lead == 0xed)
        high = 0x9f;
    else if (lead == 0xf0)
        low = 0x90;
    else if (lead == 0xf4)
        high = 0x8f;
    size_t have = 1;
    while (have < *need && have < n && p[have] >= low && p[have] <= high) {
        have++;
        low = 0x80;
        high = 0xbf;
    }
    return have;
}

#endif
