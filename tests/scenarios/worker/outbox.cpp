#include "steps.hpp"

void add_outbox(Program&) {}
