// Rows: the answer to one statement. Owns the PGresult; cheap to move. Column and row numbers start at 0.
//
// The typed readers abort on a wrong column, type or NULL: the SQL is ours, so that is a bug, not an input error.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

struct pg_result;

namespace romancy::pg {

class Rows {
 public:
  Rows() = default;
  explicit Rows(pg_result* owned);

  [[nodiscard]] int size() const;
  [[nodiscard]] bool empty() const { return size() == 0; }
  [[nodiscard]] int columns() const;
  [[nodiscard]] std::string name(int column) const;
  [[nodiscard]] bool is_null(int row, int column) const;
  [[nodiscard]] std::string_view text(int row, int column) const;  // valid while this Rows lives
  [[nodiscard]] std::string str(int row, int column) const { return std::string(text(row, column)); }
  [[nodiscard]] std::int64_t int64(int row, int column) const;
  [[nodiscard]] int int32(int row, int column) const { return static_cast<int>(int64(row, column)); }
  [[nodiscard]] bool boolean(int row, int column) const;
  [[nodiscard]] std::string command() const;  // what was done: "UPDATE 3", "COMMIT"
  [[nodiscard]] std::int64_t affected() const;  // rows changed, for a statement that returns none

 private:
  struct Free {
    void operator()(pg_result* result) const;
  };
  std::unique_ptr<pg_result, Free> result_;
};

}  // namespace romancy::pg
