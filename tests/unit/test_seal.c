/* Sealed secrets: they open with their key at their place, unchanged, and never otherwise. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "sys/file.h"
#include "sys/random.h"
#include "sys/seal.h"

static struct sys_secret key_new(void)
{
    char bytes[SYS_SEAL_KEY_BYTES];
    struct sys_secret key = {0};
    sys_random_bytes(bytes, sizeof bytes);
    sys_secret_set(&key, (struct a_view){bytes, sizeof bytes});
    return key;
}

static void test_it_opens_with_its_key_at_its_place(void **state)
{
    (void)state;
    SYS_SECRET_AUTO struct sys_secret key = key_new(), other = key_new(), got = {0};
    A_BUF_AUTO struct a_buf one = {0}, two = {0};
    struct a_view place = A_VIEW_LIT("/default/cluster/east"), plain = A_VIEW_LIT("{\"token\": \"a b c\"}");
    assert_int_equal(sys_seal(&key, place, plain, &one, NULL), 0);
    assert_int_equal(sys_seal(&key, place, plain, &two, NULL), 0);
    assert_string_not_equal(one.ptr, two.ptr); /* a fresh nonce for each */
    assert_null(strstr(one.ptr, "token"));
    assert_int_equal(sys_unseal(&key, place, a_buf_view(&one), &got, NULL), 0);
    assert_string_equal(got.ptr, plain.ptr);
    assert_int_equal(sys_unseal(&other, place, a_buf_view(&one), &got, NULL), -EBADMSG);
    assert_int_equal(sys_unseal(&key, A_VIEW_LIT("/default/cluster/west"), a_buf_view(&one), &got, NULL),
                     -EBADMSG);
    for (size_t i = 0; i < one.len; i++) { /* any digit that changed */
        char was = one.ptr[i];
        one.ptr[i] = was == '0' ? '1' : '0';
        assert_int_equal(sys_unseal(&key, place, a_buf_view(&one), &got, NULL), -EBADMSG);
        one.ptr[i] = was;
    }
    assert_string_equal(got.ptr, plain.ptr);
}

static void test_what_is_no_sealed_text(void **state)
{
    (void)state;
    SYS_SECRET_AUTO struct sys_secret key = key_new(), got = {0};
    static const char *const texts[] = {"", "0", "zz", "00", "0011223344556677889900"};
    for (size_t i = 0; i < A_ARRAY_SIZE(texts); i++)
        assert_int_equal(sys_unseal(&key, A_VIEW_LIT("p"), a_view_str(texts[i]), &got, NULL), -EINVAL);
    assert_null(got.ptr);
}

static void test_the_key_s_file(void **state)
{
    (void)state;
    SYS_SECRET_AUTO struct sys_secret made = {0}, read = {0};
    A_AUTOFREE char *folder = NULL;
    struct sys_stat st;
    assert_int_equal(sys_dir_make_temp("/tmp/astra-seal-", &folder, NULL), 0);
    A_AUTOFREE char *path = sys_path_join(folder, "store.key");
    assert_int_equal(sys_seal_key_read(path, &read, NULL), -ENOENT);
    assert_int_equal(sys_seal_key_make(path, &made, NULL), 0);
    assert_int_equal(sys_file_stat(path, &st, NULL), 0);
    assert_int_equal(st.mode & 0777, 0600);
    assert_int_equal(sys_seal_key_read(path, &read, NULL), 0);
    assert_true(sys_secret_equal(&made, sys_secret_view(&read)));
    assert_int_equal(sys_file_write_atomic(path, "abc\n", 4, 0600, NULL), 0);
    assert_int_equal(sys_seal_key_read(path, &read, NULL), -EINVAL);
    assert_int_equal(sys_dir_remove(folder, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_opens_with_its_key_at_its_place),
        cmocka_unit_test(test_what_is_no_sealed_text),
        cmocka_unit_test(test_the_key_s_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
