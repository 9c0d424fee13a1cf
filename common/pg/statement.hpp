// Statement: one SQL text under a name. Made at build time from sql/queries/<process>/<name>.sql (cmake/EmbedSql).
#pragma once
#include <string>
#include <string_view>

namespace romancy::pg {

struct Statement {
  const char* name;  // unique in the program: prepared statements are known by it
  const char* text;  // unqualified names: the connection's search_path is the schema

  // On a connection whose search_path is its user's: the text says :"schema" (as psql's variables) before each of our
  // names, and here is what that stands for, quoted.
  [[nodiscard]] std::string in_schema(std::string_view quoted) const {
    static constexpr std::string_view kVariable = ":\"schema\"";
    std::string whole(text);
    for (std::size_t at = 0; (at = whole.find(kVariable, at)) != std::string::npos; at += quoted.size()) {
      whole.replace(at, kVariable.size(), quoted);
    }
    return whole;
  }
};

}  // namespace romancy::pg
