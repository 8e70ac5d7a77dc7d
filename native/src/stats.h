#ifndef STANDIN_STATS_H
#define STANDIN_STATS_H

/* Appends a line to the file that the rule `stats` names: what was opened, asked and closed, so that tests can count. */
void stats_event(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
