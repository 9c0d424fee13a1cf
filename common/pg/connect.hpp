// Connect: one attempt to connect, on the loop, host after host, address after address. Internal to common/pg.
//
// `done` comes exactly once, on the loop, never from within the constructor, unless the Connect is destroyed before;
// it may destroy the Connect. A name's look-up has `connect_timeout`, and so has each of its addresses, because
// PQconnectPoll does not enforce libpq's own: an address that swallows packets does not hide the next one. Names are
// looked up beside the loop (io/resolve.hpp): nothing here blocks.
#pragma once
#include <functional>
#include <memory>

#include "common/io/loop.hpp"
#include "common/pg/conn.hpp"
#include "common/pg/libpq.hpp"

namespace romancy::pg {

class Connect {
 public:
  using Done = std::function<void(Result<PgConn>)>;
  Connect(io::Loop& loop, const ConnOptions& options, Done done);
  ~Connect();
  Connect(const Connect&) = delete;
  Connect& operator=(const Connect&) = delete;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace romancy::pg
