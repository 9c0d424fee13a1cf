#include "steps.hpp"

void add_determinism(Program&) {}
