#include "steps.hpp"

void add_examples(Program&) {}
