/* What every codec of this layer answers. All of them are pure: bytes in, structs out, no clock, no socket,
 * no file. Nothing here trusts a byte: a codec never reads outside its input, never recurses deeper and never
 * allocates more than a bound that it names. */
#ifndef WIRE_WIRE_H
#define WIRE_WIRE_H

enum wire_e {
    WIRE_E_MORE = 1,    /* the input is a proper beginning: call again with more of it */
    WIRE_E_MALFORMED,   /* never valid, whatever follows */
    WIRE_E_UNSUPPORTED, /* well-formed, but of a version or kind that we must not guess at */
    WIRE_E_UNKNOWN,     /* well-formed and to be skipped: newer than we are */
    WIRE_E_TOO_LARGE,   /* past a limit */
};

#endif
