/* Where things lie: the user's folders, and the models in them by their names. */
#ifndef HEARTH_TOOLS_PLACES_H
#define HEARTH_TOOLS_PLACES_H

#include <stdbool.h>
#include <stddef.h>

#define PLACES_PATH_MAX 4096
#define PLACES_NAME_MAX 256

/* Of the XDG base directories. */
enum place { PLACE_DATA, PLACE_STATE };

/* The program's folder of that kind, below $XDG_DATA_HOME and so on, or what stands for it below $HOME; not made. False where the
 * environment names none, or one too long. */
bool places_own(char out[PLACES_PATH_MAX], enum place place);

/* Make the folders that a path lies in, with mode 0700, where they are not there. False: it could not be; errno says why. */
bool places_make(const char *path);

/* Remove a folder and the files in it. */
void places_remove(const char *folder);
/* Remove those folders in a folder that begin with `prefix`, are a minute old, and that no process has locked (flock): their owners
 * ended without cleaning up. */
void places_remove_abandoned(const char *folder, const char *prefix);

/* Folder `index` of those where models are looked for: of $HEARTH_MODELS, the user's own, that of the bundled model. False behind
 * the last. A folder need not exist. */
bool places_models(char out[PLACES_PATH_MAX], size_t index);
/* What a model of that file is called: the file's name without ".gguf", and without the number of its first part. False for what is
 * no model, or not the first part of one. */
bool places_model_name(char out[PLACES_NAME_MAX], const char *file);

/* The path of the model that -m means: a path, or a file here, or else a name in one of the folders above; what is found nowhere is
 * given back. Kept until the next call. */
const char *places_find_model(const char *name);
/* The model without -m: $HEARTH_MODEL, or the bundled one. Kept. */
const char *places_default_model(void);

#endif
