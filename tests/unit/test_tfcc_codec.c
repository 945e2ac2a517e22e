/* The codecs of tfcc: .npy files and the head of ONNX files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "tfcc/npy.h"
#include "tfcc/onnx.h"
#include "tfcc_onnx_writer.h"

static int npy_parse(const char *head, size_t data_bytes, struct tfcc_npy *ret, struct tfcc_error *error)
{
    A_BUF_AUTO struct a_buf file = {0};
    static const char zeros[256];
    a_buf_add(&file, "\x93NUMPY\x01\x00", 8);
    a_buf_add_char(&file, (char)strlen(head));
    a_buf_add_char(&file, 0);
    a_buf_add_str(&file, head);
    a_buf_add(&file, zeros, data_bytes);
    return tfcc_npy_parse(a_buf_view(&file), ret, error);
}

static void test_npy_round_trip(void **state)
{
    (void)state;
    static const int64_t dims[] = {1, 3, 48, 0, 320};
    for (uint32_t rank = 0; rank <= 5; rank++) {
        A_BUF_AUTO struct a_buf file = {0};
        struct tfcc_npy npy;
        struct tfcc_error error;
        char data[4 * 144] = "abc";
        size_t bytes = rank == 0 || rank == 1 ? 4 : rank == 2 ? 12 : rank == 3 ? 576 : 0;
        tfcc_npy_print_head(&file, TFCC_F32, dims, rank);
        assert_int_equal(file.len % 64, 0);
        a_buf_add(&file, data, bytes);
        assert_int_equal(tfcc_npy_parse(a_buf_view(&file), &npy, &error), TFCC_OK);
        assert_int_equal(npy.dtype, TFCC_F32);
        assert_int_equal(npy.rank, rank);
        assert_memory_equal(npy.dims, dims, rank * sizeof dims[0]);
        assert_int_equal(npy.data.len, bytes);
        assert_memory_equal(npy.data.ptr, data, bytes);
    }
}

static void test_npy_refused(void **state)
{
    (void)state;
    struct tfcc_npy npy;
    struct tfcc_error error;
    assert_int_equal(
        npy_parse("{'descr': '|u1', 'fortran_order': False, 'shape': (3,), }\n", 3, &npy, &error), TFCC_OK);
    static const struct {
        const char *head;
        const char *says;
    } cases[] = {
        {"{'descr': '>f4', 'fortran_order': False, 'shape': (3,), }\n", "element type"},
        {"{'descr': '|O', 'fortran_order': False, 'shape': (3,), }\n", "element type"},
        {"{'descr': '|u1', 'fortran_order': True, 'shape': (3,), }\n", "C order"},
        {"{'descr': '|u1', 'shape': (3,), }\n", "C order"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (-3,), }\n", "shape"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (3", "shape"},
        {"{'descr': '|u1', 'fortran_order': False, }\n", "shape"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (4,), }\n", "another number of bytes"},
        {"{'descr': '<u8', 'fortran_order': False, 'shape': (9223372036854775807, 3), }\n",
         "another number of bytes"},
        {"", "element type"},
    };
    for (size_t i = 0; i < A_ARRAY_SIZE(cases); i++) {
        assert_int_equal(npy_parse(cases[i].head, 3, &npy, &error), TFCC_E_INVALID);
        assert_non_null(strstr(error.message, cases[i].says));
    }
    assert_int_equal(tfcc_npy_parse(A_VIEW_LIT("\x93NUMPY\x01\x00\xff\xff"), &npy, &error), TFCC_E_INVALID);
    assert_int_equal(tfcc_npy_parse((struct a_view){0}, &npy, &error), TFCC_E_INVALID);
}

static void test_onnx_skim(void **state)
{
    (void)state;
    A_BUF_AUTO struct a_buf file = {0};
    struct tfcc_onnx onnx;
    static const int64_t dims[] = {-1, 3};
    onnx_write(&file, &(struct onnx_spec){.op = "Neg", .dims = dims, .rank = 2});
    assert_true(tfcc_onnx_skim(a_buf_view(&file), &onnx));
    assert_int_equal(onnx.ir_version, 8);
    assert_true(a_view_is(onnx.producer, "astra-tests"));
    assert_int_equal(onnx.n_opsets, 1);
    assert_int_equal(onnx.opsets[0].version, 13);
    assert_int_equal(onnx.opsets[0].domain.len, 0);
    /* no prefix of it but one that ends between two fields behind the graph is a model */
    size_t models = 0;
    for (size_t n = 0; n < file.len; n++)
        models += tfcc_onnx_skim((struct a_view){file.ptr, n}, &onnx);
    assert_int_equal(models, 1);
    assert_false(tfcc_onnx_skim(A_VIEW_LIT("root:x:0:0:root:/root:/bin/bash\n"), &onnx));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_npy_round_trip),
        cmocka_unit_test(test_npy_refused),
        cmocka_unit_test(test_onnx_skim),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
