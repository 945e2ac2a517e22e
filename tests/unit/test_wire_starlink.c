/* Starlink: golden bytes, round trips of every message, what is refused, what is cut. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "wire/starlink.h"
#include "wire/starlink_table.h"
#include "wire/varint.h"

#define NODE "mzxw6ytbaaaaaaaaaaaaaaaaaa"
#define UUID "017f22e2-79b0-7fff-bfff-ffffffffffff"

static void hex_print(struct a_buf *b, struct a_view v)
{
    for (size_t i = 0; i < v.len; i++)
        a_buf_addf(b, "%02x", (unsigned char)v.ptr[i]);
}

static void hex_read(struct a_buf *b, const char *hex)
{
    for (; *hex != '\0'; hex += 2) {
        unsigned byte;
        assert_int_equal(sscanf(hex, "%2x", &byte), 1);
        a_buf_add_char(b, (char)byte);
    }
}

static void test_varint(void **state)
{
    (void)state;
    static const struct {
        uint64_t value;
        const char *hex;
    } golden[] = {{0, "00"},
                  {1, "01"},
                  {127, "7f"},
                  {128, "8001"},
                  {300, "ac02"},
                  {UINT32_MAX, "ffffffff0f"},
                  {UINT64_MAX, "ffffffffffffffffff01"}};
    for (size_t i = 0; i < A_ARRAY_SIZE(golden); i++) {
        A_BUF_AUTO struct a_buf b = {0}, hex = {0};
        wire_varint_add(&b, golden[i].value);
        hex_print(&hex, a_buf_view(&b));
        assert_string_equal(hex.ptr, golden[i].hex);
        assert_int_equal(b.len, wire_varint_size(golden[i].value));
        struct a_view in = a_buf_view(&b);
        uint64_t x;
        assert_int_equal(wire_varint_take(&in, &x), 0);
        assert_true(x == golden[i].value);
        assert_int_equal(in.len, 0);
        in = (struct a_view){b.ptr, b.len - 1};
        assert_int_equal(wire_varint_take(&in, &x), WIRE_E_MORE);
    }
    static const char *const bad[] = {"8000", "ffffffffffffffffff02", "80808080808080808080", "ff00"};
    for (size_t i = 0; i < A_ARRAY_SIZE(bad); i++) {
        A_BUF_AUTO struct a_buf b = {0};
        hex_read(&b, bad[i]);
        struct a_view in = a_buf_view(&b);
        uint64_t x;
        assert_int_equal(wire_varint_take(&in, &x), WIRE_E_MALFORMED);
    }
    static const int64_t signed_values[] = {0, -1, 1, -2, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < A_ARRAY_SIZE(signed_values); i++)
        assert_true(wire_unzigzag(wire_zigzag(signed_values[i])) == signed_values[i]);
    assert_int_equal(wire_zigzag(-1), 1);
    assert_int_equal(wire_zigzag(1), 2);
}

/* Fills every field of a struct with a value that is not zero and differs from field to field. */
static unsigned fill_counter;

static void fill(struct a_arena *arena, const struct wire_sl_struct *s, char *object)
{
    for (size_t i = 0; i < s->n_fields; i++) {
        const struct wire_sl_field *f = &s->fields[i];
        char *at = object + f->offset;
        unsigned n = ++fill_counter;
        uint32_t x32 = n;
        switch (f->kind) {
        case WIRE_SL_KIND_U64:
            *(uint64_t *)(void *)at = n * UINT64_C(0x100000001);
            break;
        case WIRE_SL_KIND_I64:
            *(int64_t *)(void *)at = -(int64_t)n;
            break;
        case WIRE_SL_KIND_ENUM:
            x32 = 1 + n % (f->enumeration->count - 1);
            memcpy(at, &x32, 4);
            break;
        case WIRE_SL_KIND_U32:
            memcpy(at, &x32, 4);
            break;
        case WIRE_SL_KIND_U16:
            *(uint16_t *)(void *)at = (uint16_t)n;
            break;
        case WIRE_SL_KIND_BOOL:
            *(bool *)at = true;
            break;
        case WIRE_SL_KIND_STR:
        case WIRE_SL_KIND_BYTES:
            *(struct a_view *)(void *)at = a_view_str(a_arena_printf(arena, "%s %u", f->name, n));
            break;
        case WIRE_SL_KIND_DIGEST:
            memset(at, (int)n, sizeof(struct a_digest));
            break;
        case WIRE_SL_KIND_NAME:
        case WIRE_SL_KIND_UNIT:
            snprintf(at, f->bound, "name-%u", n);
            break;
        case WIRE_SL_KIND_NODE:
            memcpy(at, NODE, sizeof NODE);
            break;
        case WIRE_SL_KIND_UUID:
            memcpy(at, UUID, sizeof UUID);
            break;
        case WIRE_SL_KIND_MSG:
            fill(arena, f->structure(), at);
            break;
        case WIRE_SL_KIND_LIST: {
            const struct wire_sl_struct *item = f->structure();
            char *items = a_arena_alloc(arena, 3 * item->size);
            for (size_t k = 0; k < 3; k++)
                fill(arena, item, items + k * item->size);
            *(char **)(void *)at = items;
            *(size_t *)(void *)(object + f->count_offset) = 3;
        }
        }
    }
}

