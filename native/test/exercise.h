#ifndef STANDIN_TEST_EXERCISE_H
#define STANDIN_TEST_EXERCISE_H

/* Each test runs in a process of its own, because the library starts once in a process. */
void test_life(const char *library_folder);
void test_reads(const char *library_folder);
void test_writes(const char *library_folder);
void test_allocated(const char *library_folder);
void test_metadata(const char *library_folder);
void test_damaged(const char *library_folder);

void test_handles(const char *library_folder);
void test_threads(const char *library_folder);
void test_queue(const char *library_folder);
void test_fork(const char *library_folder);

void test_login(const char *library_folder);
void test_names(const char *library_folder);
void test_transports(const char *library_folder);
void test_faults(const char *library_folder);
void test_rule_file(const char *library_folder);
void test_start(const char *library_folder);
void test_panic(const char *library_folder);

/* Writes what the library reads of a disk to standard output: `dump LIBDIR ROOT PATH FLAGS`. */
void dump(const char *library_folder, const char *root, const char *path, const char *flags);

/* Reads a disk as fast as the library alone can, and writes a line of JSON: `drain LIBDIR ROOT PATH LATENCY_US`. */
void drain(const char *library_folder, const char *root, const char *path, const char *latency_us);

#endif
