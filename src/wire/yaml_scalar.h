/* Plain scalars by YAML 1.2's core schema (section 10.3.2). Private to this folder. */
#ifndef WIRE_YAML_SCALAR_H
#define WIRE_YAML_SCALAR_H

#include "wire/value.h"

enum wire_yaml_scalar_result {
    WIRE_YAML_SCALAR_OK,
    WIRE_YAML_SCALAR_LARGE,    /* a whole number beyond 64 bits, or a number beyond a double */
    WIRE_YAML_SCALAR_INFINITE, /* .inf or .nan: JSON cannot say them */
};

/* What an unquoted text means: type and value of *ret; STRING leaves the text itself to the caller. */
enum wire_yaml_scalar_result wire_yaml_scalar_resolve(struct a_view text, struct wire_value *ret);

#endif
