/* Switches of other programs that this one has no use for: refused by name, with the reason and what to do instead. */
#ifndef HEARTH_TOOLS_REFUSED_H
#define HEARTH_TOOLS_REFUSED_H

/* Why an argument such as "-ngl", "--n-gpu-layers" or "--n-gpu-layers=33" is not taken; NULL: nothing is known of it. Static. */
const char *refused_reason(const char *argument);

#endif
