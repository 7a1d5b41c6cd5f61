/* The catalogue of malformed files (docs: reliability, sections 2.1 to 2.6): every row is a valid tiny model with exactly one
 * defect and the status and detail that it must give. Rows that expect HEARTH_OK see to it that strictness does not become refusal
 * of good files. What goes wrong in here ends the program. */
#ifndef HEARTH_TESTS_CATALOGUE_H
#define HEARTH_TESTS_CATALOGUE_H

#include "hearth.h"

struct catalogue_row {
    const char *id;
    const uint8_t *bytes; /* until the visit ends */
    size_t size;
    hearth_status status;
    const char *detail, *mention; /* of the error; NULL: not looked at. `mention` stands in the message */
};

typedef void catalogue_visit_fn(const struct catalogue_row *row, void *user);
/* Visit every row, the valid file first. What the loader says of a file is meant; the engine may find more. */
void catalogue_walk(catalogue_visit_fn *visit, void *user);

/* The valid file, to be given to free(), the end of its directory, and where its tensor data begin. */
uint8_t *catalogue_base(size_t *size, size_t *directory_end, size_t *data_start);

#endif
