/* Any bytes as a holder's orders: refused, or a fault that is written and read back the same. */
#include <string.h>

#include "chaoslib/net/net.h"

#define INPUT_MAX ((size_t)64 << 10)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    auto(json) struct json *j = NULL;
    struct net_fault f, again;
    struct net_model m;
    struct err err = { 0 };

    if (size > INPUT_MAX || json_parse((const char *)data, size, &j, NULL) < 0)
        return 0;
    if (net_fault_read(j, &f, &err) < 0) {
        if (!err_is_set(&err))
            abort();
        return 0;
    }
    auto(json) struct json *written = net_fault_write(&f);
    if (net_fault_read(written, &again, &err) < 0)
        abort();
    auto(json) struct json *rewritten = net_fault_write(&again);
    auto_free char *one = json_print(written, false), *two = json_print(rewritten, false);
    if (strcmp(one, two) != 0)
        abort();
    net_model_init(&m, &f, 1);
    for (unsigned i = 0; i < 64; i++)
        net_model_next(&m, f.effect, i * NS_PER_MS, 1500);
    return 0;
}
