#include "steps.hpp"

void add_saga(Program&) {}
