// A convolution whose input has one channel, such as a spectrogram: too few
// products an output for a matrix product.
#ifndef LAPIDARY_KERNELS_CONV_ONE_CHANNEL_H_
#define LAPIDARY_KERNELS_CONV_ONE_CHANNEL_H_

#include <cstdint>

namespace lapidary::kernels {

// The kernel of one output row, whose columns are padded by one on either side.
struct OneChannelWindow {
  int64_t rows = 1, columns = 1;  // the kernel's
  int64_t stride = 1;             // over columns
};

// out[x][c] = Σ_a,b weights[a][b][c] · in[a][x · stride + b - 1], in the order
// of a, b; zero outside of the columns. One thread.
//   in       [window.rows] rows of `columns`; null: a row of zeros
//   weights  [window.rows][window.columns][channels]
//   out      [outputs][channels]
void ConvolveOneChannel(const float* const* in, int64_t columns,
                        const OneChannelWindow& window, const float* weights,
                        int64_t outputs, int64_t channels, float* out);

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_CONV_ONE_CHANNEL_H_
