// RunCache: suspended coroutines that stay in memory, so that waking up an instance with ten thousand events of
// history costs the same as one with ten. Least recently used first out.
//
// A copy is true only if nobody held the instance in between: take() gives it back only for the next lease token.
// Bound: `capacity` instances; 0 keeps none.
#pragma once
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>

#include "resumer/run.hpp"

namespace romancy::resumer {

class RunCache {
 public:
  explicit RunCache(int capacity) : capacity_(static_cast<std::size_t>(capacity)) {}

  void put(const std::string& instance_id, std::int64_t token, std::unique_ptr<Run> run);
  // The run held under token - 1, or nothing; whatever was there is forgotten.
  std::unique_ptr<Run> take(const std::string& instance_id, std::int64_t token);
  void clear();
  [[nodiscard]] std::size_t size() const { return by_age_.size(); }

 private:
  struct Entry {
    std::string instance_id;
    std::int64_t token;
    std::unique_ptr<Run> run;
  };
  std::size_t capacity_;
  std::list<Entry> by_age_;  // newest first
  std::unordered_map<std::string, std::list<Entry>::iterator> by_id_;
};

}  // namespace romancy::resumer
