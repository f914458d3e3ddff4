// The one exception of the runtime; the C API turns it into an error code and a message.
#pragma once

#include <stdexcept>
#include <string>

namespace multibit {

class Error : public std::runtime_error {
 public:
  Error(int code, const std::string& message) : std::runtime_error(message), code_(code) {}
  int code() const { return code_; }

 private:
  int code_;
};

}  // namespace multibit
