/* hearth --limits: the bounds on what outside data may ask for, from the constants that are enforced. */
#ifndef HEARTH_TOOLS_BOUNDS_H
#define HEARTH_TOOLS_BOUNDS_H

/* argv[1] is "--limits". Returns the exit code. */
int bounds_show(int argc, char **argv);

#endif
