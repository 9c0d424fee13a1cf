#include "steps.hpp"

void add_cancel(Program&) {}