static void *message_body(struct wire_sl_message *m)
{
    return (char *)m + offsetof(struct wire_sl_message, hello);
}

static int decode(struct a_view bytes, struct a_arena *arena, struct wire_sl_message *ret,
                  struct a_error *err)
{
    struct wire_sl_frame frame;
    int r = wire_sl_frame_parse(bytes, &frame, err);
    if (r != 0)
        return r;
    assert_int_equal(frame.size, bytes.len);
    return wire_sl_decode(&frame, arena, ret, err);
}

/* Every message, every field filled: encode, decode, encode again: the same bytes and the same print. */
static void test_round_trip(void **state)
{
    (void)state;
    static const unsigned types[] = {
#define X(upper, lower, number, fields) number,
        WIRE_SL_MESSAGES(X)
#undef X
    };
    for (size_t i = 0; i < A_ARRAY_SIZE(types); i++) {
        A_ARENA_AUTO struct a_arena arena = {0};
        A_BUF_AUTO struct a_buf first = {0}, second = {0}, print = {0}, again = {0};
        A_ERROR_AUTO struct a_error err = {0};
        struct wire_sl_message m, back;
        memset(&m, 0, sizeof m);
        m.type = (enum wire_sl_type)types[i];
        fill(&arena, wire_sl_struct_find(types[i]), message_body(&m));
        assert_int_equal(wire_sl_encode(&first, &m, &err), 0);
        assert_int_equal(decode(a_buf_view(&first), &arena, &back, &err), 0);
        assert_int_equal(wire_sl_encode(&second, &back, &err), 0);
        assert_true(a_view_equal(a_buf_view(&first), a_buf_view(&second)));
        wire_sl_print(&print, &m);
        wire_sl_print(&again, &back);
        assert_string_equal(print.ptr, again.ptr);
        assert_true(a_view_starts(a_buf_view(&print), wire_sl_type_name(types[i])));
        /* each beginning of the frame is only a beginning, and each cut payload is refused */
        for (size_t n = 0; n < first.len; n++) {
            struct wire_sl_frame frame;
            assert_int_equal(wire_sl_frame_parse((struct a_view){first.ptr, n}, &frame, NULL), WIRE_E_MORE);
        }
    }
}

/* The tables hold what the codec relies on. */
static void test_tables(void **state)
{
    (void)state;
    for (unsigned type = 0; type < 0x10000; type++) {
        const struct wire_sl_struct *s = wire_sl_struct_find(type);
        for (size_t i = 0; s != NULL && i < s->n_fields; i++) {
            assert_true(s->fields[i].tag > (i > 0 ? s->fields[i - 1].tag : 0));
            if (s->fields[i].kind == WIRE_SL_KIND_STR)
                assert_in_range(s->fields[i].bound, 1, 8192);
        }
    }
    assert_string_equal(wire_sl_type_name(1), "HELLO");
    assert_null(wire_sl_type_name(0));
    assert_null(wire_sl_type_name(999));
}

/* Frames frozen for ever: they decode to what is printed and are written again as the same bytes. The Python
 * codec is held against the same file. */
