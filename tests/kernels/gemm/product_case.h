// What tests of y = W x ask of a kernel: weights and inputs of noise, a plain
// loop in f64, and a row that its company does not change.
#ifndef LAPIDARY_TESTS_KERNELS_GEMM_PRODUCT_CASE_H_
#define LAPIDARY_TESTS_KERNELS_GEMM_PRODUCT_CASE_H_

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/gemm/panel_layout.h"
#include "kernels/tensor.h"
#include "tests/support/noise.h"

namespace lapidary::kernels {

class ProductCase {
 protected:
  static constexpr int64_t kGuard = 4096;

  virtual ~ProductCase() = default;

  // By the kernel: rows [first, first + count) of the inputs, [count][n].
  virtual std::vector<float> Multiply(int64_t first, int64_t count) = 0;

  // Weights [n][k] and inputs [rows][k] between -1 and 1, before Pack.
  void Draw(int64_t rows, int64_t n, int64_t k) {
    rows_ = rows;
    n_ = n;
    k_ = k;
    weights_.resize(n * k);
    for (int64_t i = 0; i < n * k; ++i) weights_[i] = Noise(i, 1);
    inputs_.resize(rows * k);
    for (int64_t i = 0; i < rows * k; ++i) inputs_[i] = Noise(i, 2);
  }

  // The weights as they are now, with NaN behind.
  void Pack(DType dtype) {
    const size_t bytes = PanelMatrixBytes(dtype, n_, k_);
    panels_ = NotANumbers(bytes + kGuard);
    for (int64_t row = 0; row < n_; row += kPanelRows) {
      PackPanel(DType::kF32, &weights_[row * k_],
                std::min(kPanelRows, n_ - row), k_, dtype,
                panels_->data() + row / kPanelRows * PanelBytes(dtype, k_));
    }
  }

  static std::shared_ptr<AlignedBuffer> NotANumbers(size_t bytes) {
    auto memory = AlignedBuffer::Make(bytes);
    std::memset(memory->data(), 0xFF, bytes);
    return memory;
  }

  // Rows [first, first + count) of the inputs, in memory that was full of NaN,
  // in two pieces where there are two.
  template <class Rows>
  Rows PutRows(int64_t first, int64_t count) {
    const size_t bytes = Rows::Bytes(count, k_);
    rows_memory_ = NotANumbers(bytes + kGuard);
    const Rows rows(count, k_, rows_memory_->data());
    for (int64_t r = 0; r < count; ++r) {
      const float* const row = inputs_.data() + (first + r) * k_;
      const int64_t piece = std::min<int64_t>(k_, 64);
      rows.Put(r, 0, row, piece);
      rows.Put(r, piece, row + piece, k_ - piece);
    }
    for (size_t i = bytes; i < bytes + kGuard; ++i) {
      EXPECT_EQ(rows_memory_->data()[i], std::byte{0xFF})
          << "written behind the rows";
    }
    return rows;
  }

  // What `write` writes to [count][n] outputs, and that it writes nothing else.
  template <class Write>
  std::vector<float> Written(int64_t count, const Write& write) {
    std::vector<float> outputs(count * n_ + 2 * kGuard, -7.0f);
    write(&outputs[kGuard]);
    for (int64_t i = 0; i < kGuard; ++i) {
      EXPECT_EQ(outputs[i], -7.0f) << "written before the outputs";
      EXPECT_EQ(outputs[kGuard + count * n_ + i], -7.0f)
          << "written behind the outputs";
    }
    return {outputs.begin() + kGuard, outputs.end() - kGuard};
  }

  // The largest difference from a loop in f64, as a share of what the products
  // come to without their signs.
  double Error() {
    const auto outputs = Multiply(0, rows_);
    double error = 0;
    for (int64_t r = 0; r < rows_; ++r) {
      for (int64_t out = 0; out < n_; ++out) {
        double sum = 0, size = 0;
        for (int64_t i = 0; i < k_; ++i) {
          const double product =
              static_cast<double>(weights_[out * k_ + i]) * inputs_[r * k_ + i];
          sum += product;
          size += std::abs(product);
        }
        const double off = std::abs(outputs[r * n_ + out] - sum) / size;
        if (std::isnan(off)) return std::numeric_limits<double>::infinity();
        error = std::max(error, off);
      }
    }
    return error;
  }

  // Of 70 rows.
  void ExpectThatCompanyChangesNoRow() {
    const auto together = Multiply(0, 70);
    for (const int64_t count : {1, 3, 16, 23, 32, 50}) {
      for (int64_t first = 0; first + count <= 70; first += count) {
        const auto some = Multiply(first, count);
        ASSERT_TRUE(
            std::equal(some.begin(), some.end(), together.begin() + first * n_))
            << "rows from " << first << ", " << count << " of them";
      }
    }
  }

  // Of at least 8 rows and 6 inputs.
  void ExpectThatNotANumberShowsInItsRowAlone() {
    inputs_[3 * k_ + 5] = std::numeric_limits<float>::quiet_NaN();
    inputs_[7 * k_] = std::numeric_limits<float>::infinity();
    const auto outputs = Multiply(0, rows_);
    for (int64_t i = 0; i < rows_ * n_; ++i) {
      EXPECT_EQ(std::isfinite(outputs[i]), i / n_ != 3 && i / n_ != 7) << i;
    }
  }

  int64_t rows_ = 0, n_ = 0, k_ = 0;
  std::vector<float> weights_, inputs_;
  std::shared_ptr<AlignedBuffer> panels_, rows_memory_;
};

}  // namespace lapidary::kernels

#endif  // LAPIDARY_TESTS_KERNELS_GEMM_PRODUCT_CASE_H_
