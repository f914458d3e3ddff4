// What the C API reports: a code of multibit.h and one line that says what was wrong, where, and what to do.
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

// Throws an Error with a message in the manner of printf.
[[noreturn]] void Fail(int code, const char* format, ...) __attribute__((format(printf, 2, 3)));

}  // namespace multibit
