#include "text.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <iterator>

namespace multibit {
namespace {

unsigned Byte(std::string_view text, size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0; }

bool IsBetween(unsigned byte, unsigned least, unsigned most) { return byte >= least && byte <= most; }

// First and last characters of ranges that cannot be seen: controls, the blanks of Unicode, and what it calls default
// ignorable.
constexpr uint32_t kInvisible[][2] = {
    {0x00, 0x1F},     {0x7F, 0xA0},       {0xAD, 0xAD},       {0x34F, 0x34F},     {0x61C, 0x61C},   {0x115F, 0x1160},
    {0x1680, 0x1680}, {0x17B4, 0x17B5},   {0x180B, 0x180F},   {0x2000, 0x200F},   {0x2028, 0x202F}, {0x205F, 0x206F},
    {0x2800, 0x2800}, {0x3000, 0x3000},   {0x3164, 0x3164},   {0xFE00, 0xFE0F},   {0xFEFF, 0xFEFF}, {0xFFA0, 0xFFA0},
    {0xFFF0, 0xFFFB}, {0x1BCA0, 0x1BCA3}, {0x1D173, 0x1D17A}, {0xE0000, 0xE0FFF},
};

bool IsInvisible(uint32_t character) {
  return std::any_of(std::begin(kInvisible), std::end(kInvisible),
                     [&](const uint32_t(&range)[2]) { return character >= range[0] && character <= range[1]; });
}

// The code of a well-formed character.
uint32_t Code(std::string_view character) {
  const unsigned first = Byte(character, 0);
  uint32_t code = character.size() == 1 ? first : first & (0x7FU >> character.size());
  for (size_t i = 1; i < character.size(); ++i) code = code << 6 | (Byte(character, i) & 0x3F);
  return code;
}

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

std::string ShownWord(std::string_view word, size_t most) {
  std::string shown;
  for (size_t i = 0, count = 0; i < word.size(); ++count) {
    if (count == most) return shown + "...";
    const size_t length = CharacterLength(word.substr(i));
    const std::string_view character = word.substr(i, length);
    if (length == 0) {
      shown += '?';
    } else if (const uint32_t code = Code(character); IsInvisible(code)) {
      char escape[16];
      std::snprintf(escape, sizeof(escape), code <= 0xFFFF ? "\\u%04X" : "\\u{%X}", code);
      shown += escape;
    } else {
      shown += character;
    }
    i += std::max<size_t>(length, 1);
  }
  return shown;
}

}  // namespace multibit
