#include "steps.hpp"

void add_messages(Program&) {}
