// Abandoned: thrown through workflow code that did something else than history says. No std::exception, and never
// caught but by the run itself; the code is not run any further.
#pragma once

namespace romancy::resumer {

struct Abandoned {};

}  // namespace romancy::resumer
