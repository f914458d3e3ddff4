// UTF-8, as texts should be, and what is shown of bytes that may be anything.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace multibit {

// What splits words in texts and prompts, as in Java: ASCII white space and nothing else.
inline bool IsWhiteSpace(int c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

// Bytes of the well-formed character that the text begins with; 0 if there is none.
size_t CharacterLength(std::string_view text);

// Whether all of it is well-formed.
bool IsUtf8(std::string_view text);

// At most so many bytes of a text, for a line of a message or of output: '?' for control characters and for bytes that
// are not UTF-8.
std::string Printable(std::string_view text, size_t most = std::string_view::npos);

// At most so many characters of a word, for a message: those that cannot be seen by their codes, as \u00A0, and '?' for
// bytes that are not UTF-8. The rule of Words in datasets.
std::string ShownWord(std::string_view word, size_t most = 80);

}  // namespace multibit
