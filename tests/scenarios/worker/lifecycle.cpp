#include "steps.hpp"

void add_lifecycle(Program&) {}
