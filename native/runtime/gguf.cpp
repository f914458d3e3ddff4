#include "gguf.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "error.h"
#include "multibit.h"

namespace multibit {
namespace {

constexpr uint64_t kAlignment = 64;
constexpr uint64_t kMaxEntries = 1 << 16;

uint64_t Align(uint64_t offset) { return (offset + kAlignment - 1) / kAlignment * kAlignment; }

std::string Printable(std::string_view text) {
  std::string out;
  for (char c : text.substr(0, 80)) out += (c >= 32 && c < 127) ? c : '?';
  return out;
}

}  // namespace

MappedFile::MappedFile(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) throw Error(MULTIBIT_ERROR_IO, "Cannot open " + path + ": " + std::strerror(errno));
  struct stat status;
  if (fstat(fd, &status) != 0) {
    const int error = errno;
    close(fd);
    throw Error(MULTIBIT_ERROR_IO, "Cannot read " + path + ": " + std::strerror(error));
  }
  if (!S_ISREG(status.st_mode)) {
    close(fd);
    throw Error(MULTIBIT_ERROR_IO, path + " is not a file");
  }
  size_ = static_cast<size_t>(status.st_size);
  if (size_ == 0) {
    close(fd);
    throw Error(MULTIBIT_ERROR_FORMAT, path + " is empty");
  }
  void* address = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, fd, 0);
  const int error = errno;
  close(fd);
  if (address == MAP_FAILED) throw Error(MULTIBIT_ERROR_IO, "Cannot map " + path + ": " + std::strerror(error));
  data_ = static_cast<uint8_t*>(address);
}

MappedFile::~MappedFile() { munmap(data_, size_); }

std::string Value::ToText() const {
  switch (type) {
    case ValueType::kString:
      return std::string(text);
    case ValueType::kArray:
      return std::to_string(count) + " elements";
    case ValueType::kBool:
      return bits ? "true" : "false";
    case ValueType::kFloat32: {
      float f;
      const uint32_t low = static_cast<uint32_t>(bits);
      std::memcpy(&f, &low, sizeof f);
      return std::to_string(f);
    }
    case ValueType::kFloat64: {
      double d;
      std::memcpy(&d, &bits, sizeof d);
      return std::to_string(d);
    }
    case ValueType::kInt8:
      return std::to_string(static_cast<int8_t>(bits));
    case ValueType::kInt16:
      return std::to_string(static_cast<int16_t>(bits));
    case ValueType::kInt32:
      return std::to_string(static_cast<int32_t>(bits));
    case ValueType::kInt64:
      return std::to_string(static_cast<int64_t>(bits));
    default:
      return std::to_string(bits);
  }
}

namespace {

// Reads the header front to back; every read is checked against the end of the file.
class Reader {
 public:
  Reader(const Gguf& file, const uint8_t* data, size_t size) : file_(file), data_(data), size_(size) {}

  uint64_t Number(size_t bytes) {
    if (bytes > size_ - at_) file_.Fail("it ends inside the header");
    uint64_t value = 0;
    std::memcpy(&value, data_ + at_, bytes);
    at_ += bytes;
    return value;
  }

  std::string_view String() {
    const uint64_t length = Number(8);
    if (length > size_ - at_) file_.Fail("a string runs past its end");
    const std::string_view text(reinterpret_cast<const char*>(data_ + at_), static_cast<size_t>(length));
    at_ += static_cast<size_t>(length);
    return text;
  }

  Value Read() {
    Value value;
    value.type = Type();
    switch (value.type) {
      case ValueType::kString:
        value.text = String();
        break;
      case ValueType::kArray:
        Array(value);
        break;
      default:
        value.bits = Number(Size(value.type));
    }
    return value;
  }

  size_t at() const { return at_; }

 private:
  ValueType Type() {
    const uint64_t type = Number(4);
    if (type > static_cast<uint64_t>(ValueType::kFloat64)) file_.Fail("a value has an unknown type");
    return static_cast<ValueType>(type);
  }

  void Array(Value& value) {
    value.element_type = Type();
    value.count = Number(8);
    if (value.element_type == ValueType::kArray) file_.Fail("it has an array of arrays");
    const bool strings = value.element_type == ValueType::kString;
    // A string takes 8 bytes at least: what follows is bounded by the file's size.
    const size_t least = strings ? 8 : Size(value.element_type);
    if (value.count > (size_ - at_) / least) file_.Fail("an array runs past its end");
    if (strings) {
      value.texts.reserve(static_cast<size_t>(value.count));
      for (uint64_t i = 0; i < value.count; ++i) value.texts.push_back(String());
    } else {
      at_ += static_cast<size_t>(value.count) * least;
    }
  }

  static size_t Size(ValueType type) {
    switch (type) {
      case ValueType::kUint8:
      case ValueType::kInt8:
      case ValueType::kBool:
        return 1;
      case ValueType::kUint16:
      case ValueType::kInt16:
        return 2;
      case ValueType::kUint32:
      case ValueType::kInt32:
      case ValueType::kFloat32:
        return 4;
      default:
        return 8;
    }
  }

  const Gguf& file_;
  const uint8_t* data_;
  size_t size_;
  size_t at_ = 0;
};

}  // namespace

Gguf::Gguf(const std::string& path) : path_(path), file_(path) { Parse(); }

void Gguf::Fail(const std::string& what) const {
  throw Error(MULTIBIT_ERROR_FORMAT, path_ + " is damaged or not a multibit model: " + what);
}