static void test_golden(void **state)
{
    (void)state;
    static const struct {
        const char *hex, *print;
    } golden[] = {
#define GOLDEN(hex, print) {hex, print},
#include "starlink_golden.h"
#undef GOLDEN
    };
    for (size_t i = 0; i < A_ARRAY_SIZE(golden); i++) {
        A_ARENA_AUTO struct a_arena arena = {0};
        A_BUF_AUTO struct a_buf bytes = {0}, print = {0}, again = {0}, hex = {0};
        A_ERROR_AUTO struct a_error err = {0};
        struct wire_sl_message m;
        hex_read(&bytes, golden[i].hex);
        if (decode(a_buf_view(&bytes), &arena, &m, &err) != 0)
            fail_msg("%s: %s", golden[i].print, a_error_text(&err));
        wire_sl_print(&print, &m);
        assert_string_equal(print.ptr, golden[i].print);
        assert_int_equal(wire_sl_encode(&again, &m, &err), 0);
        hex_print(&hex, a_buf_view(&again));
        assert_string_equal(hex.ptr, golden[i].hex);
    }
}

/* A BEAT, byte by byte, and what is wrong with others. */
static void test_refusals(void **state)
{
    (void)state;
#define BEAT_NODE "031a6d7a787736797462616161616161616161616161616161616161"
    static const struct {
        const char *hex;
        int code;
        const char *message;
    } cases[] = {
        {"0000001c00100100" BEAT_NODE, 0, NULL},
        {"0000001f00100100" BEAT_NODE "050107", 0, NULL},
        {"0000001e00100100" BEAT_NODE "c81f", WIRE_E_MALFORMED, "cut short"}, /* a key, no length */
        {"0000002000100100" BEAT_NODE "c81f0100", 0, NULL},                   /* unknown, may be skipped */
        {"0000002000100100" BEAT_NODE "c91f0100", WIRE_E_UNSUPPORTED, "field 2020 is unknown"},
        {"0000001f00100100" BEAT_NODE "050207", WIRE_E_MALFORMED, "cut short"},
        {"0000002000100100" BEAT_NODE "05020700", WIRE_E_MALFORMED, "sequence: not a value"},
        {"0000002000100100" BEAT_NODE "05028700", WIRE_E_MALFORMED, "sequence: not a value"},
        {"0000002200100100" BEAT_NODE "050107050107", WIRE_E_MALFORMED, "sequence: sent twice"},
        {"0000000300100100"
         "050107",
         WIRE_E_MALFORMED, "node: missing"},
        {"0000000500100100"
         "0303616263",
         WIRE_E_MALFORMED, "node: not a value"},
        {"0000000000110100", WIRE_E_MALFORMED, "node: missing"},
        {"000000000fff0100", WIRE_E_UNKNOWN, NULL},
        {"000000000fff0200", WIRE_E_UNKNOWN, NULL},
        {"0000001c00100200" BEAT_NODE, WIRE_E_UNSUPPORTED, "protocol 2"},
        {"0000001c00100000" BEAT_NODE, WIRE_E_MALFORMED, "version 0"},
        {"0000002200310100"
         "03200000000000000000000000000000000000000000000000000000000000000000",
         WIRE_E_MALFORMED, "digest: not a value"},
        {"00003ff9", WIRE_E_TOO_LARGE, "16385 bytes"},
        {"ffffffff00100100", WIRE_E_TOO_LARGE, "bytes"},
        {"00003ff800100100", WIRE_E_MORE, NULL},
        {"0000001f00120100" BEAT_NODE "070105", 0, NULL}, /* NODE_STATUS DEAD */
        {"0000001f00120100" BEAT_NODE "070106", WIRE_E_MALFORMED, "state: not a value"}, /* no such state */
        {"0000001f00120100" BEAT_NODE "090102", WIRE_E_MALFORMED, "cordoned: not a value"},
        {"0000000400400100"
         "09020a05",
         WIRE_E_MALFORMED, "app: a_app_ref: cut short"},
    };
    for (size_t i = 0; i < A_ARRAY_SIZE(cases); i++) {
        A_ARENA_AUTO struct a_arena arena = {0};
        A_BUF_AUTO struct a_buf bytes = {0};
        A_ERROR_AUTO struct a_error err = {0};
        struct wire_sl_message m;
        hex_read(&bytes, cases[i].hex);
        int r = decode(a_buf_view(&bytes), &arena, &m, &err);
        if (r != cases[i].code)
            fail_msg("%s: %d, not %d: %s", cases[i].hex, r, cases[i].code, a_error_text(&err));
        if (cases[i].message != NULL && strstr(a_error_text(&err), cases[i].message) == NULL)
            fail_msg("%s: \"%s\" does not say \"%s\"", cases[i].hex, a_error_text(&err), cases[i].message);
    }
}

