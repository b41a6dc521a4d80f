/* What a killed Pumba leaves: which rules its command line adds, and which trees of tc are its. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "chaoslib/pumba/residue.h"

static void a_line_tells_its_rules(void **state)
{
#define LOSS \
    "\"-m\",\"statistic\",\"--mode\",\"random\",\"--probability\",\"0.50\",\"-j\",\"DROP\"]"
    static const struct {
        const char *line, *what;
    } cases[] = {
        { "kill x", "{}" },
        { "netem -d 9s -i eth1 delay x", "{\"interface\":\"eth1\"}" },
        { "iptables -d 9s loss --probability 0.5 x",
          "{\"interface\":\"eth0\",\"rules\":[[\"INPUT\",\"-i\",\"eth0\"," LOSS "]}" },
        { "iptables -d 9s -p udp --source 10.0.0.0/8 --dport 9,10 loss --probability 0.5 x",
          "{\"interface\":\"eth0\",\"rules\":["
          "[\"INPUT\",\"-i\",\"eth0\",\"-p\",\"udp\",\"-s\",\"10.0.0.0/8\"," LOSS ","
          "[\"INPUT\",\"-i\",\"eth0\",\"-p\",\"udp\",\"--dport\",\"9\"," LOSS ","
          "[\"INPUT\",\"-i\",\"eth0\",\"-p\",\"udp\",\"--dport\",\"10\"," LOSS "]}" },
        { "iptables -d 9s loss --mode nth --every 3 --packet 1 x",
          "{\"interface\":\"eth0\",\"rules\":[[\"INPUT\",\"-i\",\"eth0\",\"-m\",\"statistic\","
          "\"--mode\",\"nth\",\"--every\",\"3\",\"--packet\",\"1\",\"-j\",\"DROP\"]]}" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena *arena = arena_new(0);
        struct pumba_line l;
        struct err err = { 0 };

        if (pumba_read(cases[i].line, arena, &l, &err) < 0)
            fail_msg("%s: %s", cases[i].line, err.msg);
        auto(json) struct json *what = pumba_residue_of(&l);
        auto_free char *text = json_print(what, false);
        assert_string_equal(text, cases[i].what);
        arena_free(arena);
    }
}

static void only_pumbas_own_trees_are_its(void **state)
{
#define NODE(kind_, handle_, parent_)                             \
    {                                                             \
        .kind = (kind_), .handle = (handle_), .parent = (parent_) \
    }
    static const struct {
        const char *what;
        struct tc_qdisc v[3];
        bool its;
    } cases[] = {
        { "the kernel's own", { NODE(TC_OTHER, 0, TC_ROOT) }, false },
        { "netem, with the handle that the kernel gave",
          { NODE(TC_NETEM, TC_HANDLE(0x8001, 0), TC_ROOT) },
          true },
        { "our own netem", { NODE(TC_NETEM, TC_HANDLE(0xca, 0), TC_ROOT) }, false },
        { "prio with a netem as 1.1 makes it",
          { NODE(TC_PRIO, TC_HANDLE(1, 0), TC_ROOT),
            NODE(TC_OTHER, TC_HANDLE(0x10, 0), TC_HANDLE(1, 1)),
            NODE(TC_NETEM, TC_HANDLE(0x30, 0), TC_HANDLE(1, 3)) },
          true },
        { "someone's prio", { NODE(TC_PRIO, TC_HANDLE(1, 0), TC_ROOT) }, false },
        { "prio with a netem elsewhere",
          { NODE(TC_PRIO, TC_HANDLE(1, 0), TC_ROOT),
            NODE(TC_NETEM, TC_HANDLE(0x30, 0), TC_HANDLE(1, 2)) },
          false },
        { "as 1.2 makes it", { NODE(TC_PRIO, TC_HANDLE(0x504d, 0), TC_ROOT) }, true },
        { "someone's tbf", { NODE(TC_TBF, TC_HANDLE(0x8001, 0), TC_ROOT) }, false },
        { "a netem that is no root",
          { NODE(TC_NETEM, TC_HANDLE(0x8001, 0), TC_HANDLE(1, 1)) },
          false },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (pumba_made_tree(cases[i].v, ARRAY_LEN(cases[i].v)) != cases[i].its)
            fail_msg("%s is%s Pumba's", cases[i].what, cases[i].its ? "" : " not");
}

static void what_is_to_be_done_by_hand_is_said(void **state)
{
    struct arena *arena = arena_new(0);
    struct pumba_line l;

    (void)state;
    static const char *const lines[][2] = {
        { "netem -d 9s loss -p 1 x", "nsenter -t 4711 -n tc qdisc del dev eth0 root" },
        { "iptables -d 9s loss --probability 1 x",
          "nsenter -t 4711 -n iptables -D INPUT -i eth0 -m statistic --mode random --probability "
          "1.00 -j DROP" },
    };
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        auto_buf struct buf out = BUF_INIT(0);
        assert_int_equal(pumba_read(lines[i][0], arena, &l, NULL), 0);
        auto(json) struct json *what = pumba_residue_of(&l);
        pumba_residue_by_hand(4711, what, &out);
        assert_string_equal(buf_str(&out), lines[i][1]);
    }
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_tells_its_rules),
        cmocka_unit_test(only_pumbas_own_trees_are_its),
        cmocka_unit_test(what_is_to_be_done_by_hand_is_said),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