void Gguf::Parse() {
  if (file_.size() < 4 || std::memcmp(file_.data(), "GGUF", 4) != 0) {
    throw Error(MULTIBIT_ERROR_FORMAT, path_ + " is not a packed model: it does not start with GGUF");
  }
  Reader in(*this, file_.data(), file_.size());
  in.Number(4);
  const uint64_t version = in.Number(4);
  if (version != 3) Fail("it is GGUF version " + std::to_string(version) + "; version 3 is needed");
  const uint64_t tensor_count = in.Number(8);
  const uint64_t metadata_count = in.Number(8);
  if (tensor_count > kMaxEntries || metadata_count > kMaxEntries) Fail("it claims too many tensors or keys");
  for (uint64_t i = 0; i < metadata_count; ++i) {
    const std::string_view key = in.String();
    if (!metadata_.emplace(key, in.Read()).second) Fail("the key " + Printable(key) + " occurs twice");
  }
  for (uint64_t i = 0; i < tensor_count; ++i) {
    const std::string_view name = in.String();
    const uint64_t rank = in.Number(4);
    if (rank < 1 || rank > 4) Fail("tensor " + Printable(name) + " has rank " + std::to_string(rank));
    Tensor tensor;
    for (uint64_t d = 0; d < rank; ++d) tensor.dims.push_back(in.Number(8));
    tensor.type = static_cast<uint32_t>(in.Number(4));
    tensor.offset = in.Number(8);
    const uint64_t size = tensor.type == kF32 ? 4 : tensor.type == kI64 ? 8 : 0;
    tensor.bytes = size;
    for (uint64_t dim : tensor.dims) {
      if (size == 0) break;
      if (dim == 0 || __builtin_mul_overflow(tensor.bytes, dim, &tensor.bytes)) {
        Fail("the size of tensor " + Printable(name) + " overflows or is zero");
      }
    }
    if (!tensors_.emplace(name, std::move(tensor)).second) Fail("the tensor " + Printable(name) + " occurs twice");
  }
  if (Text("general.architecture") != "multibit") {
    Fail("its architecture is \"" + Printable(Text("general.architecture")) + "\", expected \"multibit\"");
  }
  U32("general.alignment", kAlignment, kAlignment);
  CheckPlaces(Align(in.at()));
}

// Tensors are aligned, lie within the file, and do not overlap.
void Gguf::CheckPlaces(uint64_t data_start) {
  std::vector<std::pair<uint64_t, std::string_view>> order;
  for (auto& [name, tensor] : tensors_) {
    const bool fits = data_start <= file_.size() && tensor.offset <= file_.size() - data_start;
    if (!fits || tensor.offset % kAlignment != 0) {
      Fail("tensor " + Printable(name) + " starts outside the file or is not aligned");
    }
    tensor.offset += data_start;
    if (tensor.bytes > file_.size() - tensor.offset)
      Fail("tensor " + Printable(name) + " runs past the end of the file");
    order.emplace_back(tensor.offset, name);
  }
  std::sort(order.begin(), order.end());
  uint64_t end = 0;
  for (const auto& [offset, name] : order) {
    if (offset < end) Fail("tensor " + Printable(name) + " overlaps another");
    end = offset + tensors_.at(name).bytes;
  }
}

const Value* Gguf::Find(std::string_view key) const {
  const auto found = metadata_.find(key);
  return found == metadata_.end() ? nullptr : &found->second;
}

const Value& Gguf::Get(const std::string& key, ValueType type) const {
  const Value* value = Find(key);
  if (!value) Fail("it lacks the key " + key);
  if (value->type != type) Fail("the key " + key + " has the wrong type");
  return *value;
}

uint32_t Gguf::U32(const std::string& key, uint32_t low, uint32_t high) const {
  const uint32_t value = static_cast<uint32_t>(Get(key, ValueType::kUint32).bits);
  if (value < low || value > high) Fail(key + " is " + std::to_string(value));
  return value;
}

float Gguf::F32(const std::string& key) const {
  const uint32_t bits = static_cast<uint32_t>(Get(key, ValueType::kFloat32).bits);
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

std::string_view Gguf::Text(const std::string& key) const { return Get(key, ValueType::kString).text; }

const std::vector<std::string_view>& Gguf::Texts(const std::string& key) const {
  const Value& value = Get(key, ValueType::kArray);
  if (value.element_type != ValueType::kString) Fail("the key " + key + " has the wrong type");
  return value.texts;
}

const uint8_t* Gguf::Data(const std::string& name, uint32_t type, const std::vector<uint64_t>& dims) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) Fail("it lacks the tensor " + name);
  if (found->second.type != type || found->second.dims != dims) {
    std::string expected;
    for (uint64_t dim : dims) expected += (expected.empty() ? "" : ", ") + std::to_string(dim);
    Fail("tensor " + name + " has the wrong type or shape; expected " + (type == kF32 ? "F32" : "I64") + " [" +
         expected + "]");
  }
  return file_.data() + found->second.offset;
}

const float* Gguf::Floats(const std::string& name, const std::vector<uint64_t>& dims) const {
  return reinterpret_cast<const float*>(Data(name, kF32, dims));
}

const uint64_t* Gguf::Words(const std::string& name, const std::vector<uint64_t>& dims) const {
  return reinterpret_cast<const uint64_t*>(Data(name, kI64, dims));
}

}  // namespace multibit
