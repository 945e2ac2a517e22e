/* The part of a counters file's name that comes from the model's name. Pure. */
#ifndef A_TFCC_PAGE_NAME_H
#define A_TFCC_PAGE_NAME_H

#include <stddef.h>

#define TFCC_PAGE_NAME_MAX 64

/* The last part of the name or path, at most TFCC_PAGE_NAME_MAX characters of a-z A-Z 0-9 . _ - with '_' for
 * all others and for a dot in front. `ret` holds TFCC_PAGE_NAME_MAX + 1 bytes. */
void tfcc_page_name(const char *model, char *ret);

#endif
