// How a camera was held: EXIF's orientation, read and undone.
#ifndef LAPIDARY_STORAGE_IMAGE_ORIENTATION_H_
#define LAPIDARY_STORAGE_IMAGE_ORIENTATION_H_

#include "absl/strings/string_view.h"
#include "storage/image.h"

namespace lapidary {

// The orientation, 1 to 8, that an EXIF block (a TIFF file, with or without
// "Exif\0\0" before it) gives its picture. 1, upright, if it says nothing or
// nothing sensible: a picture is not refused for its description. (PIL falls
// back on a copy in XMP; this does not.)
int ExifOrientation(absl::string_view exif);

// Turns and mirrors a picture stored in `orientation` to upright, as PIL's
// exif_transpose. Orientations 5 to 8 exchange width and height.
Image Upright(Image image, int orientation);

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_IMAGE_ORIENTATION_H_
