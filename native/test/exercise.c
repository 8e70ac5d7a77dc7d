/*
 * Tests of the stand-in in C, by its public functions only.
 *
 *   exercise LIBDIR TEST                 runs one test; 0 when all it checks is true
 *   exercise                             lists the tests
 *   exercise LIBDIR dump ROOT PATH FLAGS reads a disk below the datastores of ROOT to standard output
 *   exercise LIBDIR drain ROOT PATH US   reads it with 4 requests at a time, each taking so long, and tells how fast
 */
#include "exercise.h"

#include <dlfcn.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "sample_disk.h"

static const struct {
    const char *name;
    void (*run)(const char *library_folder);
} TESTS[] = {
    {"life", test_life},         {"reads", test_reads},           {"writes", test_writes},
    {"metadata", test_metadata}, {"damaged", test_damaged},       {"handles", test_handles},
    {"threads", test_threads},   {"queue", test_queue},           {"fork", test_fork},
    {"login", test_login},       {"names", test_names},           {"transports", test_transports},
    {"faults", test_faults},     {"rule-file", test_rule_file},   {"start", test_start},
#if VIXDISKLIB_API >= 67
    {"allocated", test_allocated},
#endif
    {"panic", test_panic},
};

int main(int count, char **words) {
    size_t tests = sizeof TESTS / sizeof TESTS[0];
    if (count == 1) {
        for (size_t i = 0; i < tests; i++) puts(TESTS[i].name);
        return 0;
    }
    if (count == 6 && strcmp(words[2], "dump") == 0) {
        dump(words[1], words[3], words[4], words[5]);
        return 0;
    }
    if (count == 6 && strcmp(words[2], "drain") == 0) {
        drain(words[1], words[3], words[4], words[5]);
        return 0;
    }
    for (size_t i = 0; count == 3 && i < tests; i++) {
        if (strcmp(words[2], TESTS[i].name) != 0) continue;
        /* Bounds a test that hangs. */
        alarm(60);
        harness_load(words[1], RTLD_NOW | RTLD_LOCAL);
        harness_rules("");
        sample_disks_make();
        TESTS[i].run(words[1]);
        return 0;
    }
    fprintf(stderr, "usage: exercise [LIBDIR TEST]\n");
    return 64;
}
