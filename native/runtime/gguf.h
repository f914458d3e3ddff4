// A GGUF version 3 file (docs/format.md), in memory and checked: whatever its bytes say, nothing is read outside of it.
// What is allocated grows with the keys, tensors and words that are there, not with counts that the file claims.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace multibit {

// The bytes of a file, read-only: mapped, or memory that somebody else keeps.
class FileBytes {
 public:
  explicit FileBytes(const char* path);
  FileBytes(const uint8_t* data, size_t size) : data_(data), size_(size), mapped_(false) {}
  FileBytes(FileBytes&& other) noexcept
      : data_(other.data_), size_(other.size_), mapped_(std::exchange(other.mapped_, false)) {}
  FileBytes& operator=(FileBytes&&) = delete;
  ~FileBytes();

  const uint8_t* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  const uint8_t* data_;
  size_t size_;
  bool mapped_;
};

struct GgufValue {
  uint32_t type;
  const uint8_t* data;    // of a string its bytes, of an array its first element; in the file, not aligned
  uint64_t count;         // bytes of a string, elements of an array, else 1
  uint32_t element_type;  // of an array

  // Numbers in decimal, an array as its length.
  std::string Text() const;
};

struct GgufTensor {
  std::vector<uint64_t> dims;  // fastest first
  uint32_t type;
  uint64_t offset;  // from the start of the file
};

class GgufFile {
 public:
  // Messages call the file by its name.
  GgufFile(FileBytes bytes, const char* name);

  size_t size() const { return bytes_.size(); }
  // In the order of the file.
  const std::vector<std::pair<std::string_view, GgufValue>>& metadata() const { return metadata_; }
  bool Has(std::string_view key) const { return keys_.count(key) != 0; }

  // Values of required keys.
  uint32_t U32(const std::string& key) const;
  float F32(const std::string& key) const;
  std::string_view String(const std::string& key) const;
  uint64_t StringCount(const std::string& key) const;
  std::vector<std::string_view> Strings(const std::string& key) const;

  // Required tensors of these dims, fastest first; aligned.
  const float* Floats(const std::string& name, std::initializer_list<int64_t> dims) const;
  const uint64_t* Words(const std::string& name, std::initializer_list<int64_t> dims) const;

  // Throws an Error that names the file.
  [[noreturn]] void Damaged(const char* format, ...) const __attribute__((format(printf, 2, 3)));

 private:
  class Reader;

  const GgufValue& Required(const std::string& key, uint32_t type) const;
  const GgufValue& StringArray(const std::string& key) const;
  const uint8_t* Data(const std::string& name, uint32_t type, std::initializer_list<int64_t> dims) const;
  void ReadMetadata(Reader* in, uint64_t count);
  void ReadTensors(Reader* in, uint64_t count);
  void PlaceTensors(uint64_t start);

  std::string name_;
  FileBytes bytes_;
  std::vector<std::pair<std::string_view, GgufValue>> metadata_;
  // Sorted: the keys of a file could be chosen to collide in a hash table.
  std::map<std::string_view, size_t> keys_;  // indices into metadata_
  std::map<std::string_view, GgufTensor> tensors_;
};

}  // namespace multibit
