// test_point: named places in the programs where a test may make this process die, wait or meet an error.
//
// They are before and after each commit, send, acknowledgement and fork: "timer.fire.before", "timer.fire.after".
// Compiled in only with the CMake option ROMANCY_TEST_POINTS (on in the presets for tests, off in packages: there the macro is
// `false`, and packaging/check.sh looks for what must not be in the programs).
//
// The environment variable ROMANCY_TEST_POINTS says what happens where:
//
//   name=action@count[,name=action@count..]      at the count-th time (from 1) that this process comes by; 1 when left out
//   crash        SIGKILL, as from outside
//   error        the macro is true: the place does as if what it is about had failed
//   pause:FILE   nothing more happens in this process until the file is there
//
// Where ROMANCY_TEST_POINTS_ONCE names a directory, a point acts once among all processes: the one that makes the file
// <directory>/<name> first. Else what is started again in the same environment would act again.
#pragma once
#include "test_points.hpp"

#ifdef ROMANCY_TEST_POINTS
#include <string_view>
namespace romancy {
bool test_point(std::string_view name);
}
#define ROMANCY_TEST_POINT(name) (::romancy::test_point(name))
#else
#define ROMANCY_TEST_POINT(name) (false)
#endif