/* A list past its bound is refused before memory is taken for it. */
static void test_list_bound(void **state)
{
    (void)state;
    A_ARENA_AUTO struct a_arena arena = {0};
    A_BUF_AUTO struct a_buf bytes = {0};
    struct wire_sl_message m;
    struct wire_sl_label labels[65] = {0};
    struct wire_sl_message hello = {.type = WIRE_SL_T_HELLO, .hello = {.labels = labels, .n_labels = 64}};
    assert_int_equal(wire_sl_encode(&bytes, &hello, NULL), 0);
    assert_int_equal(decode(a_buf_view(&bytes), &arena, &m, NULL), 0);
    assert_int_equal(m.hello.n_labels, 64);
    hello.hello.n_labels = 65;
    A_ERROR_AUTO struct a_error err = {0};
    assert_int_equal(wire_sl_encode(&bytes, &hello, &err), WIRE_E_TOO_LARGE);
    assert_non_null(strstr(a_error_text(&err), "labels: 65 items"));
    a_buf_reset(&bytes);
    hex_read(&bytes, "0000008200010100");
    for (int i = 0; i < 65; i++)
        hex_read(&bytes, "1a00");
    a_arena_reset(&arena);
    assert_int_equal(decode(a_buf_view(&bytes), &arena, &m, &err), WIRE_E_MALFORMED);
    assert_int_equal(arena.used, 0);
    /* and the arena's own limit is kept */
    struct a_arena small = {.limit = 64};
    bytes.ptr[3] = (char)0x80; /* 64 items */
    bytes.len -= 2;
    assert_int_equal(decode(a_buf_view(&bytes), &small, &m, &err), -ENOMEM);
    a_arena_deinit(&small);
}

/* Long texts lose their middle, at characters' borders, until the frame fits; the rest is untouched. */
static void test_text_cut(void **state)
{
    (void)state;
    A_BUF_AUTO struct a_buf cut = {0};
    wire_text_cut(&cut, A_VIEW_LIT("short"), 64);
    assert_string_equal(cut.ptr, "short");
    char text[1000];
    for (size_t i = 0; i + 2 <= sizeof text; i += 2)
        memcpy(text + i, "\xc3\xa9", 2);
    for (size_t max = 64; max < 1000; max++) {
        a_buf_reset(&cut);
        wire_text_cut(&cut, (struct a_view){text, sizeof text}, max);
        assert_in_range(cut.len, max - 6, max);
        char *marker = strstr(cut.ptr, " [");
        size_t dropped;
        assert_int_equal(sscanf(marker, " [%zu bytes cut] ", &dropped), 1);
        assert_int_equal((marker - cut.ptr) % 2, 0);
        assert_int_equal(dropped % 2, 0);
        assert_int_equal(strlen(strchr(marker, ']') + 2) + (size_t)(marker - cut.ptr) + dropped, sizeof text);
    }
}

