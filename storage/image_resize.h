// An image to the size and the numbers that the vision tower takes, with the
// very bits of Hugging Face's image processor (gemma3n-vision.md §1.2, §1.3).
#ifndef LAPIDARY_STORAGE_IMAGE_RESIZE_H_
#define LAPIDARY_STORAGE_IMAGE_RESIZE_H_

#include <vector>

#include "storage/image.h"

namespace lapidary {

// `image` squashed to height x width, its aspect ratio not kept: a triangle
// filter, as wide as the pixels of the smaller picture, horizontally and then
// vertically, in the integers of torch's uint8 antialiasing (back end A of
// §1.3). A side that has its size already is not filtered.
//
// image   [image.height][image.width][3], at least 1 x 1
// result  [height][width][3], height and width >= 1
//
// Beside both it takes the rows that one row of the result is made of.
Image ResizeImage(const Image& image, int height, int width);

// [height][width][3]: each byte as float32(byte) * float32(1/255).
std::vector<float> PixelValues(const Image& image);

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_IMAGE_RESIZE_H_
