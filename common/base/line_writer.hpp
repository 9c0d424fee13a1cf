// LineWriter: whole lines to a descriptor that somebody else reads, without ever waiting for him.
//
// A reader that has stopped (a pager, a log collector that hangs) must not stop who writes: with a blocking write the
// listener would stop reading its socket, and PostgreSQL's notify queue would fill for the whole cluster. What the
// descriptor does not take now is not written, and the caller counts it. Of a line that was begun, the rest leaves before
// the next line, so that lines are never torn.
//
// O_NONBLOCK belongs to the open file, which is shared with whoever gave it to us (a shell, the supervisor, all its
// children): it is never set on `fd`. A socket is asked call by call, a pipe or a terminal is opened once more for us
// alone. A regular file takes its bytes or says that the disk is full: neither waits.
// Where a pipe cannot be opened again (another user made it), poll() is asked before each piece of PIPE_BUF bytes: it
// may then wait if another process takes the last free page in between.
// Not thread-safe.
#pragma once
#include <sys/types.h>

#include <string>
#include <string_view>

#include "common/base/unique_fd.hpp"

namespace romancy {

class LineWriter {
 public:
  explicit LineWriter(int fd) : fd_(fd) {}
  // One line or several, with their newlines. False: it was not taken, not even in part.
  bool write(std::string_view lines);

 private:
  enum class Kind { none, file, socket, own, shared };  // own: opened once more; shared: could not be
  void look();
  ssize_t push(std::string_view bytes);
  bool drain();

  int fd_;
  Kind kind_ = Kind::none;
  dev_t device_ = 0;  // of what fd_ was when we looked: it may be redirected at any time
  ino_t inode_ = 0;
  UniqueFd own_;
  std::string rest_;  // of the line that was begun last
};

}  // namespace romancy