static void test_frame_fit(void **state)
{
    (void)state;
    A_ARENA_AUTO struct a_arena arena = {0};
    A_BUF_AUTO struct a_buf bytes = {0};
    A_ERROR_AUTO struct a_error err = {0};
    struct wire_sl_message back, m = {.type = WIRE_SL_T_CLAIM_STATUS};
    fill(&arena, wire_sl_struct_find(m.type), message_body(&m));
    char *text = a_arena_alloc(&arena, 100000);
    memset(text, 'x', 100000);
    struct wire_sl_target targets[128];
    for (size_t i = 0; i < 128; i++)
        targets[i] = (struct wire_sl_target){.name = {text, 60}, .ip = {text, 15}, .application = {text, 10}};
    m.claim_status.message = (struct a_view){text, 100000};
    m.claim_status.targets = targets;
    m.claim_status.n_targets = 128;
    assert_int_equal(wire_sl_encode(&bytes, &m, &err), 0);
    assert_in_range(bytes.len, 12000, WIRE_SL_FRAME_MAX);
    assert_int_equal(decode(a_buf_view(&bytes), &arena, &back, &err), 0);
    assert_int_equal(back.claim_status.n_targets, 128);
    assert_in_range(back.claim_status.message.len, 512, 4096);
    for (size_t i = 0; i < 128; i++)
        targets[i].name.len = 200;
    a_buf_reset(&bytes);
    assert_int_equal(wire_sl_encode(&bytes, &m, &err), WIRE_E_TOO_LARGE);
    assert_int_equal(bytes.len, 0);
    targets[0].name.len = 257;
    assert_int_equal(wire_sl_encode(&bytes, &m, &err), WIRE_E_TOO_LARGE);
    assert_non_null(strstr(a_error_text(&err), "name: 257 bytes"));

    struct wire_sl_message data = {.type = WIRE_SL_T_BULK_DATA, .bulk_data = {{text, WIRE_SL_BULK_CHUNK}}};
    assert_int_equal(wire_sl_encode(&bytes, &data, &err), 0);
    assert_in_range(bytes.len, WIRE_SL_BULK_CHUNK, WIRE_SL_FRAME_MAX);
}

static void test_encode_errors(void **state)
{
    (void)state;
    A_BUF_AUTO struct a_buf small = {.max = 20};
    A_ERROR_AUTO struct a_error err = {0};
    struct wire_sl_message m = {.type = WIRE_SL_T_BEAT};
    assert_int_equal(wire_sl_encode(&small, &m, &err), -EINVAL);
    assert_non_null(strstr(a_error_text(&err), "node: required"));
    memcpy(m.beat.node.s, NODE, sizeof NODE);
    assert_int_equal(wire_sl_encode(&small, &m, &err), -ENOBUFS);
    assert_false(small.failed);
    assert_int_equal(small.len, 0);
    struct wire_sl_app_epoch epoch = {.epoch = 3};
    struct wire_sl_message status = {.type = WIRE_SL_T_NODE_STATUS,
                                     .node_status = {.node = {NODE}, .epochs = &epoch, .n_epochs = 1}};
    assert_int_equal(wire_sl_encode(&small, &status, &err), -EINVAL);
    assert_non_null(strstr(a_error_text(&err), "app_uid: required"));
}

/* Memory runs out at each place in turn. */
static void test_no_memory(void **state)
{
    (void)state;
    A_ARENA_AUTO struct a_arena arena = {0};
    A_BUF_AUTO struct a_buf bytes = {0};
    struct wire_sl_message back, m = {.type = WIRE_SL_T_CLAIM_STATUS};
    fill(&arena, wire_sl_struct_find(m.type), message_body(&m));
    a_try_alloc_fail_at(1);
    assert_int_equal(wire_sl_encode(&bytes, &m, NULL), -ENOBUFS);
    assert_int_equal(bytes.len, 0);
    a_try_alloc_fail_at(0);
    assert_int_equal(wire_sl_encode(&bytes, &m, NULL), 0);
    int r = -1;
    for (uint64_t n = 1; r != 0; n++) {
        A_ARENA_AUTO struct a_arena lists = {0};
        a_try_alloc_fail_at(n);
        r = decode(a_buf_view(&bytes), &lists, &back, NULL);
        a_try_alloc_fail_at(0);
        assert_true(r == -ENOMEM || (r == 0 && n > 1));
    }
}

static void test_secrets_and_protocol(void **state)
{
    (void)state;
    A_BUF_AUTO struct a_buf b = {0};
    struct wire_sl_message m = {.type = WIRE_SL_T_BIND,
                                .bind = {.node = {NODE}, .ray_token = A_VIEW_LIT("hush")}};
    wire_sl_print(&b, &m);
    assert_null(strstr(b.ptr, "hush"));
    assert_non_null(strstr(b.ptr, "ray_token=***"));
    assert_int_equal(wire_sl_negotiate(1, 3, 2, 5), 3);
    assert_int_equal(wire_sl_negotiate(1, 1, 2, 5), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_varint),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_tables),
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_list_bound),
        cmocka_unit_test(test_text_cut),
        cmocka_unit_test(test_frame_fit),
        cmocka_unit_test(test_encode_errors),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_secrets_and_protocol),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
