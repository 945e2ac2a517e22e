/* The pull reader against the tree's reader: what jansson takes, the scan takes, and both see the same. The
 * scan may take more (it looks neither for UTF-8 nor for equal keys in what it skips), never read outside its
 * text. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "wire/scan.h"

static void value_check(struct wire_scan *s, const struct wire_value *v, struct a_buf *room)
{
    struct a_view key;
    switch (v->type) {
    case WIRE_VALUE_OBJECT:
        a_assert(wire_scan_enter(s, WIRE_VALUE_OBJECT));
        wire_value_foreach(it, v)
        {
            a_assert(wire_scan_member(s, &key));
            a_assert(memchr(key.ptr, '\\', key.len) != NULL || a_view_equal(key, it->key));
            value_check(s, it, room);
        }
        a_assert(!wire_scan_member(s, &key) && !s->failed);
        return;
    case WIRE_VALUE_ARRAY:
        a_assert(wire_scan_enter(s, WIRE_VALUE_ARRAY));
        wire_value_foreach(it, v)
        {
            a_assert(wire_scan_item(s));
            value_check(s, it, room);
        }
        a_assert(!wire_scan_item(s) && !s->failed);
        return;
    case WIRE_VALUE_STRING:
        a_assert(wire_scan_type(s) == WIRE_VALUE_STRING &&
                 a_view_equal(wire_scan_string(s, room), v->string));
        return;
    case WIRE_VALUE_INT:
        a_assert(wire_scan_int(s) == v->integer);
        return;
    case WIRE_VALUE_BOOL:
        a_assert(wire_scan_bool(s) == v->boolean);
        return;
    default:
        wire_scan_skip(s);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    A_ARENA_AUTO struct a_arena arena = {.limit = 16u << 20};
    A_BUF_AUTO struct a_buf room = {0};
    const struct wire_value_limits limits = {.bytes = 65536, .nodes = 1000, .depth = 60};
    char *text = malloc(size + 1); /* exactly as long as it is: a read past it is found */
    struct a_view view = {size > 0 ? memcpy(text, data, size) : text, size};
    struct wire_value *v;
    struct wire_scan s, again;
    wire_scan_init(&s, view);
    struct a_view raw = wire_scan_raw(&s);
    bool taken = wire_scan_end(&s);
    bool zero = memchr(text, 0, size) != NULL;
    if (!zero && wire_json_parse(&arena, view, NULL, &limits, &v, NULL) == 0) {
        a_assert(taken);
        wire_scan_init(&again, view);
        value_check(&again, v, &room);
        a_assert(wire_scan_end(&again));
    }
    if (taken) {
        wire_scan_init(&again, raw);
        wire_scan_skip(&again);
        a_assert(wire_scan_end(&again));
    }
    free(text);
    return 0;
}
