#ifndef STANDIN_RULE_LINES_H
#define STANDIN_RULE_LINES_H

#include <stdio.h>

#include "rules.h"

/* The rules of an open file; NULL, and why, for a line that is not understood. */
Rules *rule_lines_read(FILE *file, char *why, size_t why_size);

#endif
