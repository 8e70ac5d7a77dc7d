/*
 * A program that exports an OpenSSL of its own, as node does.
 *
 *   foreign-openssl LIBDIR plain    the library is bound to the program's OpenSSL: it must end the process
 *   foreign-openssl LIBDIR library  the library is bound deeply, the plug-in that it loads is not: the same
 *   foreign-openssl LIBDIR both     both are bound deeply, the library first: all is well
 */
#include <dlfcn.h>
#include <limits.h>
#include <string.h>

#include "harness.h"
#include "sample_disk.h"

int OPENSSL_init_ssl(uint64_t options, const void *settings);

int OPENSSL_init_ssl(__attribute__((unused)) uint64_t options, __attribute__((unused)) const void *settings) {
    return 1;
}

int main(int count, char **words) {
    if (count != 3) return 64;
    bool is_deep = strcmp(words[2], "plain") != 0;
    harness_load(words[1], RTLD_NOW | RTLD_LOCAL | (is_deep ? RTLD_DEEPBIND : 0));
    if (strcmp(words[2], "both") == 0) {
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s/lib64/libdiskLibPlugin.so", words[1]);
        if (dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND) == NULL) harness_fail(__FILE__, __LINE__, dlerror());
    }
    harness_rules("");
    harness_init(words[1]);
    vix.Exit();
    return 0;
}
