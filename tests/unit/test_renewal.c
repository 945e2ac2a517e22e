/* When a certificate is asked for again: daemon/renewal.h, invariant 9 of docs/components/identity.md. */
#include "daemon/renewal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define LIFE_MS UINT64_C(86400000)

/* Who never gets an answer: how many requests go in so many milliseconds. */
static unsigned asked_in(struct d_renewal *r, uint64_t life_ms, uint64_t from_ms, uint64_t for_ms)
{
    unsigned n = 0;
    for (uint64_t now = from_ms; now < from_ms + for_ms; now += D_RENEWAL_MIN_MS / 10) {
        if (d_renewal_wait_ms(r, now) > 0)
            continue;
        d_renewal_asked(r, life_ms, now);
        n++;
    }
    return n;
}

static void test_one_at_a_time(void **state)
{
    (void)state;
    struct d_renewal r;
    d_renewal_init(&r, 1);
    d_renewal_answered(&r, 1u << 30); /* unasked: the certificate by which it joined */
    assert_int_equal(d_renewal_wait_ms(&r, 0), 0);
    d_renewal_asked(&r, 20000, 0);
    uint64_t wait = d_renewal_wait_ms(&r, 0);
    assert_in_range(wait, 1000, 2000); /* the upper half of a tenth of the life */
    assert_int_equal(d_renewal_wait_ms(&r, wait - 1), 1);
    assert_int_equal(d_renewal_wait_ms(&r, wait), 0);
    d_renewal_answered(&r, 300);
    assert_int_equal(d_renewal_wait_ms(&r, 300), D_RENEWAL_MIN_MS);
}

static void test_ever_later(void **state)
{
    (void)state;
    struct d_renewal r;
    d_renewal_init(&r, 7);
    /* 1, 2, 4 ... 512 s of patience, each from its upper half: about ten requests in the first ten minutes,
     * and then one in five to ten minutes */
    assert_in_range(asked_in(&r, 3000, 0, 600000), 9, 11);
    assert_in_range(asked_in(&r, 3000, 600000, 6 * 3600000), 36, 72);
    d_renewal_answered(&r, 100 * 3600000);
    d_renewal_init(&r, 7); /* with the life of a day the longest patience is there at once */
    assert_in_range(asked_in(&r, LIFE_MS, 0, 3600000), 6, 12);
}

static void test_peers_do_not_ask_together(void **state)
{
    (void)state;
    unsigned early = 0;
    for (uint64_t seed = 1; seed <= 1000; seed++) {
        struct d_renewal r;
        d_renewal_init(&r, seed);
        d_renewal_asked(&r, LIFE_MS, 0);
        uint64_t wait = d_renewal_wait_ms(&r, 0);
        assert_in_range(wait, D_RENEWAL_MAX_MS / 2, D_RENEWAL_MAX_MS);
        early += wait < D_RENEWAL_MAX_MS / 4 * 3;
    }
    assert_in_range(early, 400, 600);
}

/* A server that takes 17 s for an answer: patience follows, and nothing piles up. */
static void test_slow_answers(void **state)
{
    (void)state;
    struct d_renewal r;
    uint64_t now = 0, asked = 0, answers[256];
    unsigned n_answers = 0, taken = 0, most = 0;
    d_renewal_init(&r, 3);
    for (; now < 600000; now += 100) {
        if (taken < n_answers && answers[taken] <= now) {
            d_renewal_answered(&r, now);
            taken++;
        }
        if (d_renewal_wait_ms(&r, now) == 0) { /* each certificate has ended when it comes */
            d_renewal_asked(&r, 0, now);
            answers[n_answers++] = now + 17000;
            asked++;
        }
        if (now > 60000 && n_answers - taken > most)
            most = n_answers - taken;
    }
    assert_int_equal(most, 1);
    assert_in_range(asked, 30, 45);
}

static void test_a_new_link(void **state)
{
    (void)state;
    struct d_renewal r;
    d_renewal_init(&r, 5);
    (void)asked_in(&r, 3000, 0, 600000);
    uint64_t now = 600000;
    d_renewal_cut(&r, now);
    assert_true(d_renewal_wait_ms(&r, now) <= D_RENEWAL_MIN_MS);
    d_renewal_asked(&r, 3000, now + D_RENEWAL_MIN_MS);
    assert_in_range(d_renewal_wait_ms(&r, now), D_RENEWAL_MIN_MS, 2 * D_RENEWAL_MIN_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_at_a_time),
        cmocka_unit_test(test_ever_later),
        cmocka_unit_test(test_peers_do_not_ask_together),
        cmocka_unit_test(test_slow_answers),
        cmocka_unit_test(test_a_new_link),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
