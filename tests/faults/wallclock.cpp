// wallclock: to be preloaded. The wall clock of the process that has it is as many seconds ahead (or behind) as the file that
// WALLCLOCK_FILE names says, looked at every 100 ms; every other clock is the true one.
//
// It is ours because libfaketime 0.9.10 fakes CLOCK_MONOTONIC_COARSE even where it is told not to fake the monotonic clock;
// libuv takes its time from there on kernels with a tick of 1 ms, and all its timers end at once.
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

namespace {

// No call of what is replaced here, and no allocation: whoever asks for the time may hold any lock.
long offset() {
  thread_local timespec looked{};
  thread_local long seconds = 0;
  timespec now{};
  ::syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
  if (looked.tv_sec != 0 && (now.tv_sec - looked.tv_sec) * 10 + (now.tv_nsec - looked.tv_nsec) / 100'000'000 < 1) return seconds;
  looked = now;
  const char* path = ::getenv("WALLCLOCK_FILE");
  const int fd = path ? ::open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (fd < 0) return seconds;
  char text[32] = "";
  const ssize_t got = ::read(fd, text, sizeof text - 1);
  ::close(fd);
  if (got > 0) seconds = ::atol(text);
  return seconds;
}

}  // namespace

extern "C" {

int clock_gettime(clockid_t clock, timespec* out) noexcept {
  const int code = static_cast<int>(::syscall(SYS_clock_gettime, clock, out));
  if (code == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) out->tv_sec += offset();
  return code;
}

int gettimeofday(timeval* out, void*) noexcept {
  timespec now{};
  const int code = clock_gettime(CLOCK_REALTIME, &now);
  out->tv_sec = now.tv_sec;
  out->tv_usec = now.tv_nsec / 1000;
  return code;
}

time_t time(time_t* out) noexcept {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  if (out) *out = now.tv_sec;
  return now.tv_sec;
}

}  // extern "C"
