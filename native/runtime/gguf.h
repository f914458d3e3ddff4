// A GGUF version 3 file, mapped and checked (docs/format.md): metadata, and tensors that are used in place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace multibit {

// A read-only mapping of a whole file.
class MappedFile {
 public:
  explicit MappedFile(const std::string& path);  // throws Error
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const uint8_t* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

enum class ValueType : uint32_t {
  kUint8,
  kInt8,
  kUint16,
  kInt16,
  kUint32,
  kInt32,
  kFloat32,
  kBool,
  kString,
  kArray,
  kUint64,
  kInt64,
  kFloat64
};

// One value of the metadata. Numbers keep their bits in `bits`, as in the file.
struct Value {
  ValueType type;
  uint64_t bits = 0;
  std::string_view text;                // kString
  ValueType element_type{};             // kArray
  std::vector<std::string_view> texts;  // kArray of kString
  uint64_t count = 0;                   // kArray
  std::string ToText() const;
};

struct Tensor {
  std::vector<uint64_t> dims;  // fastest first
  uint32_t type;
  uint64_t offset;  // in the file
  uint64_t bytes;   // 0 for types that are not known here
};

constexpr uint32_t kF32 = 0;
constexpr uint32_t kI64 = 27;

class Gguf {
 public:
  explicit Gguf(const std::string& path);  // throws Error

  const std::string& path() const { return path_; }
  size_t file_bytes() const { return file_.size(); }

  const Value* Find(std::string_view key) const;
  const std::map<std::string_view, Value>& metadata() const { return metadata_; }
  // Required values; throw Error if they are missing, of another type or out of range.
  uint32_t U32(const std::string& key, uint32_t low, uint32_t high) const;
  float F32(const std::string& key) const;
  std::string_view Text(const std::string& key) const;
  const std::vector<std::string_view>& Texts(const std::string& key) const;

  // A required tensor of exactly this type and shape.
  const float* Floats(const std::string& name, const std::vector<uint64_t>& dims) const;
  const uint64_t* Words(const std::string& name, const std::vector<uint64_t>& dims) const;

  // The error for this file.
  [[noreturn]] void Fail(const std::string& what) const;

 private:
  const uint8_t* Data(const std::string& name, uint32_t type, const std::vector<uint64_t>& dims) const;
  const Value& Get(const std::string& key, ValueType type) const;
  void Parse();
  void CheckPlaces(uint64_t data_start);

  std::string path_;
  MappedFile file_;
  std::map<std::string_view, Value> metadata_;
  std::map<std::string_view, Tensor> tensors_;
};

}  // namespace multibit
