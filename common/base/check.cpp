#include "common/base/check.hpp"

#include <cstdlib>

#include "common/base/log.hpp"

namespace romancy {

void broken(std::string_view what, std::string_view detail) {
  log::error("bug: this process cannot go on", {{"what", what}, {"detail", detail}});
  std::abort();
}

}  // namespace romancy
