/* The nouns: ids, digests, capacities, state tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "types/capacity.h"
#include "types/digest.h"
#include "types/id.h"
#include "types/state.h"

static void test_ids(void **state)
{
    (void)state;
    struct a_app_ref ref;
    assert_true(a_app_ref_parse(A_VIEW_LIT("ocr"), &ref));
    assert_string_equal(ref.namespace.s, "default");
    assert_true(a_app_ref_parse(A_VIEW_LIT("team/ocr"), &ref));
    assert_string_equal(ref.namespace.s, "team");
    assert_false(a_app_ref_parse(A_VIEW_LIT("team/"), &ref));
    assert_false(a_app_ref_parse(A_VIEW_LIT("/ocr"), &ref));
    assert_false(a_app_ref_parse(A_VIEW_LIT("a/b/c"), &ref));

    /* RFC 4648: base32("fooba") = MZXW6YTB, padded to our 16 bytes */
    const uint8_t bytes[16] = "fooba";
    struct a_node_id id, again;
    a_node_id_make(bytes, &id);
    assert_memory_equal(id.s, "mzxw6ytb", 8);
    assert_int_equal(strlen(id.s), A_NODE_ID_LEN);
    assert_true(a_node_id_parse(a_view_str(id.s), &again));
    assert_false(a_node_id_parse(A_VIEW_LIT("mzxw6ytb"), &again));
}

static void test_uuid(void **state)
{
    (void)state;
    uint8_t bytes[16];
    memset(bytes, 0xff, sizeof bytes);
    struct a_uuid uuid;
    a_uuid_make_v4(bytes, &uuid);
    assert_string_equal(uuid.s, "ffffffff-ffff-4fff-bfff-ffffffffffff");
    a_uuid_make_v7(0x017F22E279B0, bytes, &uuid); /* the time of RFC 9562's example A.6 */
    assert_memory_equal(uuid.s, "017f22e2-79b0-7", 15);
    assert_true(a_uuid_parse(a_view_str(uuid.s), &uuid));
    assert_false(a_uuid_parse(A_VIEW_LIT("017f22e2x79b0-7fff-bfff-ffffffffffff"), &uuid));
}

static void test_claim_id(void **state)
{
    (void)state;
    const char *text = "017f22e2-79b0-7fff-bfff-ffffffffffff/ocr-a1b2c/head/7";
    struct a_claim_id id;
    assert_true(a_claim_id_parse(a_view_str(text), &id));
    assert_int_equal(id.attempt, 7);
    A_BUF_AUTO struct a_buf b = {0};
    a_claim_id_print(&b, &id);
    assert_string_equal(b.ptr, text);
    assert_false(a_claim_id_parse(A_VIEW_LIT("x/ocr-a1b2c/head/7"), &id));
    assert_false(
        a_claim_id_parse(A_VIEW_LIT("017f22e2-79b0-7fff-bfff-ffffffffffff/ocr-a1b2c/head/4294967296"), &id));
}

static void test_digest(void **state)
{
    (void)state;
    const char *hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    struct a_digest d;
    char out[A_DIGEST_HEX + 1];
    assert_true(a_digest_parse(a_view_str(hex), &d));
    a_digest_hex(&d, out);
    assert_string_equal(out, hex);
    assert_false(a_digest_parse((struct a_view){hex, 63}, &d));
    assert_false(a_digest_is_zero(&d));
}

static void test_capacity(void **state)
{
    (void)state;
    struct a_capacity free = {2000, 4096, 10}, want = {2001, 4096, 10};
    assert_string_equal(a_capacity_short(&free, &want), "cpu");
    want.mcpu = 2000;
    assert_true(a_capacity_fits(&free, &want));
    a_capacity_sub(&free, &want);
    assert_true(a_capacity_is_zero(&free));
    a_capacity_sub(&free, &want);
    assert_true(a_capacity_is_zero(&free));
    free.mcpu = UINT64_MAX;
    a_capacity_add(&free, &want);
    assert_true(free.mcpu == UINT64_MAX);
}

static void test_states(void **state)
{
    (void)state;
    struct a_sm unit;
    a_sm_init(&unit, &a_unit_states, A_UNIT_PLANNED);
    assert_false(a_sm_may(&unit, A_UNIT_READY));
    const int way[] = {A_UNIT_CLAIMING, A_UNIT_FETCHING, A_UNIT_STARTING, A_UNIT_DEPLOYING, A_UNIT_READY,
                       A_UNIT_LOST,     A_UNIT_READY,    A_UNIT_DRAINING, A_UNIT_STOPPED};
    for (size_t i = 0; i < A_ARRAY_SIZE(way); i++)
        a_sm_move(&unit, way[i], "ocr-a1b2c");
    for (int s = 0; s < A_UNIT_STATE_COUNT; s++)
        assert_false(a_sm_may(&unit, s));
    enum a_reason reason;
    assert_true(a_reason_parse(A_VIEW_LIT("HeadLost"), &reason));
    assert_int_equal(reason, A_REASON_HEAD_LOST);
    assert_false(a_reason_parse(A_VIEW_LIT("BadLuck"), &reason));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids),    cmocka_unit_test(test_uuid),     cmocka_unit_test(test_claim_id),
        cmocka_unit_test(test_digest), cmocka_unit_test(test_capacity), cmocka_unit_test(test_states),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
