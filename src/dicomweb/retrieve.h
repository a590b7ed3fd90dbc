#pragma once
/*
 * What objects can be given in, besides the transfer syntax that they are stored in.
 */
#include "dicomweb/wado.h"

enum { RETRIEVE_TARGETS = 8 };

extern const char *const retrieve_targets[RETRIEVE_TARGETS];

/* Could an object be given in that other syntax?  By syntaxes alone. */
bool is_retrievable(struct str stored, struct str target);
