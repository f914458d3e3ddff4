#include "text.h"

namespace multibit {
namespace {

unsigned Byte(std::string_view text, size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0; }

bool IsBetween(unsigned byte, unsigned least, unsigned most) { return byte >= least && byte <= most; }

}  // namespace

size_t CharacterLength(std::string_view text) {
  if (text.empty()) return 0;
  const unsigned first = Byte(text, 0);
  if (first < 0x80) return 1;
  const size_t length = IsBetween(first, 0xC2, 0xDF)   ? 2
                        : IsBetween(first, 0xE0, 0xEF) ? 3
                        : IsBetween(first, 0xF0, 0xF4) ? 4
                                                       : 0;
  if (length == 0) return 0;
  // No longer form than needed, no surrogates, nothing above U+10FFFF.
  const unsigned least = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
  const unsigned most = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
  if (!IsBetween(Byte(text, 1), least, most)) return 0;
  for (size_t i = 2; i < length; ++i) {
    if (!IsBetween(Byte(text, i), 0x80, 0xBF)) return 0;
  }
  return length;
}

bool IsUtf8(std::string_view text) {
  while (!text.empty()) {
    const size_t length = CharacterLength(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::string Printable(std::string_view text, size_t most) {
  std::string printable;
  for (size_t i = 0; i < text.size();) {
    const size_t length = CharacterLength(text.substr(i));
    const size_t taken = length == 0 ? 1 : length;
    if (printable.size() + taken > most) break;
    const unsigned first = Byte(text, i);
    const bool control = first < ' ' || first == 0x7F || (first == 0xC2 && Byte(text, i + 1) < 0xA0);
    if (length == 0 || control) {
      printable += '?';
    } else {
      printable += text.substr(i, length);
    }
    i += taken;
  }
  return printable;
}

}  // namespace multibit
